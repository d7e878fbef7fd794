"""What makes the held-out items: seeded templates, each of which writes drafts of one item type.

A draft's facts hold what its verifier needs, and what its planted answers are built from: `lead` (how an answer begins
that breaks off) and `slip` (a plausible wrong answer).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Draft:
    """An item before it has a place: the last turn, the right answer, the facts and the turns before."""

    prompt: str
    reference: str
    facts: Mapping[str, Any]
    history: tuple[tuple[str, str], ...] = ()


Maker = Callable[[random.Random], list[Draft]]
Templates = Mapping[str, Mapping[str, Maker]]  # by item type and name


def claim_draft(
    prompt: str,
    accepted: Sequence[str],
    rivals: Sequence[str],
    lead: str,
    history: tuple[tuple[str, str], ...] = (),
    slip: str = "",
) -> Draft:
    """A draft whose answer is one of several names; the first accepted one is its reference, the first rival a slip."""
    others = [name for name in rivals if name not in accepted]
    facts = {
        "check": "claim",
        "accepted": list(accepted),
        "rivals": others,
        "lead": lead,
        "slip": slip or others[0],
    }
    return Draft(prompt, accepted[0], facts, history)


def number_draft(
    prompt: str,
    value: float,
    given: Sequence[float],
    lead: str,
    slip: float,
    history: tuple[tuple[str, str], ...] = (),
) -> Draft:
    """A draft whose answer is a number; `given` may stand in an explanation."""
    facts = {"check": "number", "value": value, "given": list(given), "lead": lead, "slip": f"{slip:g}"}
    return Draft(prompt, f"{value:g}", facts, history)


def others(rng: random.Random, names: Sequence[str], but: Sequence[str], n: int) -> list[str]:
    """Up to n other names, drawn."""
    pool = [name for name in names if name not in but]
    return rng.sample(pool, min(n, len(pool)))


def vocabulary(text: str) -> tuple[str, ...]:
    """The words of a text."""
    return tuple(text.split())


def article(noun: str) -> str:
    """A noun with "a" or "an"."""
    return f"{'an' if noun[0].lower() in 'aeiou' else 'a'} {noun}"
