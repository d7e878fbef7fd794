"""Who may write where: the program keeps the terminal, everything that a library prints goes to the run's log.

A native library writes to the descriptors 1 and 2, past `sys.stdout`, from any thread and any child. So these two
become the log before a model library is imported, and the program writes to copies of what they were.
"""

from __future__ import annotations

import contextlib
import errno
import faulthandler
import os
import signal
import sys
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TextIO

# Read by libraries when they are imported. PASSIVE: threads that wait for work do not spin, so that the screen gets a
# core; the tokenizers' own threads would warn at every child process.
QUIET_LIBRARIES = {
    "OMP_WAIT_POLICY": "PASSIVE",
    "TOKENIZERS_PARALLELISM": "false",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TQDM_DISABLE": "1",
    "TRANSFORMERS_VERBOSITY": "error",
}
_LOST_FOCUS = b"\x1b[O"  # what a terminal sends when another window gets the keys
NO_TMUX = "--no-tmux"  # the option under which tmux is not offered
DUMB = ("dumb", "unknown")  # terminals, by $TERM, that cannot move their cursor
_LOST = (errno.EPIPE, errno.EIO, errno.EBADF, errno.ENXIO)


class Outlet:
    """A text stream that goes on without a reader: a closed pipe or a lost terminal ends its output, not the program.

    `lost` tells whether that happened.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.lost = False

    @property
    def encoding(self) -> str:
        return self._stream.encoding or "utf-8"

    def fileno(self) -> int:
        return self._stream.fileno()

    def isatty(self) -> bool:
        return not self.lost and self._stream.isatty()

    def write(self, text: str) -> int:
        if not self.lost:
            try:
                self._stream.write(text)
            except (OSError, ValueError) as error:
                self._lose(error)
        return len(text)

    def flush(self) -> None:
        if not self.lost:
            try:
                self._stream.flush()
            except (OSError, ValueError) as error:
                self._lose(error)

    def say(self, line: str) -> None:
        """Write a line, at once."""
        self.write(f"{line}\n")
        self.flush()

    def _lose(self, error: OSError | ValueError) -> None:
        if isinstance(error, OSError) and error.errno not in _LOST:
            raise error
        self.give_up()

    def give_up(self) -> None:
        """Write nothing more, wherever it led."""
        self.lost = True
        # What is still buffered would be written, and fail, when the interpreter ends.
        with contextlib.suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)


@dataclass
class Terminal:
    """Where the program writes. `log` is the file that took the place of descriptors 1 and 2, if one did.

    `screen` is what the control center draws on then.
    """

    stdout: Outlet
    stderr: Outlet
    log: Path | None = None
    screen: Outlet | None = None
    _held_open: int = -1

    @classmethod
    def standard(cls) -> Terminal:
        """The process's own streams, as they are."""
        return cls(Outlet(_usable(sys.stdout)), Outlet(_usable(sys.stderr)))

    @property
    def interactive(self) -> bool:
        """Whether a person can see a screen and type: the control center needs both."""
        return not self.no_screen

    @property
    def no_screen(self) -> str:
        """Why the control center cannot open here, as the beginning of an error; nothing where it can."""
        if not self.stdout.isatty() or sys.__stdin__ is None or not sys.__stdin__.isatty():
            return "the control center needs a terminal"
        kind = os.environ.get("TERM", "")
        return f"the control center cannot draw on this terminal (TERM={kind})" if kind in DUMB else ""

    def take_over(self, log: Path, what: str = "cai") -> None:
        """Send the descriptors 1 and 2 of this process, its threads and its children to `log`; keep the real streams.

        Python's own `sys.stdout` and `sys.stderr` go to the log too; `sys.__stdout__` and `sys.__stderr__` become the
        terminal, because that is where Textual's driver draws and where it asks for the size (textual 8.2.8,
        drivers/linux_driver.py); losing it stops the drawing, not the thread that draws. `what` is named in the line
        that begins this process's part of the log. Raises OSError when the log cannot be opened; nothing is changed
        then.
        """
        log.parent.mkdir(parents=True, exist_ok=True)
        sink = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.write(sink, part_head(log, f"{what}, process {os.getpid()}").encode())
        real_out, real_err = _copy_of(sys.stdout, 1), _copy_of(sys.stderr, 2)
        os.dup2(sink, 1)
        os.dup2(sink, 2)
        if sink > 2:
            os.close(sink)
        sys.stdout, sys.stderr = _writer(1), _writer(2)
        self.stdout, self.stderr, self.log = Outlet(real_out), Outlet(real_err), log
        self.screen = self.stdout if real_out.isatty() else self.stderr
        sys.__stdout__ = sys.__stderr__ = self.screen  # type: ignore[misc,assignment]
        os.environ.update({name: os.environ.get(name, value) for name, value in QUIET_LIBRARIES.items()})
        faulthandler.enable(sys.stderr)  # a crash in native code leaves its stacks in the log

    def give_up(self) -> None:
        """The terminal is gone: nothing more is written to it, and nothing waits for its keys.

        Reading a terminal that hung up returns at once, for ever. So descriptor 0 becomes a pipe, silent but for one
        report that means nothing.
        """
        for outlet in (self.stdout, self.stderr):
            outlet.give_up()
        silent, self._held_open = os.pipe()
        os.write(self._held_open, _LOST_FOCUS)  # whoever was about to read gets something to return with
        os.dup2(silent, 0)
        os.close(silent)


