"""How the level of a registered comparison is spent over the looks at it, so that all of them together cost alpha.

A look is one computation on evidence that was not seen before: more items, or other verdicts on the same ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from engine.stats.power import looks as looks_at

KEPT = 0.1  # of alpha, for looks again at items that were looked at before
LOOKS = (
    "Alpha is spent over all looks, and their levels add up to no more than it. Nine tenths are spent as items come "
    "in, by the O'Brien-Fleming function of Lan and DeMets (1983); the look at all items has what is left of them. "
    "One tenth is kept for looks again at no more items, after changed answers or verdicts: each has half of what is "
    "left of it."
)


def next_level(past: Sequence[Mapping[str, Any]], fraction: float, alpha: float) -> float:
    """The level of a new look at a share `fraction` of the planned items, after those of `past` (fraction, level).

    Where more items are there than ever before, it is what O'Brien-Fleming spending of (1 - KEPT) alpha has released
    since (see engine.stats.power.looks), and with all items all that is left of it. A look at no more items than before
    has half of what is left of the part that is kept. Whatever the looks and their order, their levels add up to alpha
    at most; where an earlier version spent more, nothing is left and the level is 0.
    """
    reached = growing = again = 0.0  # the largest share so far, and what both kinds of looks spent
    fractions: list[float] = []
    for one in past:
        at, level = float(one["fraction"]), float(one["level"])
        if at > reached:
            reached, growing = at, growing + level
            fractions.append(at)
        else:
            again += level
    left = max(alpha - growing - again, 0.0)
    if fraction <= reached:
        return min(left, max(KEPT * alpha - again, 0.0) / 2)
    rising = max((1 - KEPT) * alpha - growing, 0.0)
    if fraction < 1:
        rising = min(looks_at([*fractions, fraction], (1 - KEPT) * alpha).levels[-1], rising)
    return min(left, rising)


def level_of_all(alpha: float) -> float:
    """The level of the one look at all items, which is what power is planned for."""
    return next_level([], 1.0, alpha)
