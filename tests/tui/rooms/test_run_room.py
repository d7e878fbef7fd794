"""The Run room: what needs a person, samples drawn at random, acceptance by kind, phases, cost and machine."""

from pathlib import Path

import pytest
from textual.content import Content

from engine.core.data import read_data
from engine.core.events import ForecastUpdated, PhaseProgressed, RunStarted
from engine.critics import for_kind
from store.db import Store
from tests.store import rows
from tests.tui.fakes import RUN, fill
from tests.tui.screen import control_center, settle, shown
from tui.app.app import ControlCenter
from tui.host.machine import Load
from tui.live.state import RunState
from tui.reads.drawn import POOL, Drawn, Draws
from tui.reads.lineage import lineage
from tui.reads.run import run_facts
from tui.widgets.histogram import draw_lengths
from tui.widgets.run.figures import _budget, _each, _fitting, _machine
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


def test_the_machine_is_told_as_there_is_room_for_it() -> None:
    for width, more in ((60, "(own 1.0)"), (50, "no GPU"), (42, "4.0/24 GiB")):
        line = _machine(Load(0.5, 1.0, 4.0, 24.0), False, width)
        assert line.plain.endswith(more) and len(line.plain) <= width and "CPU  50 %" in line.plain
    assert "no GPU" not in _machine(Load(0.5, 1.0, 4.0, 24.0), True, 60).plain


def test_lengths_have_the_limit_as_a_line() -> None:
    lines = draw_lengths({3: 5, 96: 2}, 96, 40, 8).plain.split("\n")
    assert len(lines) == 8 and {len(line) for line in lines} == {40}
    assert lines[-2][39] == "┻" and lines[-1].endswith("limit 96 96")


# -- samples drawn at random -------------------------------------------------------------------------------------------


def drawn(app: ControlCenter) -> list[str]:
    """The samples that stand there now."""
    found: Drawn = app.rooms["run"]._drawn  # type: ignore[attr-defined]
    return [str(one["sample_id"]) for one in found.rows]


def verdicts(path: Path, verdict: str) -> set[str]:
    with Store.open(path, read_only=True) as store, store.reader() as reader:
        asked = "SELECT subject_id FROM verdicts WHERE subject_kind = 'sample' AND verdict = ?"
        return {row["subject_id"] for row in reader.query(asked, [verdict])}


async def test_accepted_samples_change_are_held_and_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "s.duckdb"
    fill(path, many=60)
    accepted = verdicts(path, "accepted")
    async with control_center(path, None, size=(120, 36)) as (app, pilot):
        await settle(pilot, lambda: len(drawn(app)) == 3)
        monkeypatch.setattr("tui.rooms.run.DRAWN_EVERY_S", 0.0)
        panel = app.query_one("#accepted")
        assert "Accepted at random · 3 of 27 by rules, not audited" in str(panel.border_title)
        seen = [drawn(app)]
        for _ in range(4):
            app.refresh_room()
            await settle(pilot, lambda: drawn(app) != seen[-1])
            seen.append(drawn(app))
        told = {one for draw in seen for one in draw}
        assert told <= accepted and len(told) >= 6
        await pilot.press("space")
        await settle(pilot, lambda: "held" in str(panel.border_subtitle))
        here = drawn(app)
        app.refresh_room()
        await settle(pilot)
        assert drawn(app) == here
        await pilot.press("down", "enter")
        await settle(pilot, lambda: app.room.id == "samples" and "Exact prompt" in shown(app, "#detail-text"))
        assert app.rooms["samples"]._sample["sample_id"] == here[1]  # type: ignore[attr-defined]


async def test_moving_among_the_samples_holds_them(tmp_path: Path) -> None:
    fill(tmp_path / "s.duckdb", many=60)
    async with control_center(tmp_path / "s.duckdb", None, size=(80, 24)) as (app, pilot):
        await settle(pilot, lambda: len(drawn(app)) == 3)
        assert "Space holds" in str(app.query_one("#accepted").border_subtitle)
        await pilot.press("down")
        await settle(pilot, lambda: "held" in str(app.query_one("#accepted").border_subtitle))
        await pilot.press("space")
        await settle(pilot, lambda: "held" not in str(app.query_one("#accepted").border_subtitle))


