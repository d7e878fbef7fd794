"""`cai` in a process of its own, without a terminal or with its control center, and how it is ended."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.e2e.conftest import CAI
from tests.e2e.terminal import Terminal

LOOK_S = 0.01
PATIENCE_S = 600.0  # for what takes seconds, on a machine that has other work
QUIET_S = 4.0  # without a step: it waits for a person, or has nothing left to do


class Started:
    """One start of the installed program; what it prints without a terminal is appended to `log`."""

    def __init__(self, words: Sequence[str | Path], log: Path, *, screen: bool = False) -> None:
        self.began = time.monotonic()
        self.code: int | None = None
        self.terminal = Terminal([CAI, *words, "--no-tmux"]) if screen else None
        self._log, self._since = log, log.stat().st_size if log.exists() else 0
        self._process: subprocess.Popen[bytes] | None = None
        if self.terminal is None:
            # A group of its own, as a shell makes one: the system suspends no process whose group nobody looks after.
            with log.open("ab") as out:
                self._process = subprocess.Popen(
                    [CAI, *words], stdin=subprocess.DEVNULL, stdout=out, stderr=out, process_group=0
                )
        self.pid = self._process.pid if self._process else self.terminal.pid  # type: ignore[union-attr]

    def runs(self) -> bool:
        """Whether it has not ended; looks for a moment, and takes what it has drawn."""
        if self.code is not None:
            return False
        if self.terminal is not None:
            self.terminal.look(LOOK_S)
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.code = os.waitstatus_to_exitcode(status) if pid else None
        else:
            assert self._process is not None
            self.code = self._process.poll()
            if self.code is None:
                time.sleep(LOOK_S)
        return self.code is None

    def printed(self) -> str:
        """What it has printed so far, without a terminal."""
        return self._log.read_bytes()[self._since :].decode(errors="replace")

    def phases(self) -> int:
        """How many phases it has told of."""
        return self.printed().count(" started")

    def wait_until(self, true: Callable[[], object], timeout: float = PATIENCE_S) -> bool:
        """Wait for something to be true; False where the program ends before. AssertionError where it takes too long."""
        until = time.monotonic() + timeout
        while not true():
            if not self.runs():
                return False
            assert time.monotonic() < until, f"process {self.pid} goes on for more than {timeout:g} s"
        return True

    def stay(self, seconds: float) -> None:
        """Let it work so long."""
        until = time.monotonic() + seconds
        self.wait_until(lambda: time.monotonic() >= until)

    def end(self, timeout: float = PATIENCE_S) -> int:
        """Wait until it ends; its exit code."""
        self.wait_until(lambda: False, timeout)
        assert self.code is not None
        return self.code

    def send(self, number: signal.Signals) -> None:
        """A signal, unless it has ended."""
        if self.runs():
            os.kill(self.pid, number)

    def kill(self) -> bool:
        """SIGKILL; whether it was still there."""
        self.send(signal.SIGKILL)
        return self.end() == -signal.SIGKILL

    def close(self) -> None:
        """End what is left of it."""
        if self.code is None:
            self.kill()
        if self.terminal is not None:
            self.terminal.close()


def moment(process: Started, rng: random.Random, done: Callable[[], int], of: int, start_s: float, phases: int) -> None:
    """Wait for a random moment: during the start, a place among the next `of` steps of the work, or a phase.

    A place is a number of steps that `done` counts, so that it does not depend on how busy the machine is; a phase is
    the one that is told of as the nth, so that those without steps are met as well. Up to a fifth of a second is added.
    """
    how = rng.choices(("start", "place", "phase"), (0.25, 0.4, 0.35))[0]
    if how == "start":
        process.stay(rng.uniform(0.0, start_s))
        return
    count = done if how == "place" or process.terminal else process.phases
    most = max(1, of) if count == done else phases * rng.choice((1, 2))  # of a pilot, and of what comes after it
    place, seen, at = count() + rng.randint(1, most), -1, time.monotonic()

    def there() -> bool:
        nonlocal seen, at
        now = count()
        if now != seen:
            seen, at = now, time.monotonic()
        return now >= place or time.monotonic() - at > 2 * start_s + QUIET_S

    process.wait_until(there)
    process.stay(rng.uniform(0.0, 0.2))
