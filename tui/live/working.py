"""How long a run has worked, pauses excluded."""

from __future__ import annotations

from collections.abc import Callable


class WorkingClock:
    """Counts seconds between `go` and `halt`, on top of what was worked before."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._since: float | None = None
        self.before = 0.0

    @property
    def seconds(self) -> float:
        return self.before + (0.0 if self._since is None else self._clock() - self._since)

    def go(self) -> None:
        if self._since is None:
            self._since = self._clock()

    def halt(self) -> None:
        self.before, self._since = self.seconds, None

    def set(self, seconds: float) -> None:
        """What was worked so far, counted by somebody else; it goes on or stands as before."""
        self.before = seconds
        if self._since is not None:
            self._since = self._clock()
