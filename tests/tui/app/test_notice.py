"""The notice of a problem: it closes first, comes again with its run, and goes with it."""

from pathlib import Path

import pytest
from textual.widgets import Input

from store.db import Store
from tests.tui.fakes import RUN, fill
from tests.tui.screen import control_center, settle, shown


@pytest.mark.parametrize("key", ["1", "2", "3", "4", "7", "8"])
async def test_escape_closes_the_notice_first_wherever_the_focus_is(store: Path, key: str) -> None:
    async with control_center(store, None) as (app, pilot):
        await settle(pilot, lambda: app.state.state == "done")
        await pilot.press(key)
        await settle(pilot)
        app.notice.tell("It broke", "Do this")
        if key == "2":
            await pilot.press("slash", *"abc")
        focused = app.focused
        await pilot.press("question_mark" if key != "8" else "ctrl+p")
        if len(app.screen_stack) > 1:
            await pilot.press("escape")  # a dialog is open: that closes first
            assert app.notice.display
        await pilot.press("escape")
        assert not app.notice.display and app.focused is focused
        if key == "2":
            assert app.query_one("#samples-input", Input).display
            await pilot.press("escape")
            assert not app.query_one("#samples-input", Input).display


async def test_a_failed_gate_is_told_again_when_its_run_is_opened(tmp_path: Path) -> None:
    path = tmp_path / "store.duckdb"
    fill(path, state="gate_failed")
    with Store.open(path) as store:
        store.update_run(RUN, reason="the pilot fails: token limit")
    async with control_center(path, None, size=(60, 20)) as (app, pilot):
        await settle(pilot, lambda: bool(app.notice.display))
        assert "A gate failed: the pilot fails" in shown(app, "#notice")
        assert "3 tries other thresholds" in shown(app, "#notice")
        assert app.notice.outer_size.height <= 3
        await pilot.press("escape")
        app.refresh_room()
        app.load_history(RUN)
        await settle(pilot)
        assert not app.notice.display
        app.show_run(RUN)
        await settle(pilot, lambda: bool(app.notice.display))


async def test_a_notice_about_a_run_goes_when_another_is_shown(store: Path) -> None:
    async with control_center(store, None) as (app, pilot):
        await settle(pilot, lambda: app.state.state == "done")
        app.notice.tell("It broke", "")
        app.show_run(RUN)
        assert not app.notice.display
        app.notice.tell("A mistake in the settings", "", lasting=True)
        app.show_run(RUN)
        await settle(pilot)
        assert app.notice.display


async def test_a_failed_guard_is_told_with_what_can_be_done(store: Path) -> None:
    async with control_center(store, None) as (app, pilot):
        await settle(pilot, lambda: app.state.state == "done")
        app.state.guard_passed = False
        app.show_end("gate_failed", "the contamination guard failed, and no approval opens that lock")
        told = shown(app, "#notice")
        assert "contamination guard failed" in told and "no samples exist yet" in told and "--model" in told
        assert "3 tries other thresholds" not in told
