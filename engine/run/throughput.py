"""How fast a run works: tokens and items a second, over the last commits."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

WINDOW_S = 10.0
LEAST_S = 1.0  # commits can follow each other within milliseconds, which says nothing about a rate


class Throughput:
    """Rates over the window before each commit; where a commit took longer than the window, over that commit."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._marks: deque[tuple[float, int, int]] = deque()  # when, tokens and items until then

    def begin(self) -> None:
        """Work begins, or goes on after a pause: what was before counts no more."""
        self._marks = deque([(self._clock(), 0, 0)])

    def add(self, tokens: int, items: int) -> tuple[float, float] | None:
        """Count what was committed now. Returns (tokens/s, items/s), None where less than a second was measured."""
        marks = self._marks  # another thread may begin anew meanwhile
        if not marks:
            self.begin()
            return None
        now = self._clock()
        _, tokens_before, items_before = marks[-1]
        tokens, items = tokens_before + tokens, items_before + items
        marks.append((now, tokens, items))
        while marks[1][0] <= now - WINDOW_S:
            marks.popleft()
        since, tokens_before, items_before = marks[0]
        seconds = now - since
        if seconds < LEAST_S:
            return None
        return (tokens - tokens_before) / seconds, (items - items_before) / seconds
