"""The configuration: read with messages, changed without loss, shown and edited on the screen; keys and themes."""

from __future__ import annotations

import stat
import subprocess
import sys
import tomllib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from textual.color import Color
from textual.pilot import Pilot
from textual.widgets import Input, Static

from tests.tui.app.test_screen import settle, shown_below
from tui.app import keymap, themes
from tui.app.app import ControlCenter
from tui.app.personal import Personal
from tui.app.settings_screen import SettingsScreen
from tui.config import settings
from tui.config.file import ConfigNotSaved, save
from tui.widgets.frame.notice import Notice

SAID = """# what I like
theme = "cai-safe"   # blue and orange
price_per_gpu_hour = 2.49

bell = false
[keymap]
"run.pause" = "x"  # theme = "not this one"
"""


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for setting in settings.SETTINGS:
        if setting.environment:
            monkeypatch.delenv(setting.environment, raising=False)
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("CAI_CONFIG", str(tmp_path / "config.toml"))
    return tmp_path / "config.toml"


# -- reading -------------------------------------------------------------------------------------------------------------


def test_without_a_file_the_defaults_hold(path: Path) -> None:
    found = settings.load()
    assert (found.path, found.theme, found.offer_tmux, found.bell, found.problems) == (
        path,
        "cai-dark",
        "ask",
        True,
        (),
    )
    assert {found.origin(setting.name) for setting in settings.SETTINGS} == {"default"}


def test_the_file_lies_in_the_users_configuration_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("CAI_CONFIG", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert settings.config_path() == tmp_path / "cai" / "config.toml"


def test_each_value_says_where_it_comes_from(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.write_text(SAID + "")
    monkeypatch.setenv("CAI_PRICE_PER_GPU_HOUR", "3.5")
    monkeypatch.setenv("CAI_STORE", "/from/environment")
    found = settings.load({"store": "/given", "model": None})
    assert (found.price_per_gpu_hour, found.origin("price_per_gpu_hour")) == (3.5, "environment")
    assert (found.store, found.origin("store")) == ("/given", "command line")
    assert (found.theme, found.origin("theme"), found.bell, found.origin("bell")) == ("cai-safe", "file", False, "file")
    assert found.origin("model") == "default"
    assert found.keymap == {"run.pause": "x"}
    assert found.problems == ()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("theme = 'cai-safe'\nthme = 'x'", ("line 2", "no setting 'thme'", "nearest is 'theme'")),
        ("\nprice_per_gpu_hour = 'cheap'", ("line 2", "price_per_gpu_hour is 'cheap'", "wanted a number of dollars")),
        ("price_per_gpu_hour = -1", ("wanted a number",)),
        ("price_per_gpu_hour = true", ("wanted a number",)),
        ("offer_tmux = 'nevr'", ("one of ask, always, never", "nearest is 'never'")),
        ("bell = 'loud'", ("wanted true or false", "the default, true, is used")),
        ("theme = 3", ("wanted the name of a theme",)),
        ("theme = 'a\nb'", ("is not TOML", "line 1", "defaults are used")),
        ("keymap = 'x'", ("keymap is a table",)),
        ("[keymap]\na.b = 'x'\n'run.stop' = 3", ("line 3", "keymap run.stop wants keys as text")),
        ("[server]\nport = 3", ("line 1", "no setting 'server'")),
        ("api_key = 'sk-abc'", ("no setting 'api_key'",)),
        ("reviewer_key_file = 'sk-abc'", ("the path of a file", "reviewer_key_file is wrong")),
        ("reviewer_key_file = '/home/me/sk-abc'", ("the key itself has no setting",)),
        ("reviewer_url = 'https://me:sk-abc@server/v1'", ("without a name or a password",)),
        ("reviewer_url = 'server/v1'", ("wanted http or https",)),
        ("reviewer_url = 'http://[::1'", ("wanted http or https",)),
        ("reviewer = 'modl'", ("one of person, model, chain, policy", "nearest is 'model'")),
        ("reviewer_model = ''", ("the name of a model",)),
        ("reviewer_timeout_s = 0", ("seconds from 1 to 3600",)),
        ("reviewer_timeout_s = nan", ("seconds from 1 to 3600",)),
    ],
)
def test_a_mistake_is_named_and_the_default_stands(path: Path, text: str, words: tuple[str, ...]) -> None:
    path.write_text(text)
    found = settings.load()
    assert len(found.problems) == 1
    for word in (str(path), *words):
        assert word in found.problems[0]
    assert "sk-abc" not in found.problems[0]
    assert found.price_per_gpu_hour is None and found.offer_tmux == "ask" and found.bell is True


