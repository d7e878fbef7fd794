"""Which candidates a control learns from: as many as SFT does, drawn by the run's seed, with or without its lengths.

The pool is every candidate whose response was judged and against which no rule of form speaks, whatever the critics
said of it, accepted ones too. So SFT and its control differ by what the critics chose, and not by texts that are empty,
cut off or in a loop, which nobody would train on.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import pairwise

from engine.spec.provenance import derived_seed

BINS = 10  # of accepted lengths, each with as many examples as the others

Sized = tuple[str, int]  # an id and a length


def at_random(pool: Sequence[Sized], n: int, seed: int, *parts: str) -> set[str]:
    """So many ids drawn without replacement; all of them where there are fewer."""
    rng = random.Random(derived_seed(seed, "control", *parts))
    return set(rng.sample([name for name, _ in pool], min(n, len(pool))))


def by_length(pool: Sequence[Sized], lengths: Sequence[int], seed: int, *parts: str) -> set[str]:
    """One id for each of the lengths, drawn at random among candidates of its tenth of them.

    Where a tenth has too few candidates, the nearest ones in length that are left take the others' place.
    """
    rng = random.Random(derived_seed(seed, "control", *parts))
    wanted = sorted(lengths)
    left = sorted(pool)
    rng.shuffle(left)  # so that a tie of lengths is decided by the seed
    found: set[str] = set()
    bins = min(BINS, len(wanted))
    edges = [len(wanted) * at // bins for at in range(bins + 1)] if bins else [0]
    for start, end in pairwise(edges):
        low, high = wanted[start], wanted[end - 1]
        left.sort(key=lambda one: max(low - one[1], one[1] - high, 0))  # stable: the seed's order within
        chosen = {name for name, _ in left[: end - start]}
        found |= chosen
        left = [one for one in left if one[0] not in chosen]
    return found
