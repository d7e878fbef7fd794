"""Evaluation: intervals, tests and effect sizes as stored, and the items that changed sides."""

from pathlib import Path

import rows
from fakes import HOSTILE, RUN, fill
from test_screen import control_center, settle, shown
from textual.widgets import DataTable

from store.db import Store
from tui.widgets.marks import interval_bar


def evaluated_rows() -> dict[str, list[rows.Row]]:
    """Four items: one gained, one lost, one right and one wrong both times."""
    outcomes = {"e1": (False, True), "e2": (True, False), "e3": (True, True), "e4": (False, False)}
    exploratory = {"p_corrected": 0.6, "correction": "Holm", "registered": False}
    return {
        "evaluation_items": [rows.evaluation_item(name) for name in outcomes],
        "evaluation_answers": [
            rows.evaluation_answer(name, condition, right, answer=f"{HOSTILE} {condition} says {name}")
            for name, both in outcomes.items()
            for condition, right in zip(("base_formatted", "sft"), both, strict=True)
        ],
        "evaluation_results": [
            rows.evaluation_result(),
            rows.evaluation_result("arithmetic", difference=-0.02, lo=-0.08, hi=0.04, **exploratory),
        ],
    }


def evaluated(path: Path) -> None:
    fill(path)
    with Store.open(path) as store:
        store.append(evaluated_rows())


async def test_a_run_without_evaluation_says_what_will_be_here(tmp_path: Path) -> None:
    fill(tmp_path / "s.duckdb")
    async with control_center(tmp_path / "s.duckdb", None) as (app, pilot):
        await settle(pilot, lambda: app.state.run_id == RUN)
        await pilot.press("6", "n", "x")
        await settle(pilot, lambda: "Nothing was evaluated in this run yet" in shown(app, "#evaluation-item"))


async def test_results_show_interval_test_and_effect(tmp_path: Path) -> None:
    evaluated(tmp_path / "s.duckdb")
    async with control_center(tmp_path / "s.duckdb", None, size=(200, 60)) as (app, pilot):
        await settle(pilot, lambda: app.state.run_id == RUN)
        await pilot.press("6")
        table = app.query_one("#evaluation-table", DataTable)
        await settle(pilot, lambda: table.row_count == 2)
        whole, of_type = ([str(cell) for cell in table.get_row_at(at)] for at in (0, 1))
        assert whole[:5] == ["all", "300", "81.0 %", "99.3 %", "+18.3 [+13.8, +22.9]"]
        assert whole[6:] == ["+57 −2", "–", "6.1e-15", "h +0.74", "McNemar exact, Newcombe",
                             "base_formatted → sft", "registered"]  # fmt: skip
        assert of_type[7] == "0.6 Holm" and of_type[-1] == "exploratory"


async def test_items_that_changed_sides_are_shown_side_by_side(tmp_path: Path) -> None:
    evaluated(tmp_path / "s.duckdb")
    for size in ((80, 24), (120, 36)):
        async with control_center(tmp_path / "s.duckdb", None, size=size) as (app, pilot):
            await settle(pilot, lambda app=app: app.state.run_id == RUN)
            await pilot.press("6")
            await settle(pilot, lambda app=app: "prompt of e1" in shown(app, "#evaluation-item"))
            before, after = shown(app, "#evaluation-before"), shown(app, "#evaluation-after")
            assert "base_formatted ✗ wrong" in before and "base_formatted says e1" in before
            assert "sft ✓ right" in after and "equals the reference" in after
            assert "\x1b" not in before + after and "\u202e" not in before + after
            await pilot.press("x")
            await settle(pilot, lambda app=app: "prompt of e2" in shown(app, "#evaluation-item"))
            assert "✓ right" in shown(app, "#evaluation-before") and "✗ wrong" in shown(app, "#evaluation-after")
            assert "became wrong" in str(app.query_one("#evaluation-items").border_title)


def test_an_interval_is_drawn_around_zero() -> None:
    assert interval_bar(0.5, 0.25, 0.75, 9, 1.0) == "····│╺●╸·"
    assert interval_bar(0.0, -0.5, 0.5, 9, 1.0) == "··╺━●━╸··"
    assert interval_bar(-0.25, -0.5, 0.25, 9, 1.0) == "··╺●┃╸···"
    assert interval_bar(2.0, 1.5, 3.0, 9, 1.0).endswith("●")
