"""The one place where the engine's thread meets the screen's thread."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engine.core.events import Event

# Only the newest of these counts between two repaints.
LATEST_ONLY = frozenset({"PhaseProgressed", "ThroughputMeasured", "GpusMeasured", "ForecastUpdated"})
# These stream by and can wait for the next repaint; all of them are kept.
QUIET = LATEST_ONLY | {"MarginMeasured", "TrainingStepped"}
HELD_AT_MOST = 20_000  # of those held while the screen cannot drain; all of them are in the store


class Bridge:
    """Takes events from any thread, hands them to the screen in the order in which they happened.

    Progress overwrites the slot of its phase and waits for the screen's own rhythm; everything else is also told to
    `arrived`, since a person should see it at once. `emit` never blocks on the screen.
    """

    def __init__(self, arrived: Callable[[Event], object]) -> None:
        self._arrived = arrived
        self._lock = threading.Lock()
        self._held: list[Event] = []
        self._slots: dict[tuple[str, str], int] = {}

    def emit(self, event: Event) -> None:
        quiet = event.kind in QUIET
        with self._lock:
            if event.kind in LATEST_ONLY:
                key = (event.kind, getattr(event, "phase", ""))
                at = self._slots.get(key)
                if at is None:
                    self._slots[key] = len(self._held)
                    self._held.append(event)
                else:
                    self._held[at] = event
            elif not quiet or len(self._held) < HELD_AT_MOST:
                self._held.append(event)
            if not quiet:
                self._slots.clear()  # progress never moves across a stage change
        if not quiet:
            self._arrived(event)

    def drain(self) -> list[Event]:
        """Everything since the last call, oldest first."""
        with self._lock:
            held, self._held = self._held, []
            self._slots.clear()
        return held
