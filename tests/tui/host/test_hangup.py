"""The connection drops: the run goes on without a screen, nothing is lost, and the next cai says where it is.

python -m tests.tui.host.test_hangup PART ARGUMENT...      # cai ARGUMENT... with an engine that plays PART
"""

from __future__ import annotations

import contextlib
import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest

from engine.core.events import QuestionAnswered, QuestionAsked, RunPaused, RunResumed
from store.db import Store
from tests.tui import cli_fakes
from tests.tui.cli_fakes import ROOT, RUN, PlayingEngine
from tui.host import busy
from tui.host.hangup import Watch
from tui.host.left import left_run, marker_path
from tui.host.terminal import Terminal

pytestmark = pytest.mark.integration

STEP_S = 0.1
HOSTILE = "\x1b]52;c;aGFjaw==\x07[red]naïve[/] \u202eabc"


def commits(playing: PlayingEngine, steps: int) -> tuple[str, str]:
    """One commit a step, as long as nobody stops it; a child that dies of a hang-up stops it as well."""
    child = subprocess.Popen(["sleep", "60"])
    try:
        for step in range(steps):
            now = datetime.now(UTC)
            row = {
                "run_id": RUN,
                "phase": "responses",
                "name": "step",
                "value": float(step),
                "session_id": "s",
                "at": now,
            }
            playing.store.append({"metrics": [row]})
            if child.poll() is not None:
                return "failed", "the child is dead"
            if playing.stopped.wait(STEP_S):
                return "stopped", "the run was stopped"
        return "done", ""
    finally:
        child.kill()
        child.wait()


def asks(playing: PlayingEngine) -> tuple[str, str]:
    """A question that comes a while after the connection is gone."""
    playing.stopped.wait(3)
    playing._emit(QuestionAsked(RUN, "q1", "gate", "Go on?"))
    return ("stopped", "asked to") if playing.stopped.wait(20) else ("failed", "nobody stopped it")


cli_fakes.PARTS |= {"commits": lambda playing: commits(playing, 25), "goes on": lambda playing: commits(playing, 600)}


def is_answered(playing: PlayingEngine) -> tuple[str, str]:
    """A question that somebody answers who follows."""
    playing.stopped.wait(3)
    playing._emit(QuestionAsked(RUN, "q1", "gate", "Go on?"))
    return ("done", "") if playing.answered.wait(40) else ("failed", "nobody answered")


cli_fakes.PARTS |= {"asks": asks, "is answered": is_answered}


class Screen:
    """cai in a pseudo-terminal of its own, as the leader of its session, like a command that SSH started."""

    def __init__(self, part: str, *arguments: object, environ: dict[str, str] | None = None) -> None:
        self.pid, self.master = pty.fork()
        if self.pid == 0:  # pragma: no cover
            os.chdir(ROOT)
            kept = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES", "NO_COLOR", "SSH_CONNECTION")}
            argv = [sys.executable, "-m", "tests.tui.host.test_hangup", part, *map(str, arguments)]
            os.execve(argv[0], argv, {**kept, "TERM": "xterm-256color", **(environ or {})})
        self.seen = b""

    def wait_for(self, words: str, timeout_s: float = 20) -> None:
        until = time.monotonic() + timeout_s
        while words.encode() not in self.seen:
            assert time.monotonic() < until, f"no {words!r} in {self.seen[-3000:].decode(errors='replace')}"
            if select.select([self.master], [], [], 0.1)[0]:
                with contextlib.suppress(OSError):
                    self.seen += os.read(self.master, 65536)

    def type(self, keys: str) -> None:
        os.write(self.master, keys.encode())

    def hang_up(self) -> None:
        os.close(self.master)
        self.master = -1

    def wait_for_end(self, timeout_s: float = 20) -> int:
        until = time.monotonic() + timeout_s
        while time.monotonic() < until:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.pid = 0
                return os.waitstatus_to_exitcode(status)
            if self.master >= 0 and select.select([self.master], [], [], 0.1)[0]:
                with contextlib.suppress(OSError):
                    self.seen += os.read(self.master, 65536)
            time.sleep(0.02)
        raise AssertionError(
            f"process {self.pid} is still there; it showed {self.seen[-2000:].decode(errors='replace')}"
        )

    def close(self) -> None:
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        if self.master >= 0:
            os.close(self.master)


@contextmanager
def on_a_screen(part: str, *arguments: object, environ: dict[str, str] | None = None) -> Iterator[Screen]:
    screen = Screen(part, *arguments, environ=environ)
    try:
        yield screen
    finally:
        screen.close()


def wait_until(true: Callable[[], object], timeout_s: float = 20) -> None:
    until = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < until
        time.sleep(0.05)


