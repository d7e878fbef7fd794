"""The room Evaluation where benchmarks were asked and no held-out item was."""

from __future__ import annotations

from pathlib import Path

from store.db import Store
from tests.engine.evaluation.suites.suite_rows import suite_rows
from tests.tui.fakes import RUN, fill
from tests.tui.rooms.test_evaluation_room import on_top
from tests.tui.screen import control_center, settle


async def test_benchmarks_are_told_before_an_item_was_asked(tmp_path: Path) -> None:
    fill(tmp_path / "s.duckdb")
    with Store.open(tmp_path / "s.duckdb") as store:
        store.append(suite_rows("t"))
    async with control_center(tmp_path / "s.duckdb", None, size=(160, 50)) as (app, pilot):
        await settle(pilot, lambda: app.state.run_id == RUN)
        await pilot.press("6")
        await settle(pilot, lambda: app.query_one("#evaluation-standing").display)
        told = on_top(app, "#evaluation-standing")
        assert "Benchmarks were asked, no held-out item was" in told and "t acc of 60: base_raw 0." in told
        assert app.query_one("#evaluation-empty").display, "what a claim needs is still shown"
