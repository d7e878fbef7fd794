"""Whoever comes back finds the screen as they left it: the room, the filters, the row."""

import json
from pathlib import Path

import pytest

from tests.tui.fake_preferences import constitution, fill_preferences
from tests.tui.fakes import RUN, fill
from tests.tui.screen import control_center, settle, shown
from tui.host.place import STORES_KEPT, load_place, place_path, save_place
from tui.rooms.preferences import PreferencesRoom
from tui.rooms.samples import SamplesRoom
from tui.rooms.wish import Wish
from tui.words.places import PLACES


async def test_the_room_its_filter_and_its_row_are_where_they_were_left(tmp_path: Path) -> None:
    fill(tmp_path / "s.duckdb", many=40)
    async with control_center(tmp_path / "s.duckdb", None) as (app, pilot):
        await pilot.press("2")
        room = app.query_one(SamplesRoom)
        await settle(pilot, lambda: room.table.count == 44)
        await pilot.press("a", "o")
        await settle(pilot, lambda: 0 < room.table.count < 44 and room.table.row_at(0) is not None)
        await pilot.press("j", "j", "j")
        wish, here = room.wish, room.table.row_at(3)
        app.exit()
    async with control_center(tmp_path / "s.duckdb", None) as (app, pilot):
        room = app.query_one(SamplesRoom)
        await settle(pilot, lambda: app.room is room and room.table.cursor == 3)
        assert room.wish == wish and here is not None and room.table.has_focus
        assert room.table.row_at(3)["sample_id"] == here["sample_id"]  # type: ignore[index]
        await settle(pilot, lambda: here["sample_id"] in str(app.query_one("#detail").border_subtitle))


async def test_thresholds_runs_and_pairs_are_where_they_were_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.spec.constitution.CONSTITUTION", constitution(tmp_path / "constitution.yaml"))
    fill_preferences(tmp_path / "s.duckdb")
    async with control_center(tmp_path / "s.duckdb", None) as (app, pilot):
        await pilot.press("3")
        await settle(pilot, lambda: "accept above" in shown(app, "#knobs"))
        await pilot.press("j", "j", "0")
        pairs = app.query_one(PreferencesRoom)
        await settle(pilot, lambda: pairs.table.count > 0)
        await pilot.press("v", "v")
        await settle(pilot, lambda: pairs.table.view == "pairs" and pairs.table.count > 1)
        await pilot.press("down")
        await settle(pilot, lambda: pairs.table.cursor == 1)
        app.exit()
    async with control_center(tmp_path / "s.duckdb", None) as (app, pilot):
        pairs = app.query_one(PreferencesRoom)
        await settle(pilot, lambda: app.room is pairs and pairs.table.view == "pairs" and pairs.table.cursor == 1)
        await pilot.press("3")
        await settle(pilot, lambda: app.room.list.chosen == 2)  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["run", "samples", "questions", "evaluation", "log"])
async def test_a_question_about_an_unfinished_run_comes_first_in_whatever_room(tmp_path: Path, name: str) -> None:
    fill(tmp_path / "s.duckdb", state="stopped")
    save_place(tmp_path / "s.duckdb", {"run": RUN, "room": name, "rooms": {}})
    async with control_center(tmp_path / "s.duckdb", None) as (app, pilot):
        await settle(pilot, lambda: app.room.id == name and app.dock.current is not None)
        assert app.dock.has_focus
        await pilot.pause()  # a room that takes the focus late would take it now
        assert app.dock.has_focus
        await pilot.press("escape")
        await settle(pilot, lambda: not app.dock.has_focus)


@pytest.mark.parametrize(
    "kept",
    [
        "no JSON", "[]", '{"STORE": 3}', '{"STORE": {"run": "run-a", "room": "nowhere", "rooms": {"samples": 1}}}',
        '{"STORE": {"run": "run-a", "room": 7, "rooms": {"samples": {"wish": {"verdict": 3}, "sample": 9}}}}',
        '{"STORE": {"run": "run-a", "rooms": {"preferences": {"wish": {"view": "x", "principle": 2}, "row": []}, '
        '"runs": {"run": 4}, "thresholds": {"knob": 1}, "run": {"phase": "none"}}}}',
    ],
    ids=["text", "list", "number", "no room", "wrong kinds", "wrong values"],
)  # fmt: skip
async def test_what_cannot_be_used_is_as_if_nothing_was_kept(tmp_path: Path, kept: str) -> None:
    fill(tmp_path / "s.duckdb")
    place_path().parent.mkdir(parents=True, exist_ok=True)
    place_path().write_text(kept.replace("STORE", str(tmp_path / "s.duckdb")))
    async with control_center(tmp_path / "s.duckdb", None) as (app, pilot):
        await settle(pilot, lambda: app.state.run_id == RUN)
        for place in PLACES:
            app.open_room(place.name)
            await settle(pilot)
        assert app.query_one(SamplesRoom).wish == Wish() and not app.notice.display


def test_places_are_kept_by_store_and_the_oldest_go(tmp_path: Path) -> None:
    for number in range(STORES_KEPT + 3):
        save_place(tmp_path / f"{number}.duckdb", {"room": str(number)})
    assert load_place(tmp_path / "0.duckdb") == {} and load_place(tmp_path / "9.duckdb") == {"room": "9"}
    assert len(json.loads(place_path().read_text())) == STORES_KEPT