def stored(store: Path) -> tuple[str, int]:
    """State of the run, and how many steps were committed."""
    with Store.open(store, read_only=True) as opened, opened.reader() as reader:
        return reader.run(RUN)["state"], reader.query("SELECT count(*) AS n FROM metrics WHERE name = 'step'")[0]["n"]


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CAI_CONFIG", str(tmp_path / "config.toml"))
    return tmp_path / "cai.duckdb"


def leave_to_itself(screen: Screen, path: Path) -> None:
    """Hang up on a run, which then goes on without a screen."""
    screen.wait_for("▶ running")
    screen.hang_up()
    wait_until(lambda: left_run(path) is not None)


def test_the_run_goes_on_to_its_end_without_a_terminal(path: Path) -> None:
    with on_a_screen("commits", "run", "--store", path) as screen:
        leave_to_itself(screen, path)
        left = left_run(path)
        assert left is not None and (left.pid, left.run_id) == (screen.pid, RUN)
        before = psutil.Process(screen.pid).cpu_times()
        time.sleep(1)
        after = psutil.Process(screen.pid).cpu_times()
        assert after.user + after.system - before.user - before.system < 0.6  # nothing spins on the dead terminal
        assert screen.wait_for_end() == 0
    assert stored(path) == ("done", 25)
    assert not marker_path(path).exists()
    log = path.with_suffix(".log").read_text()
    assert "The connection dropped. The run goes on in process" in log
    assert "Traceback" not in log


def test_a_signal_stops_what_was_left_at_its_next_commit(path: Path) -> None:
    with on_a_screen("goes on", "run", "--store", path) as screen:
        leave_to_itself(screen, path)
        os.kill(screen.pid, signal.SIGTERM)
        assert screen.wait_for_end() == 130
    state, steps = stored(path)
    assert state == "stopped" and steps > 0
    assert "A signal asked for it: stopping at the next commit" in path.with_suffix(".log").read_text()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_from_elsewhere_stops_what_is_on_the_screen(path: Path, number: signal.Signals) -> None:
    with on_a_screen("goes on", "run", "--store", path) as screen:
        screen.wait_for("▶ running")
        os.kill(screen.pid, number)
        assert screen.wait_for_end() == 130
    assert stored(path)[1] > 0


def test_a_question_that_nobody_can_answer_stops_it(path: Path) -> None:
    with on_a_screen("asks", "run", "--store", path) as screen:
        screen.wait_for("▶ running")
        screen.hang_up()
        assert screen.wait_for_end() == 130
    assert stored(path)[0] == "stopped"
    assert "waits for a decision and nobody is here" in path.with_suffix(".log").read_text()


def test_a_pager_in_front_of_the_screen_does_not_hold_the_run_back(path: Path, tmp_path: Path) -> None:
    pager = tmp_path / "pager"
    pager.write_text("#!/bin/sh\necho PAGES\nexec sleep 60\n")
    pager.chmod(0o755)
    with on_a_screen("commits", "run", "--store", path, environ={"PAGER": str(pager), "CAI_TEST_PAGES": "1"}) as screen:
        screen.wait_for("▶ running")
        screen.type(",")
        screen.wait_for("PAGES")
        screen.hang_up()
        assert screen.wait_for_end() == 0
    assert stored(path)[0] == "done"


def test_nothing_is_left_where_nothing_runs(path: Path) -> None:
    with on_a_screen("commits", "--store", path) as screen:
        screen.wait_for("No run yet")
        screen.hang_up()
        screen.wait_for_end()
    assert not marker_path(path).exists()


def test_the_next_cai_is_the_screen_of_the_run_that_goes_on(path: Path) -> None:
    with on_a_screen("goes on", "run", "--store", path) as left:
        leave_to_itself(left, path)
        with on_a_screen("commits", "--store", path) as other:
            other.wait_for(f"attached to process {left.pid}")
            other.wait_for("goes on since its connection dropped")
            other.type("p")
            other.wait_for("‖ paused")
            other.seen = b""
            other.type("p")
            other.wait_for("▶ running")
            other.type("q")
            assert other.wait_for_end() == 0
            assert f"left process {left.pid} alone: run {RUN} is running; come back with: cai".encode() in other.seen
        with on_a_screen("commits", "--store", path) as other:
            other.wait_for("▶ running")
            other.type("sy")
            assert left.wait_for_end() == 130
            other.wait_for("has let go of the store")
            other.type("\r")
            other.wait_for("unfinished")
            other.type("\x1b")
            time.sleep(0.5)
            other.type("q")
            other.wait_for_end()
    assert stored(path)[0] == "stopped"