def test_a_secret_in_the_environment_is_not_repeated(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAI_REVIEWER_KEY_FILE", "sk-abc")
    monkeypatch.setenv("CAI_REVIEWER_URL", "https://me:sk-abc@server")
    problems = settings.load().problems
    assert len(problems) == 2 and "sk-abc" not in str(problems) and "$CAI_REVIEWER_URL is wrong" in problems[0]


def test_the_dataclass_has_the_settings_defaults(path: Path) -> None:
    blank = settings.Config(path)
    assert {item.name: blank.value(item.name) for item in settings.SETTINGS} == {
        item.name: item.default for item in settings.SETTINGS
    }


def test_no_file_stops_the_program(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.write_bytes(b"\xff\xfe theme")
    assert "not text in UTF-8" in settings.load().problems[0]
    path.unlink()
    path.mkdir()
    assert "cannot be read" in settings.load().problems[0]
    path.rmdir()
    monkeypatch.setenv("CAI_PRICE_PER_GPU_HOUR", "much")
    found = settings.load()
    assert "$CAI_PRICE_PER_GPU_HOUR is 'much'" in found.problems[0] and found.price_per_gpu_hour is None


def test_reading_imports_nothing_for_the_screen(path: Path) -> None:
    path.write_text(SAID)
    code = "import sys; from tui.config import settings as config; assert 'tomllib' not in sys.modules; config.load(); print('textual' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "False\n"


# -- writing -------------------------------------------------------------------------------------------------------------


def test_only_the_one_value_changes(path: Path) -> None:
    path.write_text(SAID)
    path.chmod(0o644)
    save(path, "theme", "cai-light")
    assert path.read_text() == SAID.replace('"cai-safe"', '"cai-light"')
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    save(path, "offer_tmux", "never")
    assert path.read_text().splitlines()[4:7] == ["bell = false", 'offer_tmux = "never"', "[keymap]"]
    save(path, "bell", None)
    assert "bell" not in tomllib.loads(path.read_text())
    save(path, "bell", None)
    assert list(path.parent.iterdir()) == [path]


def test_a_file_is_made_with_its_folder(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "config.toml"
    save(path, "model", 'a "quoted" \\ name')
    assert tomllib.loads(path.read_text()) == {"model": 'a "quoted" \\ name'}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_link_is_followed(tmp_path: Path) -> None:
    real, link = tmp_path / "dotfiles.toml", tmp_path / "config.toml"
    real.write_text("bell = true\n")
    link.symlink_to(real)
    save(link, "bell", False)
    assert link.is_symlink() and real.read_text() == "bell = false\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("theme = ", "is not TOML"),
        ('theme = """\ncai-safe\n"""\n', "cannot be changed safely"),
        ("model = '''\ntheme = 1\n'''", "cannot be changed safely"),
    ],
)
def test_what_cannot_be_changed_safely_is_left(path: Path, text: str, words: str) -> None:
    path.write_text(text)
    with pytest.raises(ConfigNotSaved, match=words):
        save(path, "theme", "cai-light")
    assert path.read_text() == text


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("theme='a#b'#c", "theme='cai-light'#c"),
        ("theme = 'x'\r\nbell = true\r\n", "theme = 'cai-light'\r\nbell = true\r\n"),
        ('"theme" = "x"', "\"theme\" = 'cai-light'"),
        ("bell = true", "bell = true\ntheme = 'cai-light'\n"),
        ("\n\n[keymap]\n'a' = 'b'", "theme = 'cai-light'\n\n\n[keymap]\n'a' = 'b'"),
    ],
)
def test_however_it_was_written(path: Path, before: str, after: str) -> None:
    path.write_bytes(before.encode())
    save(path, "theme", "cai-light")
    assert path.read_bytes().decode().rstrip("\n") == after.replace("'cai-light'", '"cai-light"').rstrip("\n")


