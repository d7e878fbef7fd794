"""What a library prints lands in the log, from any thread or child; the program keeps the real streams."""

from __future__ import annotations

import contextlib
import io
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyte
import pytest
from rich.style import Style

from store.db import Store
from tests.store import rows
from tests.tui.cli_fakes import ROOT, RUN, command
from tests.tui.host.test_hangup import on_a_screen
from tui.app import themes
from tui.host.terminal import Outlet, log_path, part_head

pytestmark = pytest.mark.integration


@pytest.mark.parametrize(
    ("store", "log"),
    [("cai.duckdb", "cai.log"), ("runs/a.b.duckdb", "runs/a.b.log"), ("plain", "plain.log"), ("x.log", "x.log.log")],
)
def test_the_log_lies_beside_the_store(store: str, log: str) -> None:
    assert log_path(Path(store)) == Path(log)


def test_a_part_of_the_log_begins_on_a_line_of_its_own(tmp_path: Path) -> None:
    log = tmp_path / "cai.log"
    assert part_head(log, "cai").startswith("--- ")
    for text, begins in (("", "--- "), ("whole\n", "--- "), ("50 %\rcut off", "\n--- ")):
        log.write_text(text)
        assert part_head(log, "cai").startswith(begins) and part_head(log, "cai").endswith(" cai\n")
    code = "from pathlib import Path; import sys; from tui.host.terminal import Terminal; Terminal.standard().take_over(Path(sys.argv[1]))"
    subprocess.run([sys.executable, "-c", code, str(log)], cwd=ROOT, check=True, timeout=60)
    assert "cut off\n--- " in log.read_text()


@pytest.mark.parametrize(("kind", "opens"), [("dumb", False), ("unknown", False), ("xterm-256color", True)])
def test_a_terminal_that_cannot_move_its_cursor_gets_no_screen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, opens: bool
) -> None:
    monkeypatch.setenv("CAI_CONFIG", str(tmp_path / "config.toml"))
    with on_a_screen("commits", "--store", tmp_path / "cai.duckdb", environ={"TERM": kind}) as screen:
        if opens:
            screen.wait_for("No run yet")
            return
        screen.wait_for("cai run --headless")
        assert screen.wait_for_end() == 2
        assert f"(TERM={kind})".encode() in screen.seen and b"\x1b[?1049h" not in screen.seen


