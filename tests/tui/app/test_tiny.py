"""Every room lives through any size of the terminal, down to ten columns and three lines."""

import random
from pathlib import Path

import pytest

from store.db import Store
from tests.tui.fake_preferences import constitution, fill_preferences
from tests.tui.fakes import RUN, Script, fill, steady_run
from tests.tui.rooms.test_evaluation_room import evaluated_rows
from tests.tui.rooms.test_training_room import trained_rows
from tests.tui.screen import control_center, settle
from tui.words.places import PLACES

pytestmark = [pytest.mark.integration, pytest.mark.slow]

LEAST = (10, 3)
KNOWN = ((36, 12), (33, 12), (20, 5), LEAST)  # that once ended the program, and the smallest
DRAWN = 6
ROOMS = [place.name for place in PLACES]


def sizes(seed: int) -> list[tuple[int, int]]:
    """The known ones, and others drawn where layouts change."""
    draw = random.Random(seed)
    return [*KNOWN, *((draw.randint(10, 90), draw.randint(3, 30)) for _ in range(DRAWN))]


async def live_through(path: Path, script: Script | None, rooms: list[str], seed: int) -> None:
    async with control_center(path, script, size=(80, 24)) as (app, pilot):
        await settle(pilot, lambda: app.state.run_id == RUN)
        for name in rooms:
            app.open_room(name)
            await settle(pilot)
            for width, height in sizes(seed):
                await pilot.resize_terminal(width, height)
                app.screen._compositor.render_strips()
                assert app.is_running, (name, width, height)
        await pilot.press("question_mark")
        await pilot.resize_terminal(*LEAST)
        await settle(pilot, lambda: len(app.screen_stack) == 2)
        await pilot.press("escape")
        app.notify("something that a room has to say, and that is longer than the smallest screen")
        await pilot.resize_terminal(80, 24)
        await settle(pilot, lambda: app.room.id == rooms[-1])


async def test_every_room_with_rows_lives_through_any_size(tmp_path: Path) -> None:
    fill(tmp_path / "s.duckdb", many=60)
    with Store.open(tmp_path / "s.duckdb") as store:
        store.append(trained_rows() | evaluated_rows())
    await live_through(tmp_path / "s.duckdb", None, ROOMS, 1)


async def test_every_room_of_a_run_under_way_lives_through_any_size(tmp_path: Path) -> None:
    fill(tmp_path / "s.duckdb")
    await live_through(tmp_path / "s.duckdb", steady_run, ROOMS, 2)


async def test_every_room_of_pairs_lives_through_any_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.spec.constitution.CONSTITUTION", constitution(tmp_path / "constitution.yaml"))
    fill_preferences(tmp_path / "s.duckdb")
    await live_through(tmp_path / "s.duckdb", None, ["run", "preferences", "thresholds"], 3)


async def test_an_empty_store_lives_through_any_size(tmp_path: Path) -> None:
    async with control_center(tmp_path / "s.duckdb", None, size=LEAST) as (app, pilot):
        for name in ROOMS:
            app.open_room(name)
            for width, height in sizes(5):
                await pilot.resize_terminal(width, height)
                assert app.is_running, (name, width, height)
