"""What was not shown is told as a pass by no face: screens, printed reports, report, card, JSON and an agent's tools."""

from __future__ import annotations

import io
import json
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from textual.widgets import DataTable

from engine.report.build import pages
from store.card import card
from store.db import Store
from store.outcomes import result_of
from tests.store import rows
from tests.tui.cli.commands import as_json, run_cai
from tests.tui.fakes import RUN, settings
from tests.tui.screen import control_center, settle, shown
from tui.printed.headless import outcome_report

pytestmark = pytest.mark.integration

NOT_AUDITED = "2 by form rules · quality not audited"
# What would tell a pass: of a gate or a check that is planted here, and of what is done in green.
PASSES = re.compile(
    r"✓ done|wanted ✓|every gate passed|[Ee]very check passes|✓ (?!guard )\S+( pairs)? passed|✓ all \d|(pilot|final)( pairs)?: passed|"
    r"(pilot|final)( pairs)? gate passed|gate passes now|\$0\.00"
)


@dataclass(frozen=True)
class Situation:
    """What is planted in a run that says it is done; `check` is the only one of its gate."""

    name: str
    check: dict[str, Any] | None = None
    result: str = "not tested"
    told: str = NOT_AUDITED
    changed: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    state: str = "done"
    gate: str = "final"


def check(
    name: str, measured: float | None, n: int, op: str, threshold: float, *, share: bool = False
) -> dict[str, Any]:
    lo, hi = (0.0, 1.0) if share else (None, None)
    return {"check_name": name, "measured": measured, "lo": lo, "hi": hi, "n": n, "op": op, "threshold": threshold}


def samples_judged(*verdicts: tuple[str, str]) -> list[dict[str, Any]]:
    """Verdicts of the first samples, and their bases."""
    return [rows.verdict(f"s{at}", what, RUN, basis=basis) for at, (what, basis) in enumerate(verdicts, 1)]


BY_CRITIC = samples_judged(("accepted", "critic"), ("accepted", "critic"))
AUDIT = rows.audit("label", RUN, part="own", auc=0.9, may_filter=True)
SITUATIONS = [
    Situation("nothing accepted", told="nothing accepted",
              check=check("pair acceptance", 0.0, 50, ">=", 0.1, share=True), result="empty",
              changed={"verdicts": samples_judged(("rejected", "critic"), ("rejected", "critic"))}),
    Situation("accepted by rules alone"),
    Situation("some by rules", changed={"verdicts": samples_judged(("accepted", "critic"), ("accepted", "rules"))},
              told="1 by the audited critic, 1 by form rules · quality of these not audited"),
    Situation("label of nobody", changed={"verdicts": BY_CRITIC, "audits": [AUDIT]},
              told="2 by the audited critic · share of good ones not known"),
    Situation("an empty part", check("kept revisions", 0.0, 14, ">=", 1), "empty", gate="final pairs"),
    Situation("another empty part", check("kept best-of pairs", 0.0, 27, ">=", 1), "empty", gate="final pairs"),
    Situation("a part that is not asked for", check("kept revisions", 0.0, 14, ">=", 0), gate="final pairs"),
    Situation("gate of n=1", check("pair acceptance", 1.0, 1, ">=", 0.1, share=True)),
    Situation("a share of too few", check("runaway share", 0.0, 40, "<", 0.05, share=True)),
    Situation("threshold of zero", check("audited pair critics", 0.0, 3, ">=", 0)),
    Situation("a quota of everything", check("share of revision", 0.2, 60, "<=", 1.0, share=True), gate="final pairs"),
    Situation("nothing to measure", check("chosen side longer", None, 0, "<=", 0.65), gate="final pairs"),
    Situation("guard not measured", check("guard passed", None, 0, ">=", 1.0), "failed", changed={"guard_checks": []}),
    Situation("reviewer absent", check("audited pair critics", 0.0, 3, ">=", 0), state="waiting"),
    Situation("nobody has read", check("read by a person", 0.0, 2, ">=", 2), told="2 by the audited critic",
              changed={"verdicts": BY_CRITIC, "audits": [AUDIT]}),
    Situation("some were read", check("read by a person", 12.0, 30, ">=", 30), told="12 of 30 read by a person"),
    Situation("asked to read nothing", check("read by a person", 0.0, 0, ">=", 0), told="not read by a person"),
    Situation("price absent", check("median tokens", 4.0, 2, "<", 40)),
]  # fmt: skip


