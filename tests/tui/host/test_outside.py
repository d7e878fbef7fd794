"""A person who is away is told the outcome and the run's id, by a command or an address, and nothing else."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from engine.core.events import GateDecided, QuestionAsked, RunFinished
from tests.tui.fakes import RUN, FakeEngine, fill, steady_run
from tests.tui.screen import control_center, settle
from tui.app import serving
from tui.config.settings import Config, load
from tui.host.outside import NotTold, Outside
from tui.words.wording import outcome_words


@pytest.fixture
def server() -> Iterator[tuple[str, list[tuple[str, str, str]]]]:
    """An address, and what was posted there: path, kind, body."""
    got: list[tuple[str, str, str]] = []

    class Post(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            got.append((self.path, self.headers["Content-Type"], body))
            self.send_response(403 if self.path == "/closed" else 200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    serving_at = HTTPServer(("127.0.0.1", 0), Post)
    threading.Thread(target=serving_at.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{serving_at.server_port}", got
    serving_at.shutdown()
    serving_at.server_close()


def address_file(tmp_path: Path, address: str, mode: int = 0o600) -> str:
    path = tmp_path / "address"
    path.write_text(f"{address}\n")
    path.chmod(mode)
    return str(path)


def test_a_command_gets_outcome_and_run_and_no_shell(tmp_path: Path) -> None:
    out = tmp_path / "out"
    Outside(f"sh -c 'echo \"$0|$1|$CAI_RUN|$CAI_OUTCOME\" > {out}' {{run}} '{{outcome}}; rm -rf'").tell(RUN, "run done")
    assert out.read_text() == f"{RUN}|run done; rm -rf|{RUN}|run done\n"


def test_an_address_gets_text_or_an_object(tmp_path: Path, server: tuple[str, list[Any]]) -> None:
    address, got = server
    Outside("", address_file(tmp_path, f"{address}/topic")).tell(RUN, "gate failed")
    Outside("", address_file(tmp_path, f"{address}/hooks/x")).tell(RUN, "run done")
    assert got[0] == ("/topic", "text/plain; charset=utf-8", f"cai run {RUN}: gate failed")
    assert got[1][:2] == ("/hooks/x", "application/json") and json.loads(got[1][2]) == {
        "text": f"cai run {RUN}: run done"
    }


@pytest.mark.parametrize(
    ("path", "mode", "words"),
    [
        ("/closed?token=hush", 0o600, "its server answered"),
        ("/topic/hush", 0o644, "can be read by others"),
        ("hush", 0o600, "holds no address"),
    ],
)
def test_what_does_not_work_is_said_without_the_address(
    tmp_path: Path, server: tuple[str, list[Any]], path: str, mode: int, words: str
) -> None:
    address = f"{server[0]}{path}" if path.startswith("/") else path
    if "closed" in path:
        address = f"{server[0]}/closed"
    with pytest.raises(NotTold) as raised:
        Outside("false", address_file(tmp_path, address, mode)).tell(RUN, "run done")
    told = f"{raised.value.title} {raised.value.hint}"
    assert words in told and "tell_command: the command ended with code 1" in told
    assert "hush" not in told and "127.0.0.1" not in told


def test_the_settings_are_read_and_wrong_ones_are_not_repeated(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text('tell_command = "notify-send {run}"\ntell_address_file = ["https://hush"]\n')
    config = load(environ={"CAI_CONFIG": str(tmp_path / "config.toml")})
    assert Outside.of(config) == Outside("notify-send {run}", "") and Outside.of(config).wanted
    assert "tell_address_file is wrong" in config.problems[0] and "hush" not in config.problems[0]
    assert not Outside.of(Config(Path())).wanted


def test_outcomes_in_words() -> None:
    assert outcome_words("done") == "run done" and outcome_words("gate_failed") == "run gate failed"
    assert (
        outcome_words("failed", ("sft",)) == "training failed"
        and outcome_words("locked", ("dpo",)) == "training locked"
    )


@pytest.mark.parametrize(("away", "told"), [(True, ["run done"]), (False, [])])
async def test_a_run_that_ends_rings_once_for_who_is_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, away: bool, told: list[str]
) -> None:
    monkeypatch.setattr(serving, "AWAY_S", 0.0 if away else 1e6)
    said: list[str] = []
    monkeypatch.setattr(Outside, "tell", lambda _, run_id, outcome: said.append(outcome))
    fill(tmp_path / "s.duckdb", state="running")

    def script(engine: FakeEngine) -> Any:
        yield from steady_run(engine)
        yield RunFinished(RUN, "done", "every gate passed", 40, 12.0)

    async with control_center(tmp_path / "s.duckdb", script) as (app, pilot):
        app.config = replace(app.config, tell_command="true")
        rung: list[int] = []
        monkeypatch.setattr(app, "bell", lambda: rung.append(1))
        app.session.engine.released.set()  # type: ignore[union-attr]
        await settle(pilot, lambda: app.state.state == "done")
        await settle(pilot)
        assert said == told and len(rung) == len(told)


async def test_a_question_is_told_outside_and_rings_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "AWAY_S", 0.0)
    said: list[str] = []
    monkeypatch.setattr(Outside, "tell", lambda _, run_id, outcome: said.append(outcome))
    fill(tmp_path / "s.duckdb", state="running")

    def script(engine: FakeEngine) -> Any:
        yield from steady_run(engine)
        yield QuestionAsked(RUN, "q1", "pilot", "Scale to the target?")

    async with control_center(tmp_path / "s.duckdb", script) as (app, pilot):
        app.config = replace(app.config, tell_command="true")
        rung: list[int] = []
        monkeypatch.setattr(app, "bell", lambda: rung.append(1))
        app.session.engine.released.set()  # type: ignore[union-attr]
        await settle(pilot, lambda: app.dock.current is not None)
        await settle(pilot, lambda: said == ["run waiting for you"])
        assert len(rung) == 1


async def test_a_gate_behind_which_the_run_goes_on_rings_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "AWAY_S", 0.0)
    monkeypatch.setattr(serving, "GOES_ON_S", 0.2)
    said: list[str] = []
    monkeypatch.setattr(Outside, "tell", lambda _, run_id, outcome: said.append(outcome))
    fill(tmp_path / "s.duckdb", state="running")
    last = threading.Event()

    def script(engine: FakeEngine) -> Any:
        yield from steady_run(engine)
        yield GateDecided(RUN, "pilot", True, ())
        last.wait(20)
        yield GateDecided(RUN, "final", True, ())
        yield RunFinished(RUN, "done", "every gate passed", 40, 12.0)

    async with control_center(tmp_path / "s.duckdb", script) as (app, pilot):
        app.config = replace(app.config, tell_command="true")
        app.session.engine.released.set()  # type: ignore[union-attr]
        await settle(pilot, lambda: said == ["gate pilot passed"])
        last.set()
        await settle(pilot, lambda: app.state.state == "done")
        await pilot.pause(0.4)
        assert said == ["gate pilot passed", "run done"]
