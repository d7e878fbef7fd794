"""A program in a pseudo-terminal of its own, with an emulator that says what a person would see."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import termios
import time
from collections.abc import Sequence
from pathlib import Path

import pyte


class Terminal:
    """`words` started in a terminal of the given size; text arrives in `screen` while one waits for something."""

    def __init__(self, words: Sequence[str | Path], columns: int = 120, rows: int = 36) -> None:
        self.screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self.screen)
        self.began = time.monotonic()
        self.pid, self._descriptor = pty.fork()
        if self.pid == 0:
            os.environ.update(TERM="xterm-256color", COLUMNS=str(columns), LINES=str(rows))
            os.execv(words[0], [str(word) for word in words])
        fcntl.ioctl(self._descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.status: int | None = None

    @property
    def text(self) -> str:
        """The screen as it is now."""
        return "\n".join(self.screen.display)

    def press(self, *keys: str) -> None:
        """Send keys, each as a terminal would."""
        for key in keys:
            os.write(self._descriptor, key.encode())
            self._read(0.1)

    def wait_for(self, *words: str, timeout: float) -> float:
        """Wait until every word is on the screen. Returns seconds since the start; AssertionError shows the screen."""
        until = time.monotonic() + timeout
        while not all(word in self.text for word in words):
            assert time.monotonic() < until, f"no {words} within {timeout} s; the screen was:\n{self.text}"
            if not self._read(0.2):
                assert all(word in self.text for word in words), f"it ended before {words}; the screen:\n{self.text}"
        return time.monotonic() - self.began

    def wait_for_match(self, pattern: str, timeout: float) -> None:
        """Wait until a regular expression is found on the screen: what is drawn may come in several pieces."""
        until = time.monotonic() + timeout
        while not re.search(pattern, self.text):
            assert time.monotonic() < until, f"no {pattern} within {timeout} s; the screen was:\n{self.text}"
            self._read(0.2)

    def wait_until_gone(self, words: str, timeout: float) -> None:
        """Wait until the words are not on the screen any more."""
        until = time.monotonic() + timeout
        while words in self.text:
            assert time.monotonic() < until, f"{words!r} still there after {timeout} s:\n{self.text}"
            self._read(0.2)

    def wait_for_end(self, timeout: float) -> int:
        """Read on until the program ends. Returns its exit code; kills it and fails where it does not."""
        until = time.monotonic() + timeout
        while self._read(0.2):
            if time.monotonic() > until:
                os.kill(self.pid, signal.SIGKILL)
                os.waitpid(self.pid, 0)
                raise AssertionError(f"still there after {timeout} s; the screen was:\n{self.text}")
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def look(self, seconds: float) -> None:
        """Take what it draws within so long."""
        if not self._read(seconds):
            time.sleep(seconds)  # it has closed its terminal

    def close(self) -> None:
        """Hang up."""
        os.close(self._descriptor)

    def _read(self, seconds: float) -> bool:
        """Feed the emulator for so long at most; False where the program has closed its terminal."""
        ready, _, _ = select.select([self._descriptor], [], [], seconds)
        if not ready:
            return True
        try:
            data = os.read(self._descriptor, 1 << 16)
        except OSError:
            return False
        self._stream.feed(data)
        return bool(data)
