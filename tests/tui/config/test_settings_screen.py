"""Settings on the screen: shown with where they come from, changed, checked and saved."""

from __future__ import annotations

import tomllib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Input, Static

from tests.tui.config.conftest import SAID
from tests.tui.screen import settle, shown_below
from tui.app.app import ControlCenter
from tui.app.personal import Personal
from tui.app.settings_screen import SettingsScreen
from tui.config import settings
from tui.widgets.frame.notice import Notice


@asynccontextmanager
async def on_screen(path: Path, size: tuple[int, int] = (100, 30)) -> AsyncIterator[tuple[Any, Pilot[Any]]]:
    app = ControlCenter(path.with_name("none.duckdb"), None, None, None)
    app.apply_config(settings.load())
    async with app.run_test(size=size) as pilot:
        await settle(pilot, lambda: bool(app.query("#log")))
        yield app, pilot


def listed(app: Any, where: str = "#settings-list") -> str:
    return str(app.screen.query_one(where, Static).content)


async def test_mistakes_are_told_once_on_the_screen(path: Path) -> None:
    path.write_text("thme = 'x'\ntheme = 'cai-drak'\n[keymap]\n'run.stpo' = 'x'\n")
    async with on_screen(path) as (app, pilot):
        await settle(pilot, lambda: app.query_one(Notice).display)
        told = shown_below(app, "#notice")
        assert "3 mistakes" in told and "'theme'" in told and "'cai-dark'" in told and "'run.stop'" in told
        assert app.theme == "cai-dark"


async def test_a_key_of_ones_own_works_and_the_others_still_do(path: Path) -> None:
    path.write_text("[keymap]\nhelp = 'f2'\n'room.samples' = 'f3'\n")
    async with on_screen(path) as (app, pilot):
        await settle(pilot, lambda: "f2" in app.screen.active_bindings)
        await pilot.press("f3")
        assert app.room.id == "samples"
        await pilot.press("2", "1")
        assert app.room.id == "run"
        await pilot.press("question_mark")
        assert len(app.screen_stack) == 1
        await pilot.press("f2")
        assert len(app.screen_stack) == 2


@pytest.mark.parametrize("size", [(60, 20), (80, 24), (200, 60)])
async def test_settings_are_shown_with_where_they_come_from(
    path: Path, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]
) -> None:
    path.write_text(SAID)
    monkeypatch.setenv("CAI_MODEL", "Qwen/Qwen2.5-0.5B")
    async with on_screen(path, size) as (app, pilot):
        await pilot.press("comma")
        lines = listed(app).splitlines()
        assert len(lines) == len(settings.SETTINGS)
        assert "cai-safe" in lines[0] and "file" in lines[0]
        assert "Qwen" in lines[1] and "$CAI_MODEL" in lines[1]
        assert "(empty)" in lines[2] and "default" in lines[2]
        await pilot.press("down")
        assert "$CAI_MODEL decides now" in listed(app, "#settings-about")
        await pilot.press("escape")
        assert len(app.screen_stack) == 1


async def test_a_choice_holds_at_once_and_is_saved(path: Path) -> None:
    path.write_text(SAID)
    async with on_screen(path) as (app, pilot):
        await pilot.press("comma")
        assert app.theme == "cai-safe"
        await pilot.press("left")
        assert app.theme == "cai-light" and tomllib.loads(path.read_text())["theme"] == "cai-light"
        assert "# blue and orange" in path.read_text()
        await pilot.press("d")
        assert app.theme == "cai-dark" and "theme" not in tomllib.loads(path.read_text())


async def test_a_typed_value_is_checked_before_it_is_saved(path: Path) -> None:
    async with on_screen(path) as (app, pilot):
        await pilot.press("comma", "down", "down", "down", "enter", *"cheap", "enter")
        assert "wanted a number of dollars" in listed(app, "#settings-about")
        assert not path.exists()
        app.screen.query_one(Input).value = ""
        await pilot.press(*"2.5", "enter")
        assert tomllib.loads(path.read_text()) == {"price_per_gpu_hour": 2.5}
        assert app.config.price_per_gpu_hour == 2.5
        await pilot.press("escape")
        assert not isinstance(app.screen, SettingsScreen)


async def test_what_cannot_be_saved_is_said_and_the_screen_stays(path: Path) -> None:
    path.write_text("theme = ")
    async with on_screen(path) as (app, pilot):
        await pilot.press("comma", "right")
        assert "is not TOML" in listed(app, "#settings-about")
        assert path.read_text() == "theme = "


async def test_the_bell_can_be_silenced(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.write_text("bell = false")
    rung: list[bool] = []
    monkeypatch.setattr("textual.app.App.bell", lambda self: rung.append(True))
    async with on_screen(path) as (app, _):
        app.bell()
        assert rung == []
        app.apply_config(settings.Config(path))
        app.bell()
        assert rung == [True]


async def test_settings_are_in_the_command_palette(path: Path) -> None:
    async with on_screen(path) as (app, _):
        assert isinstance(app, Personal)
        titles = [command.title for command in app.get_system_commands(app.screen)]
        assert [title for title in titles if title.startswith("Settings")] == ["Settings (,)"]
