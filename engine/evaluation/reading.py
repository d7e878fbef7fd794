"""What one check says of one text."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Reading:
    """A check's result, with None for `correct` where rules can't decide; `strict` counts where `correct` holds."""

    correct: bool | None
    strict: bool
    why: str


def wrong(why: str) -> Reading:
    """A text that does not meet what was asked."""
    return Reading(False, False, why)


def right(why: str, strict: bool) -> Reading:
    """A text that meets what was asked; `strict` where nothing stands around it."""
    return Reading(True, strict, why)


def unsure(why: str) -> Reading:
    """A text that rules can't decide on, so that somebody has to read it."""
    return Reading(None, False, why)