@pytest.fixture(params=SITUATIONS, ids=lambda one: one.name)
def planted(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Situation, Path]:
    situation: Situation = request.param
    run = rows.small_run(RUN, state=situation.state, settings=settings(), reason="")
    run |= {"audits": [], **situation.changed}
    run["gates"] = []
    if situation.check is not None:
        # As an earlier version stored it: what the figure says of the threshold, and no result.
        stored = situation.check["measured"] is not None and situation.result != "empty"
        run["gates"] = [rows.gate(gate=situation.gate, run_id=RUN, **situation.check, passed=stored)]
    path = tmp_path / "s.duckdb"
    with Store.open(path) as store:
        store.append(run)
    return situation, path


def printed(what: Any) -> str:
    console = Console(file=io.StringIO(), width=300)
    with console.capture() as captured:
        console.print(what)
    return captured.get()


def agree(situation: Situation, faces: dict[str, str]) -> None:
    """No face tells a pass, and each tells the headline."""
    for face, text in faces.items():
        found = PASSES.search(text)
        assert found is None, (face, found and found[0])
        assert situation.told in text, face


def test_the_results_are_those_that_are_meant() -> None:
    assert len(SITUATIONS) >= 12
    for situation in SITUATIONS:
        assert situation.check is None or result_of(situation.check) == situation.result, situation.name


