"""Hostile text in every column that can carry it: what each room of the control center paints."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tui.hostile import LIVE, MARK, hostile_store
from tests.tui.screen import control_center, settle, text_of
from tui.words.places import PLACES, Place

SIZE = (200, 60)
# Rooms that show texts of others, and keys by which more of them is shown.
KEYS = {
    "run": ("e",), "samples": ("down", "enter"), "questions": ("down",), "runs": ("down",), "preferences": ("down", "enter"),
    "evaluation": ("down",), "training": ("down",),
}  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return hostile_store(tmp_path_factory.mktemp("hostile") / "cai.duckdb")


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.name)
async def test_what_a_room_paints_is_inert(made: Path, place: Place) -> None:
    async with control_center(made, None, SIZE) as (app, pilot):
        await settle(pilot, lambda: app.session.library is not None and MARK in text_of(app))
        await pilot.press(place.key)
        await settle(pilot)
        painted = [text_of(app)]
        for key in KEYS.get(place.name, ()):
            await pilot.press(key)
            await settle(pilot)
            painted.append(text_of(app))
        for screen in painted:
            assert not LIVE.search(screen), LIVE.findall(screen)
        if place.name in KEYS:
            assert any(MARK in screen for screen in painted), painted[-1]
