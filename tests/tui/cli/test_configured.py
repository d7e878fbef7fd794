"""What a person configured: shown with where it comes from, and in force for each command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from engine.run import engine
from engine.run import same as again
from engine.run.orders import NewRun, Order, Resume
from tests.tui.cli.commands import as_json, run_cai
from tests.tui.cli_fakes import RUN
from tests.tui.fakes import noting
from tui.cli import entry
from tui.config.settings import Config
from tui.live.opener import opener


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configuration of its own, not there yet, and nothing in the environment."""
    for name in ("CAI_STORE", "CAI_MODEL", "CAI_THEME", "CAI_PRICE_PER_GPU_HOUR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CAI_CONFIG", str(tmp_path / "config.toml"))
    return tmp_path / "config.toml"


def test_config_shows_what_is_in_force_and_from_where(
    capsys: pytest.CaptureFixture[str], settings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, out, err = run_cai(capsys, "config")
    assert (code, err) == (0, "")
    assert f"{settings}  (not there: the defaults hold)" in out
    settings.write_text("theme = 'cai-light'\nprice_per_gpu_hour = 2\n[keymap]\n'run.pause' = 'f12'\n")
    monkeypatch.setenv("CAI_MODEL", "some/model")
    code, found = as_json(capsys, "config", "--store", "/given")
    assert code == 0 and found["path"] == str(settings) and found["problems"] == []
    told = {name: (item["value"], item["from"]) for name, item in found["settings"].items()}
    assert told["theme"] == ("cai-light", "file") and told["price_per_gpu_hour"] == (2.0, "file")
    assert told["model"] == ("some/model", "environment") and told["store"] == ("/given", "command line")
    assert told["bell"] == (True, "default") and found["keymap"] == {"run.pause": "f12"}


def test_config_lists_every_mistake_and_says_so_by_its_exit_code(
    capsys: pytest.CaptureFixture[str], settings: Path
) -> None:
    settings.write_text("theme = 'cai-drak'\nbel = 1\n[keymap]\n'run.puase' = 'x'\n")
    code, found = as_json(capsys, "config")
    assert code == found["exit_code"] == 1
    for told, nearest in zip(found["problems"], ("'bell'", "'cai-dark'", "'run.pause'"), strict=True):
        assert f"the nearest is {nearest}" in told
    code, out, err = run_cai(capsys, "config")
    assert code == 1 and err.count("config: ") == 3 and "config: " not in out


def test_a_broken_configuration_is_said_once_and_stops_nothing(
    capsys: pytest.CaptureFixture[str], settings: Path, store: Path
) -> None:
    settings.write_text("theme = \x1b")
    code, out, err = run_cai(capsys, "status", "--store", store, "--json")
    assert code == 0 and json.loads(out)["run"] == RUN
    assert err.count("is not TOML") == 1 and "\x1b" not in err


def test_the_store_is_that_of_the_command_line_then_the_environment_then_the_file(
    capsys: pytest.CaptureFixture[str], settings: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.write_text(f"store = '{store}'\n")
    assert as_json(capsys, "status")[1]["run"] == RUN
    monkeypatch.setenv("CAI_STORE", str(store.with_name("other.duckdb")))
    assert as_json(capsys, "status")[0] == 1
    assert as_json(capsys, "status", "--store", store)[1]["run"] == RUN


@pytest.mark.parametrize(
    ("arguments", "environment", "model"),
    [
        ([], "", "from/file"),
        ([], "from/environment", "from/environment"),
        (["--model", "given"], "from/environment", "given"),
    ],
)
def test_the_model_of_a_new_run(
    capsys: pytest.CaptureFixture[str],
    settings: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    environment: str,
    model: str,
) -> None:
    settings.write_text("model = 'from/file'\n")
    monkeypatch.setenv("CAI_MODEL", environment)
    found = commands_options(monkeypatch, "run", "--headless", "--store", settings.with_name("a.duckdb"), *arguments)
    assert found.model == model


def test_a_run_that_is_resumed_keeps_its_model(
    settings: Path, store: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings.write_text("model = 'from/file'\n")
    found = commands_options(monkeypatch, "resume", "--headless", "--store", store)
    assert found.model is None and found.resume == ""


def commands_options(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> Order:
    """The options that a headless run would be opened with."""
    from tui.cli import run
    from tui.printed import headless

    opened: list[Order] = []

    def run_headless(_open: Any, options: Order, _terminal: Any, **_: Any) -> tuple[int, dict[str, Any]]:
        opened.append(options)
        return 0, {}

    monkeypatch.setattr(headless, "run_headless", run_headless)
    monkeypatch.setattr(run, "with_log", lambda *_: None)
    assert entry.main([str(argument) for argument in arguments]) == 0
    return opened[0]


def test_what_is_configured_reaches_the_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Order] = []
    monkeypatch.setattr(engine, "open_engine", noting(asked))
    monkeypatch.setattr(again, "same_run", lambda _: None)
    config = Config(tmp_path / "c", model="from/file", price_per_gpu_hour=2.5, reviewer="chain")
    open_engine = opener(config, present=True)
    for options in (NewRun(tmp_path), NewRun(tmp_path, model="own"), Resume(tmp_path, "r")):
        open_engine(options, lambda _: None)
    assert [options.model for options in asked] == ["from/file", "own", None]
    assert {(o.price_per_gpu_hour, o.review.reviewer, o.review.present) for o in asked} == {(2.5, "chain", True)}


@pytest.mark.parametrize("arguments", [["--no-tmux", "runs"], ["runs", "--no-tmux"]])
def test_no_tmux_may_stand_anywhere(capsys: pytest.CaptureFixture[str], store: Path, arguments: list[str]) -> None:
    assert as_json(capsys, *arguments, "--store", store)[0] == 0