def test_a_question_of_a_run_that_goes_on_is_answered_by_who_attached(path: Path) -> None:
    with on_a_screen("is answered", "run", "--store", path) as left:
        leave_to_itself(left, path)
        with on_a_screen("commits", "--store", path) as other:
            other.wait_for("Go on?", 30)
            other.type("g")
            time.sleep(1)
            other.type("y")
            assert left.wait_for_end() == 0
    assert stored(path)[0] == "done"


def test_a_command_that_writes_says_who_has_the_store_and_can_have_it_stop(path: Path) -> None:
    with on_a_screen("goes on", "run", "--store", path) as left:
        leave_to_itself(left, path)
        with on_a_screen("done", "resume", "--store", path) as other:
            other.wait_for("What now?")
            assert f"Run {RUN} goes on in process {left.pid}".encode() in other.seen
            assert b"Its screen comes back with: cai" in other.seen
            other.type("x\n")
            other.wait_for("Please answer")
            other.type("s\n")
            other.wait_for("The store is free")
            assert left.wait_for_end() == 130
            other.wait_for("! done")
            other.type("q")
            other.wait_for_end()
    assert stored(path)[0] == "done"


def test_watching_shows_the_log_and_begins_when_the_store_is_free(path: Path) -> None:
    with on_a_screen("goes on", "run", "--store", path) as left:
        leave_to_itself(left, path)
        with on_a_screen("done", "resume", "--store", path) as other:
            other.wait_for("What now?")
            other.type("w\n")
            other.wait_for("The connection dropped")
            os.kill(left.pid, signal.SIGTERM)
            assert left.wait_for_end() == 130
            other.wait_for("has let go of the store")
            other.wait_for("! done")
            other.type("q")
            assert other.wait_for_end() == 0


def test_leaving_the_watch_is_no_wrong_answer(path: Path) -> None:
    with on_a_screen("goes on", "run", "--store", path) as owner:
        owner.wait_for("▶ running")
        with on_a_screen("commits", "resume", "--store", path) as other:
            other.wait_for("What now?")
            other.type("w\n")
            other.wait_for("comes back to the question")
            other.type("\x03")
            other.wait_for("goes on.")
            other.type("q\n")
            assert other.wait_for_end() == 0
        assert b"Please answer" not in other.seen


def test_a_store_that_is_left_alone_stays_with_its_owner(path: Path) -> None:
    with on_a_screen("goes on", "run", "--store", path) as owner:
        owner.wait_for("▶ running")
        found = busy.holder(path)
        assert found is not None and (found.pid, found.left) == (owner.pid, False)
        with on_a_screen("commits", "resume", "--store", path) as other:
            other.wait_for("Another cai has this store open")
            other.wait_for("What now?")
            other.type("q\n")
            assert other.wait_for_end() == 0
        assert busy.holder(path) == found


def test_a_process_that_is_no_cai_is_not_offered_to_be_stopped(path: Path) -> None:
    assert busy.lock_owner(path) is None
    program = f"import duckdb, time; d = duckdb.connect({str(path)!r}); print('open', flush=True); time.sleep(60)"
    other = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    try:
        assert other.stdout is not None and other.stdout.readline() == b"open\n"
        assert busy.lock_owner(path) == other.pid
        assert busy.holder(path) is None
    finally:
        other.kill()
        other.communicate()
    assert busy.lock_owner(path) is None


def test_a_stale_or_broken_note_is_no_note(path: Path) -> None:
    assert left_run(path) is None
    for text in ("", "{", "[]", '{"pid": "x"}', json.dumps({"pid": 1, "run": "r", "since": "yesterday"})):
        marker_path(path).write_text(text)
        assert left_run(path) is None


def test_what_keeps_a_run_from_going_on_alone() -> None:
    watch = Watch(Terminal.standard())
    assert watch.why_stop(followed=False) == ""
    watch.note(QuestionAsked(RUN, "q", "gate", "Go on?"))
    assert "decision" in watch.why_stop(followed=False)
    assert watch.why_stop(followed=True) == ""
    watch.note(QuestionAnswered(RUN, "q", "approve"))
    assert watch.why_stop(followed=False) == ""
    watch.note(RunPaused(RUN))
    assert "paused" in watch.why_stop(followed=False)
    watch.note(RunResumed(RUN))
    watch.stop.set()
    assert "signal" in watch.why_stop(followed=True)


if __name__ == "__main__":
    from engine.run import same
    from tui.cli import entry

    cli_fakes.install(sys.argv[1])
    same.same_run = lambda options: None  # type: ignore[assignment]
    if os.environ.get("CAI_TEST_PAGES"):
        from tui.app.personal import Personal

        Personal.action_settings = lambda app: app.open_in_pager(HOSTILE)  # type: ignore[method-assign]
    sys.exit(entry.main(sys.argv[2:]))
