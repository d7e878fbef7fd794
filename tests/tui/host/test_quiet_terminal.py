"""Nothing but the screen writes to the terminal, whoever prints: threads, C code, children, warnings, log handlers.

python -m tests.tui.host.test_quiet_terminal ARGUMENT...      # cai ARGUMENT... with an engine whose libraries print
"""

from __future__ import annotations

import ctypes
import logging
import os
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import pytest

from tests.e2e.terminal import Terminal
from tests.tui import cli_fakes
from tests.tui.cli_fakes import ROOT, PlayingEngine

pytestmark = pytest.mark.integration

SOURCES = ("fd1", "fd2", "print", "stderr", "printf", "warning", "logger", "child", "grandchild", "thread", "escape")


def loud(playing: PlayingEngine) -> tuple[str, str]:
    """Every way in which a library prints, again and again, from several threads, until the run is stopped."""
    libc = ctypes.CDLL(None)
    logging.basicConfig(stream=sys.stderr, level=logging.INFO)

    def once() -> None:
        os.write(1, b"loud-fd1\n")
        os.write(2, b"loud-fd2\n")
        os.write(1, b"\x1b[2J\x1b]0;loud-escape\x07\n")
        print("loud-print")  # noqa: T201
        sys.stderr.write("loud-stderr\n")
        libc.printf(b"loud-printf\n")
        libc.fflush(None)
        warnings.warn("loud-warning", stacklevel=1)
        logging.getLogger("loud").error("loud-logger")
        subprocess.run(["sh", "-c", "echo loud-child; (sleep 0.1; echo loud-grandchild >&2) &"], check=True)

    def again() -> None:
        warnings.simplefilter("always")
        while not playing.stopped.wait(0.05):
            print("loud-thread")  # noqa: T201
            once()

    threads = [threading.Thread(target=again, daemon=True) for _ in range(3)]
    for thread in threads:
        thread.start()
    playing.stopped.wait(60)
    for thread in threads:
        thread.join()
    return "stopped", "the run was stopped"


class Recorded(Terminal):
    """Keeps every byte that the program sent."""

    def __init__(self, words: list[str | Path]) -> None:
        self.bytes = b""
        super().__init__(words)
        feed = self._stream.feed

        def keep(data: bytes) -> None:
            self.bytes += data
            feed(data)

        self._stream.feed = keep  # type: ignore[method-assign]


def test_what_libraries_print_reaches_the_log_and_never_the_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = tmp_path / "s.duckdb"
    monkeypatch.chdir(ROOT)
    terminal = Recorded([sys.executable, "-m", "tests.tui.host.test_quiet_terminal", "run", "--store", str(store)])
    terminal.wait_for("▶ running", timeout=30)
    for key in "2347":
        terminal.press(key)
    terminal.wait_for("Runs", timeout=10)
    assert b"loud-" not in terminal.bytes  # the log's own room is not open yet
    terminal.press("9")
    terminal.wait_for("loud-printf", "loud-child", timeout=20)  # the room shows them, as text
    assert "␛[2J" in terminal.text or terminal.wait_for("␛[2J", timeout=20)
    assert b"\x1b]0;loud" not in terminal.bytes  # and never as what they would do
    terminal.press("q")
    terminal.wait_for("Stop it and leave?", timeout=10)
    terminal.press("y")
    terminal.wait_for_end(timeout=30)
    log = store.with_suffix(".log").read_text(errors="replace")
    assert [source for source in SOURCES if f"loud-{source}" not in log] == []
    assert terminal.bytes.rstrip().endswith(b"\x1b[?25h") or b"\x1b[?1049l" in terminal.bytes[-400:]  # left as it was


if __name__ == "__main__":
    from engine.run import same
    from tui.cli import entry

    cli_fakes.PARTS["loud"] = loud
    cli_fakes.install("loud")
    same.same_run = lambda options: None  # no spec is read here
    sys.exit(entry.main(sys.argv[1:]))
