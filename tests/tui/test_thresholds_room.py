"""Thresholds: what would change is shown at once, and applied only with a reason."""

from pathlib import Path

from fakes import fill
from test_screen import control_center, settle, shown

from store.db import Store
from tui.widgets.dock import QuestionDock


async def test_moving_shows_and_applying_asks_for_a_reason(tmp_path: Path) -> None:
    path = tmp_path / "s.duckdb"
    fill(path, many=60)
    async with control_center(path, None) as (app, pilot):
        await pilot.press("3")
        await settle(pilot, lambda: "pairs" in shown(app, "#outcome"))
        assert "accept above" in shown(app, "#knobs") and "+0.40" in shown(app, "#knobs")
        before = shown(app, "#outcome")
        assert "Move a threshold" in shown(app, "#changes")
        await pilot.press(*["right"] * 6)
        await settle(pilot, lambda: "+0.40 → +0.70" in shown(app, "#knobs") and "was" in shown(app, "#outcome"))
        assert shown(app, "#outcome") != before and "accepted → ? unsure" in shown(app, "#changes")
        await pilot.press("x")
        await settle(pilot, lambda: shown(app, "#outcome") == before)
        await pilot.press("L", "enter")
        dock = app.query_one(QuestionDock)
        await settle(pilot, lambda: dock.current is not None)
        await pilot.press("y", *"stricter", "enter")
        await settle(pilot, lambda: "+0.90" in shown(app, "#knobs") and "→" not in shown(app, "#knobs"))
        await pilot.press("4")
        await settle(pilot, lambda: "1 decided" in str(app.query_one("#gate-table").border_subtitle))
        await pilot.press("end", "j", "j", "j", "j", "j", "j", "j", "j", "j", "j", "j", "j", "j", "j")
        await settle(pilot, lambda: "stricter" in shown(app, "#gate-evidence-text"))
        assert "made on the figures that the gate has now" in shown(app, "#gate-evidence-text")
    with Store.open(path, read_only=True) as store:
        decision = store.reader().query("SELECT * FROM decisions")[0]
    assert decision["reason"] == "stricter" and "accept_above: 0.4 -> 0.9" in decision["question"]


async def test_values_that_contradict_are_said_and_a_running_run_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "s.duckdb"
    fill(path)
    async with control_center(path) as (app, pilot):
        await settle(pilot, lambda: app.state.forecast is not None)
        await pilot.press("3")
        await settle(pilot, lambda: "pairs" in shown(app, "#outcome"))
        await pilot.press("j", "L", "L")
        await settle(pilot, lambda: "must not exceed" in shown(app, "#outcome"))
        await pilot.press("enter")
        await settle(pilot)
        assert app.query_one(QuestionDock).current is None