def test_nothing_printed_or_written_tells_a_pass(
    planted: tuple[Situation, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    situation, path = planted
    with Store.open(path, read_only=True) as store, store.reader() as reader:
        run, status, checks = reader.run(RUN), reader.status(RUN), reader.gates(RUN)
        faces = {
            "report": pages(reader, RUN, None, datetime.now(UTC))["report.md"],
            "card": card(reader, run, "samples", "jsonl", {"train": 2}, None),
            "end": printed(outcome_report(status, checks, 0, path, None)),
            "end of a failed one": printed(outcome_report(status, checks, 4, path, None)),
        }
    for name, command in {"status": ("status",), "runs": ("runs",)}.items():
        _, faces[name], _ = run_cai(capsys, *command, "--store", path)
        faces[name] = re.sub(r"\s+", " ", faces[name]) if name == "status" else faces[name]
    faces["runs"] = situation.told if all(word in faces["runs"] for word in situation.told.split()) else faces["runs"]
    agree(situation, faces)
    if situation.check is not None:
        for name in ("report", "card", "status", "end"):
            word = situation.result
            assert word in faces[name] or word.upper() in faces[name], name


def test_no_json_tells_a_pass(planted: tuple[Situation, Path], capsys: pytest.CaptureFixture[str]) -> None:
    situation, path = planted
    _, status = as_json(capsys, "status", "--store", path)
    _, runs = as_json(capsys, "runs", "--store", path)
    for found in (status, runs["runs"][0]):
        assert situation.told in found["acceptance"]["told"] and not found["acceptance"]["shown"]
    assert not any(gate["passed"] or gate["result"] == "passed" for gate in status["gates"])
    told = [(one["result"], one["passed"]) for gate in status["gates"] for one in gate["evidence"]]
    assert told == ([] if situation.check is None else [(situation.result, False)])
    with Store.open(path, read_only=True) as store, store.reader() as reader:  # what an agent's tools give
        assert [row["result"] for row in reader.gates(RUN)] == [result for result, _ in told]
    assert '"shown": true' not in json.dumps(status)


async def test_no_room_tells_a_pass(planted: tuple[Situation, Path]) -> None:
    situation, path = planted
    async with control_center(path, None, size=(200, 60)) as (app, pilot):
        await settle(pilot, lambda: app.state.run_id == RUN and app.state.state == situation.state)
        header = str(app.query_one("#header").content)  # type: ignore[attr-defined]
        agree(situation, {"header": header, "farewell and figures": app.state.headline.told})
        screens = {}
        for key in ("1", "3", "4", "7"):
            await pilot.press(key)
            await settle(pilot)
            screens[key] = "\n".join(strip.text for strip in app.screen._compositor.render_strips())
        for key, text in screens.items():
            found = PASSES.search(text)
            assert found is None, (key, found and found[0])
        assert not app.state.audited and "$0.00" not in screens["1"]
        if situation.check is None:
            return
        await pilot.press("4")
        table = app.query_one("#gate-table", DataTable)
        await settle(pilot, lambda: table.row_count == 1)
        assert str(table.get_row_at(0)[0]) == {"not tested": "–", "empty": "∅", "failed": "✗"}[situation.result]
        assert not str(table.border_subtitle).startswith("✓")
        await settle(pilot, lambda: situation.result.upper() in shown(app, "#gate-evidence-text").upper())
        offers = "what may be done" in shown(app, "#gate-evidence-text")
        offering = ("gate of n=1", "price absent", "a share of too few", "nobody has read", "some were read")
        assert offers == (situation.result != "not tested" or situation.name in offering)


READ = [check("read by a person", 30.0, 30, ">=", 30),
        check("accepted, read as good", 0.75, 20, ">=", 0) | {"lo": 0.5313, "hi": 0.8881},
        check("not accepted, read as good", 0.1, 10, ">=", 0) | {"lo": 0.0179, "hi": 0.4041}]  # fmt: skip
SHARES = "read by a person: 75 % good of 20 accepted, 53–89 %; 10 % good of 10 not accepted, 2–40 %"


@pytest.mark.parametrize(("audited", "passed"), [(False, True), (True, True), (True, False)])
async def test_what_was_read_stands_on_every_face_and_done_is_green_only_where_audited_and_every_gate_passed(
    audited: bool, passed: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    accepted = {"auc": 0.9, "natural": True, "above": 0.0, "n": 60, "taken": 50, "share_taken": 0.8, "good": 45,
                "precision": 0.9, "lo": 0.79, "hi": 0.96, "recall": 0.9}  # fmt: skip
    audit = rows.audit("label", RUN, part="own", auc=0.9, may_filter=True, detail={"accepted": accepted})
    run = rows.small_run(RUN, state="done", settings=settings(), reason="")
    run |= {"audits": [audit], "verdicts": BY_CRITIC} if audited else {"audits": []}
    run["gates"] = [rows.gate(gate="final", run_id=RUN, **one, passed=passed) for one in READ]
    path = tmp_path / "s.duckdb"
    with Store.open(path) as store:
        store.append(run)
    with Store.open(path, read_only=True) as store, store.reader() as reader:
        status = reader.status(RUN)
        faces = {
            "report": pages(reader, RUN, None, datetime.now(UTC))["report.md"],
            "card": card(reader, reader.run(RUN), "samples", "jsonl", {"train": 2}, None),
            "end": printed(outcome_report(status, reader.gates(RUN), 0, path, None)),
        }
    for command in ("status", "runs"):
        faces[command] = run_cai(capsys, command, "--store", path)[1]
        found = as_json(capsys, command, "--store", path)[1]
        found = found if command == "status" else found["runs"][0]
        assert found["readings"]["accepted"] == {"good": 0.75, "lo": 0.5313, "hi": 0.8881, "n": 20}
        assert found["acceptance"]["read"] and found["acceptance"]["shown"] is audited
    for face, text in faces.items():
        assert (
            all(word in text for word in SHARES.split()) if face == "runs" else SHARES in re.sub(r"\s+", " ", text)
        ), face
    green = audited and passed
    assert [("✓ done" in faces[face]) for face in ("status", "runs", "end")] == [green] * 3
    async with control_center(path, None, size=(250, 60)) as (app, pilot):
        await settle(pilot, lambda: app.state.run_id == RUN and app.state.state == "done")
        assert SHARES in str(app.query_one("#header").content) and app.state.headline.shown is audited  # type: ignore[attr-defined]
        assert app.state.audited is green and ("✓ done" in str(app.query_one("#header").content)) is green  # type: ignore[attr-defined]
        await pilot.press("7")
        table = app.query_one("#runs-table", DataTable)
        await settle(pilot, lambda: table.row_count == 1)
        assert ("✓ done" in str(table.get_row_at(0)[2])) is green
