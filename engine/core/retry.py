"""When a request is sent again: what the server asks for, else exponential backoff with full jitter."""

from __future__ import annotations

import email.utils
import math
import random
from datetime import UTC, datetime

TRIES = 4
FIRST_S = 1.0
LONGEST_S = 30.0
LONGEST_ASKED_S = 120.0  # a server that wants more has a person asked instead


def retry_after(value: str | None, now: datetime) -> float | None:
    """Seconds that a Retry-After header asks for, as a number or as a date; None where it says nothing usable."""
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            when = email.utils.parsedate_to_datetime(value.strip())
        except (TypeError, ValueError, OverflowError):
            return None
        if when.tzinfo is None:
            when = when.replace(tzinfo=UTC)
        seconds = (when - now).total_seconds()
    return None if math.isnan(seconds) else max(seconds, 0.0)


def backoff(tried: int, rng: random.Random) -> float:
    """Seconds to wait after `tried` tries, from 1: anything up to 1, 2, 4 ... seconds, at most 30."""
    return rng.uniform(0.0, min(LONGEST_S, FIRST_S * 2.0 ** (tried - 1)))
