"""Evaluation: intervals, tests and effect sizes as stored, and the items that changed sides."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from textual.widgets import DataTable, Static

from engine.core import events
from engine.core.events import Event
from store.db import Store
from tests.store import rows
from tests.tui.fakes import HOSTILE, RUN, FakeEngine, fill
from tests.tui.screen import control_center, settle, shown
from tui.app.app import ControlCenter
from tui.config.settings import login_name
from tui.widgets.evaluation.forest import Forest
from tui.widgets.marks import interval_bar


def audit(part: str, subject: str, measured: float, passed: bool) -> rows.Row:
    return {
        "run_id": RUN, "scorer_sha256": "ab" * 32, "capability": "instruction_following", "part": part,
        "subject": subject, "measured": measured, "lo": None, "hi": None, "n": 48, "op": ">=", "threshold": 0.95,
        "passed": passed, "detail": {},
    }  # fmt: skip


def read(**told: int) -> rows.Row:
    """The row of the scorer's audit that says who read answers, and how many."""
    both = min(told.values()) if len(told) > 1 else 0
    return audit("readers", "all", 0.8, True) | {
        "n": both, "threshold": 0.6, "detail": {"readers": told, "statistic": "Cohen's kappa", "differ": []},
    }  # fmt: skip


def on_top(app: ControlCenter, where: str) -> str:
    return str(app.screen.query_one(where, Static).content)


def gap_check(name: str, measured: float, passed: bool) -> rows.Row:
    return {
        "run_id": RUN, "gate": "gap", "check_name": name, "measured": measured, "lo": None, "hi": None, "n": 84,
        "op": "<=", "threshold": 0.3, "passed": passed, "subject_ids": [], "evidence_sha256": "aa" * 32,
        "decided_at": rows.T0,
    }  # fmt: skip


def evaluated_rows() -> dict[str, list[rows.Row]]:
    """Four items: one gained, one lost, one right and one wrong both times."""
    outcomes = {"e1": (False, True), "e2": (True, False), "e3": (True, True), "e4": (False, False)}
    exploratory = {"p_corrected": 0.6, "correction": "Holm, after the primary", "role": "secondary"}
    return {
        "evaluation_items": [rows.evaluation_item(name) for name in outcomes],
        "evaluation_answers": [
            rows.evaluation_answer(name, condition, right, answer=f"{HOSTILE} {condition} says {name}")
            for name, both in outcomes.items()
            for condition, right in zip(("base_formatted", "sft"), both, strict=True)
        ],
        "gates": [gap_check("base_raw_right", 0.1, True)],
        "scorer_audits": [read(ana=12, ben=12)],
        "evaluation_results": [
            rows.evaluation_result(p_corrected=1e-9),
            rows.evaluation_result("arithmetic", difference=-0.02, lo=-0.08, hi=0.04, **exploratory),
        ],
    }


def evaluated(path: Path) -> None:
    fill(path)
    with Store.open(path) as store:
        store.append(evaluated_rows())


async def test_results_show_interval_test_and_effect(tmp_path: Path) -> None:
    evaluated(tmp_path / "s.duckdb")
    async with control_center(tmp_path / "s.duckdb", None, size=(200, 60)) as (app, pilot):
        await settle(pilot, lambda: app.state.run_id == RUN)
        await pilot.press("6")
        await settle(pilot, lambda: app.query_one("#evaluation-rates").display)
        table = app.query_one("#evaluation-table", DataTable)
        await settle(pilot, lambda: table.row_count == 4)
        whole, of_type, base, tuned = ([str(cell) for cell in table.get_row_at(at)] for at in range(4))
        assert whole[:5] == ["all", "300", "81.0 %", "99.3 %", "+18.3 [+12.0, +25.0]"]
        assert whole[5] == "1e-09 *" and whole[7:] == [
            "+57 −2", "1e-09", "30", "6.1e-15", "h +0.74", "primary", "base_formatted → sft",
            "cluster-robust t (CR2), t with CR2's error",
        ]  # fmt: skip
        assert of_type[5] == "0.6" and of_type[12] == "secondary"
        assert base[:4] == ["base_formatted", "4", "", "50.0 %"] and tuned[0] == "sft"
        told = shown(app, "#evaluation-standing")
        assert (
            "base_formatted → sft +18.3 points [+12.0, +25.0] of test, 300 items, shown at level 0.05, registered, p 1e-09 over 30 templates (of"
            in told
        )
        assert "base_formatted 50.0 % [15.0, 85.0] of test, 4 items · sft 50.0 % [15.0, 85.0] of test, 4 items" in told