def log_path(store: Path) -> Path:
    """The log beside a store: cai.duckdb -> cai.log."""
    return store.with_name(f"{store.name}.log") if store.suffix in ("", ".log") else store.with_suffix(".log")


def part_head(log: Path, what: str) -> str:
    """The line that begins a part of the log, on a line of its own: whoever wrote last may have ended within one."""
    head = f"--- {datetime.now().astimezone():%Y-%m-%d %H:%M:%S %z} {what}\n"
    with contextlib.suppress(OSError), log.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        if file.read(1) != b"\n":
            return f"\n{head}"
    return head


def _copy_of(stream: TextIO | None, descriptor: int) -> TextIO:
    """A stream on a copy of the descriptor, which children do not inherit."""
    if stream is not None:
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    encoding = getattr(stream, "encoding", None) or "utf-8"
    try:
        copy = os.dup(descriptor)
    except OSError:  # the process was started without it
        copy = os.open(os.devnull, os.O_WRONLY)
    if copy <= 2:
        higher = os.dup(copy)  # the lower one is replaced by the log
        os.set_inheritable(higher, False)
        copy = higher
    return os.fdopen(copy, "w", encoding=encoding, errors="replace")


def _writer(descriptor: int) -> TextIO:
    """A text stream on descriptor 1 or 2, by lines, which leaves the descriptor open when it is dropped."""
    return open(descriptor, "w", encoding="utf-8", errors="backslashreplace", buffering=1, closefd=False)


def _usable(stream: TextIO | None) -> TextIO:
    if stream is None:
        return Path(os.devnull).open("w", encoding="utf-8")
    with contextlib.suppress(AttributeError, OSError, ValueError):
        stream.reconfigure(errors="replace")  # type: ignore[attr-defined]
    return stream


def only_continue_on_a_terminal() -> None:
    """Keep the driver from starting again when the terminal hangs up; call it once the driver is there.

    The kernel sends SIGCONT behind SIGHUP. Textual takes it for the end of a Ctrl+Z and starts threads anew (8.2.8,
    drivers/linux_driver.py), of which it then forgets one, and the process never ends.
    """
    before = signal.getsignal(signal.SIGCONT)
    if not callable(before):
        return

    def go_on(number: int, frame: Any) -> None:
        if sys.__stdout__ is not None and sys.__stdout__.isatty():
            before(number, frame)

    signal.signal(signal.SIGCONT, go_on)


FIRST_READ = 256 * 1024  # bytes; what was printed before that is in the file
READ_AT_MOST = 1024 * 1024


class Tail:
    """Reads what was appended since the last call; a file that is not there yet is empty."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._at: int | None = None
        self._rest = b""

    def new_lines(self) -> list[str]:
        if not self.path.exists():
            return []
        size = self.path.stat().st_size
        if self._at is None or size < self._at:  # first look, or the file was begun anew
            self._at, self._rest = max(0, size - FIRST_READ), b""
        with self.path.open("rb") as file:
            file.seek(self._at)
            data = file.read(READ_AT_MOST)
        self._at += len(data)
        *lines, self._rest = (self._rest + data).split(b"\n")
        return [line.decode("utf-8", "replace") for line in lines]
