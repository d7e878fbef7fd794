"""What is typed behind a key, faster than the screen follows, reaches what that key opened."""

from pathlib import Path

from textual.events import Key
from textual.widgets import Input

from store.db import Store
from tests.tui.fakes import RUN, fill
from tests.tui.screen import control_center, settle, shown
from tui.app.app import ControlCenter
from tui.rooms.samples import SamplesRoom

NAMED = {"enter": "\r", "right": None, "space": " "}


def type_at_once(app: ControlCenter, *keys: str) -> None:
    """All keys before the screen has looked at the first of them."""
    assert app._driver is not None
    for key in keys:
        app._driver.send_message(Key(key, NAMED.get(key, key)))


async def test_a_reason_typed_at_once_behind_enter_keeps_its_first_letters(tmp_path: Path) -> None:
    fill(tmp_path / "s.duckdb")
    why = "xhl stricter, 0 doubts"
    async with control_center(tmp_path / "s.duckdb", None) as (app, pilot):
        await pilot.press("3")
        await settle(pilot, lambda: "accept above" in shown(app, "#knobs"))
        await pilot.press("right")
        await settle(pilot, lambda: "→" in shown(app, "#knobs"))
        keys = ["space" if letter == " " else letter for letter in why]
        type_at_once(app, "enter", "enter", *keys, "enter")
        await settle(pilot, lambda: "→" not in shown(app, "#knobs"))
        assert app.room.id == "thresholds"
    with Store.open(tmp_path / "s.duckdb", read_only=True) as store:
        assert [row["reason"] for row in store.reader().query("SELECT reason FROM decisions")] == [why]


async def test_an_answer_typed_at_once_behind_the_key_that_asks_counts(tmp_path: Path) -> None:
    fill(tmp_path / "s.duckdb", state="stopped")
    async with control_center(tmp_path / "s.duckdb", None) as (app, pilot):
        await settle(pilot, lambda: app.dock.current is not None)
        await pilot.press("escape", "7")
        await settle(pilot, lambda: app.room.id == "runs" and app.room.under_cursor == RUN)  # type: ignore[attr-defined]
        type_at_once(app, "R", "n", "2")
        await settle(pilot, lambda: app.room.id == "samples")
        assert app.dock.current is None


async def test_keys_behind_the_enter_of_a_line_mean_what_they_mean_when_it_is_closed(tmp_path: Path) -> None:
    fill(tmp_path / "s.duckdb")
    async with control_center(tmp_path / "s.duckdb", None) as (app, pilot):
        await pilot.press("2")
        room = app.query_one(SamplesRoom)
        await settle(pilot, lambda: room.table.count == 4 and room.table.row_at(0) is not None)
        await pilot.press("y", "i")
        type_at_once(app, *"why", "enter", "3")
        await settle(pilot, lambda: app.room.id == "thresholds")
        await pilot.press("2", "m")
        type_at_once(app, *"wrong", "enter", "x")  # no range: the line stays open, and has the key
        await settle(pilot, lambda: app.query_one("#samples-input", Input).value == "wrongx")
    with Store.open(tmp_path / "s.duckdb", read_only=True) as store:
        assert [row["note"] for row in store.reader().query("SELECT note FROM person_labels")] == ["why"]
