"""The configuration: read with messages, and changed without loss."""

from __future__ import annotations

import stat
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.tui.config.conftest import SAID
from tui.config import settings
from tui.config.file import ConfigNotSaved, save

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
        ("gpu_prices = 'H100 cheap'", ("gpu_prices is 'H100 cheap'", "wanted dollars an hour by kind")),
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
