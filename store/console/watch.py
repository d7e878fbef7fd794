"""Ends a statement that takes too long, or that spills too much onto the volume of the store."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

SECONDS = 120.0
SPILL = 2**30  # bytes in files beside the store, for sorts and joins that do not fit into memory
_PAUSE = 0.05  # seconds between two looks


class StatementWatch:
    """Looks at the clock and at the folder of spilled files while a statement runs, and interrupts it.

    `why` says in words what ended the statement, and is empty where nothing did. What others spilled before counts for
    them; what a run spills meanwhile counts for the statement, which is ended a little too early then. `gone` says why
    nobody waits for the statement any more, and nothing while somebody does.
    """

    def __init__(
        self, interrupt: Callable[[], None], aside: Path, seconds: float, gone: Callable[[], str] = str
    ) -> None:
        self.why = ""
        self._gone = gone
        self._interrupt = interrupt
        self._aside = aside
        self._seconds = seconds
        self._spill = SPILL
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, name="watch of a statement", daemon=True)

    def __enter__(self) -> Self:
        self._before = spilled(self._aside)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        until = time.monotonic() + self._seconds
        while not self._over.wait(_PAUSE):
            if time.monotonic() > until:
                self.why = f"it took longer than {self._seconds:g} s"
            elif spilled(self._aside) - self._before > self._spill:
                self.why = f"it wrote more than {self._spill / 2**20:,.0f} MiB aside"
            else:
                self.why = self._gone()
            if self.why:
                self._interrupt()  # again and again: an interrupt between two steps of a statement is lost


def spilled(aside: Path) -> int:
    """Bytes in DuckDB's folder of temporary files; 0 where there is none."""
    try:
        with os.scandir(aside) as found:
            return sum(entry.stat().st_size for entry in found)
    except OSError:
        return 0
