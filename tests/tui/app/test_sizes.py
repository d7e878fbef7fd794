"""Header, bar and messages at once in the size that the terminal has."""

from pathlib import Path

import pytest

from store.db import Store
from tests.tui.fakes import RUN
from tests.tui.screen import control_center, settle, shown_below
from tui.app.app import ControlCenter
from tui.words.places import PLACES


@pytest.mark.parametrize("dialog", [False, True])
async def test_header_and_bar_follow_the_terminal_at_once(store: Path, dialog: bool) -> None:
    with Store.open(store) as opened:
        opened.update_run(RUN, state="stopped", model="Qwen/Qwen2.5-32B-with-a-long-name", seed=20260714)
    async with control_center(store, None, size=(120, 30)) as (app, pilot):
        await settle(pilot, lambda: app.state.state == "stopped")
        app.state.run_id = "20260714-101500-abcd"
        app.dock.withdraw_all()
        if dialog:
            await pilot.press("question_mark")
            await settle(pilot, lambda: len(app.screen_stack) == 2)
        for width in (60, 40, 120, 60):
            await pilot.resize_terminal(width, 20)
            await pilot.pause(0.1)
            first = shown_below(app, "#header").split("\n")[0]
            assert len(first) <= width - 2 and "■ stopped" in first and first.endswith("00:12"), (width, first)
            if width >= 60:
                assert "0" in shown_below(app, "#bar") and len(shown_below(app, "#bar")) <= width
                assert "Log" in shown_below(app, "#bar")
        assert "20260714-101500-abcd" in first


@pytest.mark.parametrize("size", [(80, 24), (120, 36), (200, 60)])
async def test_messages_cover_nothing(store: Path, size: tuple[int, int]) -> None:
    app = ControlCenter(store, None, lambda *_: None)  # type: ignore[arg-type, return-value]
    async with app.run_test(size=size, notifications=True) as pilot:
        await settle(pilot, lambda: app.state.state == "done" and bool(app.query("#log")))
        for place in PLACES:
            app.open_room(place.name)
            app.notify(f"a message of the room {place.title}\nand its second line", severity="warning")
            await pilot.pause()
            told = app.told.region
            assert told.height >= 2 and told.bottom <= app.bar.region.y and place.title in str(app.told.content)
            assert not told.overlaps(app.room.region)
            assert all(toast.region.area == 0 for toast in app.screen.query("Toast"))
        app.session.let_go()


async def test_a_message_waits_until_nothing_lies_over_it(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tui.widgets.frame.told.LEAST_S", 0.05)
    monkeypatch.setattr("tui.widgets.frame.told.CHARACTERS_A_S", 1e6)
    async with control_center(store, None) as (app, pilot):
        await pilot.press("question_mark")
        await settle(pilot, lambda: len(app.screen_stack) == 2)
        app.notify("said under the help")
        await pilot.pause(0.3)
        assert app.told.display
        await pilot.press("escape")
        await settle(pilot, lambda: not app.told.display)


def test_the_key_that_interrupts_says_when_it_asks() -> None:
    told = {binding.id: binding.tooltip for binding in ControlCenter.BINDINGS}  # type: ignore[union-attr]
    assert told["interrupt"] == told["quit"] == "Leave; asks while a run is going on"
