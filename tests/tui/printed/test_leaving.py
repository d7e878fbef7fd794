"""What stands on the terminal after the screen closed, and what the store says of a run that was left at once."""

import shlex
import time
from pathlib import Path

import pytest

from engine.core.events import RunFinished, RunStarted
from store.db import Store
from tests.tui.cli_fakes import RUN
from tests.tui.host.test_hangup import on_a_screen, stored
from tui.config.settings import Config
from tui.live.state import RunState
from tui.printed.leaving import again, farewell

pytestmark = pytest.mark.integration


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CAI_CONFIG", str(tmp_path / "config.toml"))
    return tmp_path / "cai.duckdb"


def left(state: str, accepted: int = 30, target: int = 100) -> RunState:
    found = RunState()
    found.apply(RunStarted(RUN, "s", "m", 1, target, False))
    found.apply(RunFinished(RUN, state, "", accepted, 9.0))
    return found


def test_a_stopped_run_is_told_with_what_goes_on_with_it() -> None:
    assert (
        farewell(left("stopped"), "cai")
        == f"run {RUN} stopped, 30 by form rules · quality not audited · not read by a person · 100 wanted; go on with: cai"
    )
    assert (
        farewell(left("failed", 3), "cai")
        == f"run {RUN} failed, 3 by form rules · quality not audited · not read by a person · 100 wanted; go on with: cai"
    )
    assert "30 by form rules · quality not audited · not read by a person · 12 wanted" in farewell(
        left("stopped", 30, 12), "cai"
    )
    going = RunState()
    going.apply(RunStarted(RUN, "s", "m", 1, 40, False))
    assert "left at once, nothing accepted · 40 wanted" in farewell(going, "cai", at_once=True)


def test_nothing_is_said_where_nothing_is_left_to_do() -> None:
    assert [farewell(left(state), "cai") for state in ("done", "gate_failed")] == ["", ""]
    assert farewell(RunState(), "cai") == ""


def test_the_command_names_the_store_that_was_named() -> None:
    store = Path("/a b/x.duckdb")
    assert again(Config(Path()), store) == "cai"
    assert again(Config(Path(), origins={"store": "command line"}), store) == f"cai --store {shlex.quote(str(store))}"


def test_leaving_says_how_to_go_on_and_leaves_no_noise_in_the_log(path: Path) -> None:
    with on_a_screen("goes on", "run", "--store", path) as screen:
        screen.wait_for("▶ running")
        time.sleep(1)
        screen.type("q")
        screen.wait_for("leave now")
        screen.type("y")
        screen.wait_for(f"run {RUN} stopped, ")
        screen.wait_for(f"go on with: cai --store {path}")
        assert screen.wait_for_end() == 130
    assert stored(path)[0] == "stopped"
    log = path.with_suffix(".log").read_text()
    assert "nanobind" not in log and log.count("\n") == 1, log  # the line that begins the process's part


def test_a_run_that_was_left_at_once_is_told_as_such(path: Path) -> None:
    with on_a_screen("goes on", "run", "--store", path) as screen:
        screen.wait_for("▶ running")
        time.sleep(1)
        screen.type("q")
        screen.wait_for("leave now")
        screen.type("x")
        screen.wait_for(f"run {RUN} left at once")
        began = time.monotonic()
        assert screen.wait_for_end() == 130 and time.monotonic() - began < 3
    with Store.open(path, read_only=True) as opened, opened.reader() as reader:
        run = reader.run(RUN)
    assert run["state"] == "stopped" and run["reason"].startswith("left at once") and run["elapsed_s"] > 0.5
    assert "nanobind" not in path.with_suffix(".log").read_text()
