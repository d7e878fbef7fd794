"""Turns at the owner's cores: readers together get a small share of them, so that a run is not slowed down."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

AT_ONCE = 2  # statements that are worked on at one time
SHARE = 0.015  # of all cores, in the long run; what DuckDB's own threads take beside the one that asks comes on top
SAVED_S = 5.0  # of a core: what readers may take at once, after a time in which they took nothing
_LOOK_S = 0.5
_NOTHING_S = 0.001


class ReadingTurns:
    """Hands out turns. A turn waits while others took what there is; what it takes itself is counted afterwards."""

    def __init__(
        self,
        share: float = SHARE * (os.cpu_count() or 1),
        clock: Callable[[], float] = time.monotonic,
        used: Callable[[], float] = time.thread_time,
        wait: Callable[[float], object] | None = None,
    ) -> None:
        self._share, self._clock, self._used = share, clock, used
        self._over = threading.Event()
        self._wait = wait or self._over.wait
        self._slots = threading.Semaphore(AT_ONCE)
        self._lock = threading.Lock()
        self._left, self._at = SAVED_S, clock()

    @contextmanager
    def turn(self) -> Iterator[None]:
        """One statement, or a part of one, of which the processor's time in this thread is counted."""
        with self._slots, self.counted():
            yield

    @contextmanager
    def counted(self) -> Iterator[None]:
        """What waits for the share like a turn and is counted like one, beside those who work on statements."""
        while (short := self._short()) > _NOTHING_S and not self._over.is_set():
            self._wait(min(short, _LOOK_S))
        began = self._used()
        try:
            yield
        finally:
            with self._lock:
                self._left -= self._used() - began

    def end(self) -> None:
        """Let all that wait go on at once."""
        self._over.set()

    def _short(self) -> float:
        """Seconds until a turn may begin."""
        with self._lock:
            now = self._clock()
            self._left = min(SAVED_S, self._left + (now - self._at) * self._share)
            self._at = now
            return -self._left / self._share