def test_native_python_and_child_output_lands_in_the_log(tmp_path: Path) -> None:
    store = tmp_path / "cai.duckdb"
    ran = subprocess.run(
        command("noisy", "run", "--headless", "--store", store),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ran.returncode == 0, ran.stderr
    log = (tmp_path / "cai.log").read_text()
    for words in (
        "native words on descriptor one",
        "native words on descriptor two",
        "python words on stdout",
        "python words on stderr",
        "child words",
        "child complaint",
        "omp PASSIVE",
    ):
        assert words in log
        assert words not in ran.stdout + ran.stderr
    assert "cai run, process" in log
    assert "Contamination guard passed" in ran.stdout
    assert "Contamination" not in log
    assert ran.stderr == ""


APP = """
import os, subprocess, sys, threading, time
from pathlib import Path
from textual.app import App
from textual.widgets import Label
from tui.host.terminal import Terminal

class Screen(App):
    def compose(self):
        yield Label("the screen is up")
    def on_mount(self):
        self.seen = self.size
        threading.Thread(target=self.babble).start()
    def babble(self):
        time.sleep(0.3)
        os.write(1, b"NATIVE-ONE\\n"); os.write(2, b"NATIVE-TWO\\n")
        subprocess.run(["sh", "-c", "echo CHILD-ONE; echo CHILD-TWO >&2"])
        time.sleep(0.3)
        self.call_from_thread(self.exit)

terminal = Terminal.standard()
terminal.take_over(Path(sys.argv[1]), "test")
assert os.get_terminal_size(sys.__stdout__.fileno()).columns == 91
app = Screen()
app.run()
terminal.stdout.write(f"size {app.seen.width}\\n")
terminal.stdout.flush()
"""


def test_textual_draws_on_the_saved_terminal_while_libraries_print_to_the_log(tmp_path: Path) -> None:
    log = tmp_path / "run.log"
    code, shown = in_a_terminal([sys.executable, "-c", APP, str(log)], cwd=ROOT)
    assert code == 0, shown
    assert "the screen is up" in shown
    assert "size 91" in shown
    written = log.read_text()
    for words in ("NATIVE-ONE", "NATIVE-TWO", "CHILD-ONE", "CHILD-TWO"):
        assert words in written
        assert words not in shown


def in_a_terminal(
    argv: list[str], *, cwd: Path, keys: tuple[bytes, bytes] | None = None, patience_s: float = 1, timeout_s: float = 30
) -> tuple[int, str]:
    """Exit code and all output of a program in a pseudo-terminal of 91 columns and 30 lines.

    `keys` are (output to wait for, keys to press): pressed `patience_s` after that output, or after that time without.
    """
    child, master = pty.fork()
    if child == 0:  # pragma: no cover
        os.chdir(cwd)
        environment = {**os.environ, "TERM": "xterm-256color", "PYTHONPATH": str(cwd)}
        environment = {k: v for k, v in environment.items() if k not in ("COLUMNS", "LINES", "NO_COLOR")}
        subprocess.run(["stty", "rows", "30", "cols", "91"], check=False)
        os.execvpe(argv[0], argv, environment)  # readline sets COLUMNS behind Python's back
    shown = b""
    ends_at = time.monotonic() + timeout_s
    press_at = time.monotonic() + timeout_s / 2
    seen = False
    while time.monotonic() < ends_at:
        if keys is not None and not seen and keys[0] in shown:
            seen, press_at = True, time.monotonic() + patience_s
        if keys is not None and time.monotonic() >= press_at:
            os.write(master, keys[1])
            press_at = time.monotonic() + 2
        if not select.select([master], [], [], 0.1)[0]:
            continue
        try:
            part = os.read(master, 65536)
        except OSError:  # the child closed its end
            break
        if not part:
            break
        shown += part
    else:
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    os.close(master)
    return os.waitstatus_to_exitcode(status), shown.decode("utf-8", "replace")


def test_the_program_goes_on_when_nobody_reads_its_output() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as stream:
        outlet = Outlet(stream)
        outlet.write("x" * 100_000)
        outlet.flush()
        assert outlet.lost
        assert outlet.write("more") == 4
        outlet.flush()
        assert not outlet.isatty()


def test_a_full_disk_is_still_an_error() -> None:
    with Path("/dev/full").open("wb", buffering=0) as full, pytest.raises(OSError, match="No space"):
        Outlet(io.TextIOWrapper(Unbuffered(full), write_through=True)).write("words")


class Unbuffered(io.RawIOBase):
    """Fails at the write, and not a second time when it is dropped."""

    def __init__(self, file: io.RawIOBase) -> None:
        self._file = file

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        return self._file.write(data) or 0


# -- without colour ------------------------------------------------------------------------------------------------------


def colours_in(sent: bytes) -> list[str]:
    """The parameters of SGR sequences that choose a colour, the terminal's own (39, 49) not counted."""
    sequences = [found.decode() for found in re.findall(rb"\x1b\[([0-9;:]*)m", sent)]
    return [found for found in sequences if re.search(r"\b(3[0-8]|4[0-8]|9[0-7]|10[0-7])\b", found)]


@pytest.mark.parametrize("unwanted", [True, False])
def test_without_colour_the_cursor_is_still_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unwanted: bool
) -> None:
    """NO_COLOR sends no colour, not even greys; where it is empty it means nothing (no-color.org)."""
    monkeypatch.setenv("CAI_CONFIG", str(tmp_path / "config.toml"))
    path = tmp_path / "cai.duckdb"
    with Store.open(path) as opened:
        opened.append(rows.small_run(RUN, state="done"))
    with on_a_screen("commits", "--store", path, environ={"NO_COLOR": "1" if unwanted else ""}) as screen:
        screen.wait_for("! done")
        screen.type("2")
        screen.wait_for("all rules passed")
        screen.type(",")
        screen.wait_for("price_per_gpu_hour")
        with contextlib.suppress(AssertionError):
            screen.wait_for("never there", timeout_s=0.5)
        if unwanted:
            assert colours_in(screen.seen) == []
        else:
            assert colours_in(screen.seen)
            return
        shown = pyte.Screen(80, 24)
        pyte.ByteStream(shown).feed(screen.seen)
        chosen = [number for number, line in enumerate(shown.display) if "▸ theme" in line]
        assert len(chosen) == 1
        at = shown.display[chosen[0]].index("theme")
        assert shown.buffer[chosen[0]][at].reverse
        assert not shown.buffer[chosen[0] + 1][at].reverse


def test_what_stood_out_is_in_reverse_and_what_was_pale_is_dim() -> None:
    ground = themes.DARK.background or ""
    cursor = themes.colourless(Style(color="#e4e6eb", bgcolor="#1f3f5f", bold=True), ground)
    assert (cursor.color, cursor.bgcolor, cursor.reverse, cursor.bold) == (None, None, True, True)
    panel = themes.colourless(Style(color="#e4e6eb", bgcolor=themes.DARK.surface), ground)
    assert not panel.reverse and not panel.dim
    assert themes.colourless(Style(color="#4a4f58", bgcolor=ground), ground).dim
    assert themes.colourless(Style(color="#e4e6eb", bgcolor=ground, reverse=True), ground).reverse
