"""What fills the held-out items: seeded sources of material, each of which gives fillings for the wordings of one type.

A filling's facts hold what its verifier needs, and what its planted answers are built from: `lead` (how an answer
begins that breaks off) and `slip` (a plausible wrong answer).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.evaluation import SPLITS
from engine.spec.provenance import derived_seed

SEED = 20261129
DEV = 30  # of a hundred matters


@dataclass(frozen=True, slots=True)
class Filling:
    """What one item is about: words for the slots of a wording, the right answer, and the facts.

    `key` names the matter (a country, a topic, a deed): no matter stands in both splits (`split_of`), nor twice in a
    template.
    """

    key: str
    slots: Mapping[str, str]
    reference: str
    facts: Mapping[str, Any]


Source = Callable[[random.Random], list[Filling]]
Sources = Mapping[str, Source]


def split_of(key: str) -> str:
    """The split that a matter belongs to: one cut by its name alone, the same for all sources and types."""
    return SPLITS[0] if derived_seed(SEED, "parted", key.casefold()) % 100 < DEV else SPLITS[1]


def beside(key: str, keys: Iterable[str]) -> list[str]:
    """The other matters of a matter's split: those that an earlier turn of its conversation may be about."""
    return [other for other in keys if other != key and split_of(other) == split_of(key)]


def claim(
    key: str,
    slots: Mapping[str, str],
    accepted: Sequence[str],
    rivals: Sequence[str],
    lead: str,
    slip: str = "",
) -> Filling:
    """A filling whose answer is a name: its reference is the first of those accepted, its slip the first rival."""
    others = [name for name in rivals if name not in accepted]
    facts = {
        "check": "claim",
        "accepted": list(accepted),
        "rivals": others,
        "lead": lead,
        "slip": slip or others[0],
    }
    return Filling(key, slots, accepted[0], facts)


def number(key: str, slots: Mapping[str, str], value: float, given: Sequence[float], lead: str, slip: float) -> Filling:
    """A filling whose answer is a number; `given` may stand in an explanation."""
    facts = {"check": "number", "value": value, "given": list(given), "lead": lead, "slip": f"{slip:g}"}
    return Filling(key, slots, f"{value:g}", facts)


def others(rng: random.Random, names: Sequence[str], but: Sequence[str], n: int) -> list[str]:
    """Up to n other names, drawn."""
    pool = [name for name in names if name not in but]
    return rng.sample(pool, min(n, len(pool)))


def vocabulary(text: str) -> tuple[str, ...]:
    """The words of a text."""
    return tuple(text.split())


def phrases(text: str) -> tuple[str, ...]:
    """The phrases of a text that stand between semicolons or on lines of their own."""
    return tuple(phrase for part in text.replace("\n", ";").split(";") if (phrase := part.strip()))


def table(text: str) -> tuple[tuple[str, ...], ...]:
    """Rows, one a line, of cells that a stroke parts."""
    return tuple(tuple(cell.strip() for cell in line.split("|")) for line in text.strip().split("\n"))


def material(name: str) -> tuple[tuple[str, ...], ...]:
    """The rows of `material/NAME.txt`, as `table` reads them."""
    return table((Path(__file__).parent.parent / "material" / f"{name}.txt").read_text(encoding="utf-8"))


def article(noun: str) -> str:
    """A noun with "a" or "an"."""
    return f"{'an' if noun[0].lower() in 'aeiou' else 'a'} {noun}"


def listing(names: Sequence[str]) -> str:
    """Names with commas, and "and" before the last."""
    return ", ".join(names[:-1]) + f" and {names[-1]}"