async def test_items_that_changed_sides_are_shown_side_by_side(tmp_path: Path) -> None:
    evaluated(tmp_path / "s.duckdb")
    for size in ((80, 24), (120, 36)):
        async with control_center(tmp_path / "s.duckdb", None, size=size) as (app, pilot):
            await settle(pilot, lambda app=app: app.state.run_id == RUN)
            await pilot.press("6")
            await settle(pilot, lambda app=app: bool(app.query_one(Forest).chosen))
            await pilot.press("v")
            await settle(pilot, lambda app=app: "prompt of e1" in shown(app, "#evaluation-item"))
            before, after = shown(app, "#evaluation-before"), shown(app, "#evaluation-after")
            assert "base_formatted ✗ wrong" in before and "base_formatted says e1" in before
            assert "sft ✓ right" in after and "equals the reference" in after
            assert "\x1b" not in before + after and "\u202e" not in before + after
            await pilot.press("x")
            await settle(pilot, lambda app=app: "prompt of e2" in shown(app, "#evaluation-item"))
            assert "✓ right" in shown(app, "#evaluation-before") and "✗ wrong" in shown(app, "#evaluation-after")
            assert "became wrong" in str(app.query_one("#evaluation-items").border_title)


async def test_the_answers_of_one_condition_can_be_read(tmp_path: Path) -> None:
    evaluated(tmp_path / "s.duckdb")
    async with control_center(tmp_path / "s.duckdb", None, size=(120, 36)) as (app, pilot):
        await settle(pilot, lambda: app.state.run_id == RUN)
        await pilot.press("6")
        await settle(pilot, lambda: bool(app.query_one(Forest).chosen))
        await pilot.press("v", "G")
        await settle(pilot, lambda: "Test items that are right" in str(app.query_one("#evaluation-items").border_title))
        await settle(pilot, lambda: "sft says e1" in shown(app, "#evaluation-after"))
        assert not app.query_one("#evaluation-before").display
        await pilot.press("x")
        await settle(pilot, lambda: "sft says e2" in shown(app, "#evaluation-after"))


@pytest.mark.parametrize(
    ("rows_of", "told"),
    [
        (
            {"scorer_audits": [audit("planted", "short_fact", 0.8, False)]},
            "No claim: the scorer's audit failed (planted short_fact)",
        ),
        ({"gates": [gap_check("base_formatted_right", 0.6, False)]}, "No gap: base formatted right"),
        ({"scorer_audits": [read()]}, "No claim: not read: nobody has judged verdicts of the scorer"),
        ({"scorer_audits": [read(ana=12)]}, "No claim: not read by two: only ana has judged"),
        (
            {"gates": [gap_check("base_formatted_right", 0.1, True) | {"n": 2}]},
            "No claim: the gap gate could not test 1 of 2 checks",
        ),
    ],
)
async def test_what_blocks_a_claim_stands_first(tmp_path: Path, rows_of: dict[str, Any], told: str) -> None:
    evaluated(tmp_path / "s.duckdb")
    with Store.open(tmp_path / "s.duckdb") as store:
        store.put(rows_of)
    async with control_center(tmp_path / "s.duckdb", None) as (app, pilot):
        await settle(pilot, lambda: app.state.run_id == RUN)
        await pilot.press("6")
        await settle(pilot, lambda: told in shown(app, "#evaluation-standing"))