@pytest.mark.parametrize("size", [(80, 24), (200, 60)])
async def test_before_anything_is_accepted_the_last_candidates_stand_there(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    path = tmp_path / "s.duckdb"
    fill(path)
    with Store.open(path) as store:
        store.renew(RUN, {"verdicts": [rows.verdict("s3", "rejected", RUN, flags=["runaway"], reason="runaway")]})
    async with control_center(path, None, size=size) as (app, pilot):
        await settle(pilot, lambda: drawn(app) == ["s4", "s3", "s2"])
        panel, text = app.query_one("#accepted"), shown(app, "#accepted")
        assert "Nothing accepted · the last candidates" in str(panel.border_title)
        assert "✗ rejected: runaway  Do i3." in text and "not judged yet  Do i4." in text


def test_before_there_are_responses_the_last_instructions_stand_there(tmp_path: Path) -> None:
    with Store.open(tmp_path / "s.duckdb") as store:
        store.append(rows.small_run(RUN) | {"samples": [], "verdicts": [], "judgements": []})
        with store.reader() as reader:
            found = Draws(RUN, "lot").next(reader)
            nothing = Draws("another run", "lot").next(reader)
    assert found.kind == "instructions"
    assert (found.rows[0]["instruction"], found.rows[0]["status"]) == ("Do i5.", "duplicate")
    assert nothing == Drawn("another run", "", ())


def test_what_is_rejected_after_it_was_drawn_goes_and_is_drawn_no_more(tmp_path: Path) -> None:
    path = tmp_path / "s.duckdb"
    fill(path, many=60)
    with Store.open(path) as store:
        with store.reader() as reader:
            draws = Draws(RUN, "lot")
            first = draws.next(reader)
            gone = str(first.rows[0]["sample_id"])
            store.put({"verdicts": [rows.verdict(gone, "rejected", RUN)]})
            kept = draws.again(reader, first)
            assert [one["sample_id"] for one in kept.rows] == [one["sample_id"] for one in first.rows[1:]]
            later = [one for _ in range(30) for one in draws.next(reader).rows]
        assert all(one["verdict"] == "accepted" for one in later)
        assert {one["sample_id"] for one in later} == verdicts_of(store, "accepted")


def verdicts_of(store: Store, verdict: str) -> set[str]:
    with store.reader() as reader:
        asked = "SELECT subject_id FROM verdicts WHERE subject_kind = 'sample' AND verdict = ?"
        return {row["subject_id"] for row in reader.query(asked, [verdict])}


def test_verdicts_are_asked_once_for_many_draws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now, asked = [0.0], []
    fill(tmp_path / "s.duckdb", many=60)
    with Store.open(tmp_path / "s.duckdb", read_only=True) as store, store.reader() as reader:
        query = reader.query
        monkeypatch.setattr(reader, "query", lambda sql, *rest: (asked.append(sql), query(sql, *rest))[1])
        draws = Draws(RUN, "lot", clock=lambda: now[0])
        for _ in range(9):
            draws.next(reader)
        scans = [sql for sql in asked if f"LIMIT {POOL}" in sql]
        assert len(scans) == 1
        now[0] = 100.0
        draws.next(reader)
    assert len([sql for sql in asked if f"LIMIT {POOL}" in sql]) == 2


# -- the glance --------------------------------------------------------------------------------------------------------


async def test_the_guard_is_a_line_that_opens_in_place(tmp_path: Path) -> None:
    fill(tmp_path / "s.duckdb", many=60)
    async with control_center(tmp_path / "s.duckdb", None, size=(80, 24)) as (app, pilot):
        await settle(pilot, lambda: "passed 2 of 2" in shown(app, "#glance-text") and len(drawn(app)) == 3)
        assert len(shown(app, "#glance-text").split("\n")) == 3 == app.query_one("#glance").content_size.height
        assert "Water freezes at" not in shown(app, "#glance-text")
        await pilot.press("G")
        await settle(pilot, lambda: "Water freezes at" in shown(app, "#glance-text"))
        assert app.query_one("#glance").content_size.height >= 15 and not app.query_one("#accepted").display
        await pilot.press("enter")  # it has the focus, and Enter turns it
        await settle(pilot, lambda: "Water freezes at" not in shown(app, "#glance-text"))
        await pilot.press("shift+tab", "enter")  # from the samples to the glance
        await settle(pilot, lambda: "Water freezes at" in shown(app, "#glance-text"))
        await pilot.press("escape")
        await settle(pilot, lambda: app.query_one("#accepted").display and app.query_one("#accepted").has_focus)


async def test_the_glance_tells_what_failed_and_where_to_go(tmp_path: Path) -> None:
    path = tmp_path / "s.duckdb"
    fill(path)
    with Store.open(path) as store:
        store.put({"guard_checks": [rows.guard_check("water", RUN, passed=False, answer="I am an assistant")]})
    async with control_center(path, None, size=(120, 36)) as (app, pilot):
        told = ("FAILED", "not read by a person")
        await settle(pilot, lambda: all(one in shown(app, "#glance-text") for one in told))
        first, second, third, *_ = shown(app, "#glance-text").split("\n")
        assert "pilot gate failed: token limit  4 " in first and "not read by a person  2 " in first
        assert "weakest   guard water: I am an assistant" in second
        assert third == "✗ guard     FAILED, passed 1 of 2  water: I am an assistant"


async def test_what_is_not_there_at_80x24_comes_by_a_key(tmp_path: Path) -> None:
    fill(tmp_path / "s.duckdb", many=60)
    async with control_center(tmp_path / "s.duckdb", None, size=(80, 24)) as (app, pilot):
        await settle(pilot, lambda: len(drawn(app)) == 3 and len(app.state.critics) > 1)
        first = app.rooms["run"].critic  # type: ignore[attr-defined]
        for key, there in (("c", "#histogram"), ("e", "#events"), ("e", "#accepted"), ("k", "#histogram")):
            await pilot.press(key)
            await settle(pilot)
            displayed = [name for name in ("#accepted", "#histogram", "#events") if app.query_one(name).display]
            assert displayed == [there], key
        assert app.rooms["run"].critic == first  # type: ignore[attr-defined]
        await pilot.press("c")
        assert app.rooms["run"].critic != first  # type: ignore[attr-defined]
        await pilot.press("escape")
        assert app.query_one("#accepted").display


# -- figures -----------------------------------------------------------------------------------------------------------


def test_an_accepted_example_has_its_price() -> None:
    now = [0.0]
    state = RunState(clock=lambda: now[0])
    state.apply(RunStarted(RUN, "s", "m", 1, 40, False))
    now[0] = 3600.0
    assert "nothing accepted yet" in _each(state, 2.5).plain
    state.apply(ForecastUpdated(RUN, 100, 250, 1000, 800, 1300))
    assert "$0.025 · 36 s" in _each(state, 2.5).plain
    assert _each(state, None).plain.endswith("36 s · no price set")


@pytest.mark.parametrize(("size", "bar"), [((80, 24), False), ((120, 36), True), ((200, 60), True)])
async def test_acceptance_by_kind_is_counted_from_verdicts(tmp_path: Path, size: tuple[int, int], bar: bool) -> None:
    fill(tmp_path / "s.duckdb", many=60)
    async with control_center(tmp_path / "s.duckdb", None, size=size) as (app, pilot):
        await settle(pilot, lambda: "42.9 % [31–55]  n=63" in shown(app, "#figures"))
        line = next(line for line in shown(app, "#figures").split("\n") if line.startswith("responses"))
        assert ("●" in line) is bar


async def test_the_end_is_told_while_a_run_goes_on(tmp_path: Path) -> None:
    fill(tmp_path / "s.duckdb")
    async with control_center(tmp_path / "s.duckdb", size=(120, 36)) as (app, pilot):
        await settle(pilot, lambda: app.state.forecast is not None and "ends         in 0" in shown(app, "#figures"))
        assert "about" in next(line for line in shown(app, "#figures").split("\n") if line.startswith("ends"))


def test_the_lines_that_matter_most_are_left_in_their_order() -> None:
    rows = [(4, Content("instructions")), (0, Content("responses")), (1, Content("good")), (0, Content("accepted"))]
    told = {height: [line.plain for line in _fitting(rows, height)] for height in (1, 2, 3, 9)}
    assert told[1] == ["responses"] and told[2] == ["responses", "accepted"]
    assert told[3] == ["responses", "good", "accepted"] and len(told[9]) == 4
