"""The time that rows are stamped with, which never goes back: what comes later has no earlier time.

A machine's clock may be set back while a run works, or between two. Times are then counted on from the last one that
was given, or that the store's last commit had, until the clock is past them again. By them sessions, runs, trainings,
registrations and answers are told apart in their order.
"""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta


class Given:
    """What was given so far, in one process and for all its stores."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.last = datetime.min.replace(tzinfo=UTC)
        self.ahead = timedelta(0)  # of the machine's clock, while that is behind


GIVEN = Given()


def machine_now() -> datetime:
    """What the machine's clock says, in UTC."""
    return datetime.now(UTC)


def utc_now() -> datetime:
    """The time to stamp a row with: the machine's, or a later one where that was given already."""
    with GIVEN.lock:
        wall = machine_now()
        GIVEN.ahead = max(GIVEN.ahead, GIVEN.last - wall) if wall < GIVEN.last else timedelta(0)
        GIVEN.last = wall + GIVEN.ahead
        return GIVEN.last


def not_before(moment: datetime) -> None:
    """Give no time before this one from now on."""
    with GIVEN.lock:
        GIVEN.last = max(GIVEN.last, moment)


def behind_s() -> float:
    """Seconds that the machine's clock is behind the times that are given; 0 as a rule."""
    utc_now()
    return GIVEN.ahead.total_seconds()