async def test_answers_are_read_blind_and_the_scorer_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither condition nor verdict is on the screen; what a person says is kept under the answer's id."""
    evaluated(tmp_path / "s.duckdb")
    settled: list[str] = []
    monkeypatch.setattr("tui.reads.blind.settle_reading", lambda store, run_id: settled.append(run_id) or "κ is told")
    async with control_center(tmp_path / "s.duckdb", None, size=(120, 36)) as (app, pilot):
        await settle(pilot, lambda: app.state.run_id == RUN)
        await pilot.press("6")
        await settle(pilot, lambda: "prompt of e1" in shown(app, "#evaluation-item"))
        await pilot.press("v", "b")
        await settle(pilot, lambda: len(app.screen_stack) == 2 and "1 of 4" in on_top(app, "#blind-text"))
        for key in ("y", "n", "d", "y"):
            text = on_top(app, "#blind-text")
            assert "right" not in text and "wrong" not in text and "equals the reference" not in text
            await pilot.press(key)
            await settle(pilot)
        await settle(pilot, lambda: len(app.screen_stack) == 1 and settled == [RUN])
    with Store.open(tmp_path / "s.duckdb", read_only=True) as store:
        kept = store.reader().query("SELECT * FROM person_labels WHERE subject_kind = 'evaluation_answer'")
    assert {row["reader"] for row in kept} == {login_name()}
    assert sorted(row["label"] for row in kept) == ["bad", "good", "good", "unsure"]
    assert {row["subject_id"] for row in kept} == {f"{c}/{i}" for c in ("base_formatted", "sft") for i in ("e1", "e2")}


async def test_an_evaluation_is_offered_registered_and_begun_with_keys(tmp_path: Path, monkeypatch: Any) -> None:
    fill(tmp_path / "s.duckdb")
    offer = {
        "run": RUN, "capability": "instruction_following", "items_sha256": "cd" * 32, "scorer_sha256": "ab" * 32,
        "items": {"instruction_following": {"short_fact": {"dev": 6, "test": 6}}},
        "judge": None,
        "conditions": [
            {"name": "base_raw", "in_words": "the item alone", "model": "m", "adapter": None, "items": 12, "missing": 12},
            {"name": "sft", "in_words": "after SFT", "model": "m", "adapter": "sft-1", "items": 12, "missing": 0},
        ],
        "registered": None, "settings": {"alpha": 0.05, "items_per_type": None},
    }  # fmt: skip
    from engine.analyses import offers

    registered: list[str] = []

    def settle_it(store: Store, run_id: str) -> None:
        registered.append(run_id)
        offer["registered"] = {
            "at": rows.T0, "body": {"statement": "sft is better", "n": {"x": 6}, "power": 0.8,
                                    "forecast": {"power": 0.5, "detectable": 0.3, "n_needed": 120}},
        }  # fmt: skip

    monkeypatch.setattr(offers, "evaluation_offer", lambda reader, run_id: offer)
    monkeypatch.setattr(offers, "preregister", settle_it)
    begun: list[Any] = []

    def evaluates(engine: FakeEngine) -> Iterable[Event]:
        yield events.PhaseStarted(RUN, "evaluation", 24)
        yield events.PhaseProgressed(RUN, "evaluation", 12, 24, None)
        yield events.RunFinished(RUN, "gate_failed", "the gap gate failed (base_raw_right)", 0, 1.0)

    def open_engine(options: Any, emit: Any) -> FakeEngine:
        begun.append(options)
        return FakeEngine(Store.open(tmp_path / "s.duckdb"), emit, evaluates)

    async with control_center(tmp_path / "s.duckdb", None, size=(100, 30)) as (app, pilot):
        app.session._open_engine = open_engine
        await settle(pilot, lambda: app.state.run_id == RUN)
        await pilot.press("escape", "6", "e")
        await settle(
            pilot, lambda: len(app.screen_stack) == 2 and "12 answers are missing" in on_top(app, "#offer-told")
        )
        text = on_top(app, "#offer-text")
        assert "○ base_raw" in text and "✓ sft" in text and "results will be exploratory" in text
        await pilot.press("p")
        await settle(pilot, lambda: "sft is better" in on_top(app, "#offer-text") and registered == [RUN])
        told = " ".join(on_top(app, "#offer-text").split())
        assert "power 0.50 with n 6, smallest difference shown 30.0 points; 80% power needs n 120" in told
        await pilot.press("enter")
        await settle(pilot, lambda: bool(begun) and app.state.state == "refused")
        assert begun[0].evaluate and begun[0].resume == RUN
        assert "gap gate failed" in shown(app, "#notice") and "e there evaluates again" in shown(app, "#notice")


def test_an_interval_is_drawn_around_zero() -> None:
    assert interval_bar(0.5, 0.25, 0.75, 9, 1.0) == "····│╺●╸·"
    assert interval_bar(0.0, -0.5, 0.5, 9, 1.0) == "··╺━●━╸··"
    assert interval_bar(-0.25, -0.5, 0.25, 9, 1.0) == "··╺●┃╸···"
    assert interval_bar(2.0, 1.5, 3.0, 9, 1.0).endswith("●")
