"""The Run room: a phase's own figures, acceptance over time, budget and machine."""

from pathlib import Path

import pytest

from engine.core.data import read_data
from engine.core.events import ForecastUpdated, PhaseProgressed, RunStarted
from engine.critics import for_kind
from store.db import Store
from tests.store import rows
from tests.tui.fakes import RUN, fill
from tests.tui.screen import control_center, settle, shown
from tui.host.machine import Load, parse
from tui.live.state import RunState
from tui.reads.lineage import lineage
from tui.reads.run import run_facts
from tui.widgets.histogram import draw_lengths
from tui.widgets.run.figures import _budget, _machine
from tui.widgets.run.phase import _over_time


@pytest.mark.parametrize(("size", "told"), [
    ((80, 24), "good 50 % [25–75] n=12 fresh 1 of 18"),
    ((120, 36), "good pairs   50 % [25–75] of 12\n             by 210 fresh labels · 1 of 18"),
])  # fmt: skip
async def test_the_share_of_good_ones_is_on_the_first_screen_also_after_another_room(
    tmp_path: Path, size: tuple[int, int], told: str
) -> None:
    fill(tmp_path / "s.duckdb", many=60)
    async with control_center(tmp_path / "s.duckdb", None, size=size) as (app, pilot):
        await settle(pilot, lambda: told in shown(app, "#figures"))
        await pilot.press("3")
        await settle(pilot, lambda: app.room.id == "thresholds")
        await pilot.press("1")  # painted before it has its size
        await settle(pilot, lambda: told in shown(app, "#figures"))


async def test_the_chosen_phase_shows_its_own_figures(tmp_path: Path) -> None:
    path = tmp_path / "s.duckdb"
    fill(path, many=60)
    async with control_center(path, None, size=(120, 36)) as (app, pilot):
        await settle(pilot, lambda: "CPU" in shown(app, "#figures"))
        assert "no price set" in shown(app, "#figures")
        await settle(pilot, lambda: "Margins" in str(app.query_one("#histogram").border_title))
        await pilot.press("k")
        await settle(pilot, lambda: "64 responses" in shown(app, "#histogram"))
        assert "limit 48" in shown(app, "#histogram") and "at the limit 0.0 %" in shown(app, "#histogram")
        await pilot.press("k", "k")
        await settle(pilot, lambda: "distinct" in shown(app, "#histogram"))
        text = shown(app, "#histogram")
        assert "64 of 65 candidates" in text and "duplicate" in text and "1 × Do i1." in text
        await pilot.press("escape")
        await settle(pilot, lambda: "Margins" in str(app.query_one("#histogram").border_title))


def test_facts_come_from_rows(tmp_path: Path) -> None:
    fill(tmp_path / "s.duckdb", many=5)
    with Store.open(tmp_path / "s.duckdb", read_only=True) as store, store.reader() as reader:
        facts = run_facts(reader, RUN)
    assert facts.statuses == {"distinct": 9, "duplicate": 1} and facts.lengths == {3: 9}
    assert facts.duplicates == ((1, "Do i1."),) and facts.limit == 48 and facts.stops == {"stop": 9}


@pytest.mark.parametrize("kind", ["explicit", "implicit", "generation", "evaluation", "revision", None])
def test_seeds_are_those_of_the_kind_of_instruction(tmp_path: Path, kind: str | None) -> None:
    seed = read_data(for_kind("seeds", kind or "explicit"))[3]
    run = rows.small_run(RUN, settings={"instructions": {"kind": kind} if kind else {}})
    for row in run["instructions"]:
        row["seed_ids"] = [seed["id"]]
        if row["status"] == "duplicate":
            row["duplicate_of"] = seed["id"]
    with Store.open(tmp_path / "s.duckdb") as store:
        store.append(run)
        with store.reader() as reader:
            shown = [step for step in lineage(reader, RUN, "s1").steps if step.kind == "seed"]
            duplicates = run_facts(reader, RUN).duplicates
    assert [(step.text, step.facts) for step in shown] == [(seed["text"], (("topic", seed["topic"]),))]
    assert duplicates == ((1, f"{seed['text']} ({seed['id']})"),)


def test_acceptance_over_time_is_kept_and_rebuilt() -> None:
    state = RunState()
    state.apply(RunStarted(RUN, "s", "m", 1, 40, False))
    for done, accepted in ((10, 2), (20, 8), (40, 24)):
        state.apply(PhaseProgressed(RUN, "response_judgements", done, 40, accepted))
    state.apply(PhaseProgressed(RUN, "response_judgements", 20, 40, 8))  # a resumed run tells again what was told
    assert list(state.acceptance["response_judgements"]) == [(10, 2), (20, 8), (40, 24)]
    (line,) = _over_time(state, "response_judgements", 60)
    assert "60 % [45–74] of 40" in line.plain
    old = RunState()
    old.load({"run": RUN}, progress=[{"phase": "response_judgements", "done": 10, "accepted": 2}])
    assert list(old.acceptance["response_judgements"]) == [(10, 2)]


def test_budget_counts_what_was_spent_and_says_where_it_goes() -> None:
    now = [0.0]
    state = RunState(clock=lambda: now[0])
    state.apply(RunStarted(RUN, "s", "m", 1, 40, False))
    state.apply(ForecastUpdated(RUN, 10, 25, 100, 80, 130))
    now[0] = 1800.0
    assert "$1.25 of about $5.00 at $2.5/h" in _budget(state, 2.5).plain
    assert (
        "30:00 of about 2:00:00" in _budget(state, None).plain and "press , for settings" in _budget(state, None).plain
    )


def test_gpus_are_read_as_nvidia_smi_writes_them() -> None:
    assert parse("93, 71234, 81559\nbroken\n0, 3, 81559\n") == (
        (0.93, 71234 / 1024, 81559 / 1024),
        (0.0, 3 / 1024, 81559 / 1024),
    )
    told = [line.plain for line in _machine(Load(0.5, 1.0, 4.0, 24.0, ((0.93, 69.6, 79.6),)), 60)]
    for width, more in ((60, "(own 1.0)"), (50, "no GPU"), (42, "4.0/24 GiB")):
        (line,) = _machine(Load(0.5, 1.0, 4.0, 24.0), width)
        assert line.plain.endswith(more) and len(line.plain) <= width
    assert "CPU  50 %" in told[0] and "no GPU" not in told[0] and "93 %  69.6/80 GiB" in told[1]


def test_lengths_have_the_limit_as_a_line() -> None:
    lines = draw_lengths({3: 5, 96: 2}, 96, 40, 8).plain.split("\n")
    assert len(lines) == 8 and {len(line) for line in lines} == {40}
    assert lines[-2][39] == "┻" and lines[-1].endswith("limit 96 96")
