"""A device's time as it passes: a slice is reserved ahead, and what has passed is settled by phase."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable

from engine.budget.ledger import RESERVED, SETTLED, Ledger, LedgerEntry
from engine.budget.prices import Prices
from store.errors import CaiError

SLICE_S = 60.0
EVERY_S = 5.0


class GpuMeter:
    """Counts the seconds from `start` to `stop`, pauses included: the pod is paid for in any case.

    Each write, at most one in `every_s` seconds, settles what has passed in each phase and reserves the next `slice_s`
    seconds. So a kill loses nothing, and adds at most one slice. As a context it starts, writes from a thread of its
    own, so that loading a model or waiting for a training leaves no gap, and stops.
    """

    def __init__(
        self,
        ledger: Ledger,
        prices: Prices,
        phase: str,
        stage: int,
        *,
        slice_s: float = SLICE_S,
        every_s: float = EVERY_S,
        seconds: Callable[[], float] = time.monotonic,
    ) -> None:
        if not 0 < every_s < slice_s:
            raise ValueError(f"a slice of {slice_s} s must be longer than the {every_s} s between two writes")
        self._ledger, self._prices, self._stage = ledger, prices, stage
        self._slice_s, self._every_s, self._seconds = slice_s, every_s, seconds
        self._phase = phase
        self._lock = threading.Lock()
        self._used: dict[str, float] = {}  # seconds by phase, from the start
        self._entries: dict[str, LedgerEntry] = {}
        self._changed: set[str] = set()
        self._ahead: LedgerEntry | None = None
        self._mark = self._written = 0.0
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def used(self) -> float:
        """Seconds that were counted so far."""
        return sum(self._used.values())

    def start(self) -> None:
        """Reserve the first slice, before the device is used."""
        with self._lock:
            if self._ahead is not None:
                return
            self._mark = self._seconds()
            self._ahead = self._ledger.new_entry(self._prices, self._phase, self._stage)
            self._write(self._mark)

    def tick(self, phase: str | None = None) -> bool:
        """Time has passed, and from now on counts for `phase`; True where it was written."""
        with self._lock:
            if self._ahead is None:
                return False
            now = self._count()
            if phase is not None:
                self._phase = phase
            if now - self._written < self._every_s:
                return False
            self._write(now)
            return True

    def stop(self) -> None:
        """Settle all that has passed, and give back what is reserved. Stopping twice is fine."""
        self._ending.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        with self._lock:
            if self._ahead is not None:
                self._write(self._count(), last=True)
                self._ahead = None

    def __enter__(self) -> GpuMeter:
        self.start()
        self._thread = threading.Thread(target=self._keep_ticking, name="gpu-meter", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        # What went wrong before is what a person should read; the next session settles what could not be written.
        with contextlib.suppress(*([CaiError] if error is not None else [])):
            self.stop()

    def _keep_ticking(self) -> None:
        while not self._ending.wait(self._every_s):
            with contextlib.suppress(CaiError):  # a full disk is the engine's to tell; the seconds stay counted
                self.tick()

    def _count(self) -> float:
        now = self._seconds()
        passed = max(now - self._mark, 0.0)
        if passed:
            self._used[self._phase] = self._used.get(self._phase, 0.0) + passed
            self._changed.add(self._phase)
        self._mark = max(now, self._mark)
        return self._mark

    def _write(self, now: float, *, last: bool = False) -> None:
        assert self._ahead is not None
        rows = []
        for phase in sorted(self._changed):
            if phase not in self._entries:
                self._entries[phase] = self._ledger.new_entry(self._prices, phase, self._stage)
            rows += self._ledger.rows(self._entries[phase], SETTLED, [self._used[phase]])
        ahead = LedgerEntry(self._ahead.number, self._phase, self._stage, self._prices)
        left = 0.0 if last else self._slice_s
        rows += self._ledger.rows(ahead, SETTLED if last else RESERVED, [left])
        self._ledger.store.put({"ledger": rows})
        self._changed.clear()
        self._written = now