# -- themes --------------------------------------------------------------------------------------------------------------

TEXT = (
    "foreground",
    "foreground-muted",
    "text-muted",
    "text-success",
    "text-error",
    "text-warning",
    "text-accent",
    "accent",
)


@pytest.mark.parametrize("theme", themes.THEMES, ids=lambda theme: theme.name)
def test_text_is_readable_on_every_ground_and_on_the_cursor(theme: Any) -> None:
    colours = theme.to_color_system().generate() | theme.variables
    background = Color.parse(colours["background"])
    cursor = background + Color.parse(colours["primary"]).with_alpha(0.4)
    grounds = {"background": background, "surface": Color.parse(colours["surface"]), "cursor": cursor}
    poor = {
        (token, name): round(themes.contrast(Color.parse(colours[token]), ground), 2)
        for token in TEXT
        for name, ground in grounds.items()
        if themes.contrast(Color.parse(colours[token]), ground) < themes.READS_WELL
    }
    assert not poor
    lines = [themes.contrast(Color.parse(colours[token]), background) for token in ("success", "error", "warning")]
    assert min(lines) >= 3  # WCAG 2.2, 1.4.11: what is no text
    assert themes.contrast(cursor, background) >= themes.STANDS_OUT


def test_the_safe_theme_uses_no_green_against_red() -> None:
    """Seen without the red-green axis (Machado 2009, deuteranopia, severity 1), good and bad stay far apart."""
    matrix = ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881))

    def seen(colour: str) -> list[float]:
        rgb = Color.parse(colour).normalized
        return [sum(weight * part for weight, part in zip(row, rgb, strict=True)) for row in matrix]

    colours = themes.SAFE.to_color_system().generate()
    good, bad = seen(colours["text-success"]), seen(colours["text-error"])
    assert sum((one - other) ** 2 for one, other in zip(good, bad, strict=True)) ** 0.5 > 0.3


# -- keys ----------------------------------------------------------------------------------------------------------------

KNOWN = [
    keymap.Place("run.pause", "p", ""),
    keymap.Place("run.resume", "p", ""),
    keymap.Place("run.stop", "s", ""),
    keymap.Place("samples.unsure", "u", "SamplesRoom"),
    keymap.Place("table.down", "down", "Table"),
    keymap.Place("table.down", "j", "Table"),
    keymap.Place("fork.start", "f2", "ForkScreen", alone=True),
]


def test_a_keymap_keeps_the_others_on_the_same_key() -> None:
    assert keymap.complete({"run.pause": "f5, ?"}, KNOWN) == (
        {"run.pause": "f5,question_mark", "run.resume": "p"},
        [],
    )
    assert keymap.complete({"run.pause": "x", "run.resume": "x"}, KNOWN)[1] == []
    assert keymap.complete({"run.stop": "f2"}, KNOWN)[1] == []  # that screen lets none of the app's keys through
    assert keymap.complete({"table.down": "n"}, KNOWN) == ({"table.down": "n"}, [])


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ({"run.puase": "x"}, ("no binding 'run.puase'", "nearest is 'run.pause'")),
        ({"run.pause": "crtl+x"}, ("'crtl+x' is no key", "nearest is 'ctrl+x'")),
        ({"run.stop": "f77"}, ("'f77' is no key",)),
        ({"run.stop": "p"}, ("'p' is run.stop and run.pause",)),
        ({"run.stop": "u"}, ("samples.unsure wins over run.stop",)),
    ],
)
def test_wrong_names_keys_and_clashes_are_said(wanted: dict[str, str], words: tuple[str, ...]) -> None:
    problems = keymap.complete(wanted, KNOWN)[1]
    assert problems
    for word in words:
        assert word in problems[0]


def test_every_binding_of_the_program_is_known() -> None:
    ids = {place.id for place in keymap.places()}
    assert {"room.samples", "run.pause", "settings", "samples.accepted", "help.close", "settings.reset"} <= ids
    assert all(keymap.is_key(place.key) for place in keymap.places())


# -- on the screen -------------------------------------------------------------------------------------------------------


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
        assert "Settings" in [command.title for command in app.get_system_commands(app.screen)]
