"""Two conditions on the same items in one row: means, difference with its interval, tests, an effect with its own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from engine.stats.paired import (
    DECIMALS,
    cohen_dz,
    mcnemar,
    mean_bca,
    paired_t,
    pairs,
    shares_bca,
    wilcoxon,
)
from engine.stats.shares import wilson

T_TEST = "paired t"


@dataclass(frozen=True, slots=True)
class Paired:
    """What two conditions differ by; `p` and `effect` are None where no item differs: there is nothing to test.

    The interval of the difference is a BCa bootstrap over items. `beside` is a second test with its effect, None where
    there is none.
    """

    n: int
    with_mean: float
    against_mean: float
    difference: float
    lo: float | None
    hi: float | None
    test: str
    p: float | None
    effect: float | None
    effect_name: str
    effect_lo: float | None
    effect_hi: float | None
    beside: str | None = None
    beside_p: float | None = None
    beside_effect: float | None = None
    beside_effect_name: str | None = None


def paired_means(a: ArrayLike, b: ArrayLike) -> Paired:
    """The paired t test with Cohen's d_z, and beside it Wilcoxon's signed-rank test with the rank-biserial correlation.

    The latter is 1 where all differences are above zero and -1 where all are below (Kerby 2014). Where all differences
    are one number, or there is one item, t is not defined and Wilcoxon's test stands alone. Raises ValueError as
    `wilcoxon`.
    """
    ranked = wilcoxon(a, b)
    moved = np.round(np.subtract(a, b), DECIMALS)
    spread = len(moved) > 1 and float(np.ptp(moved)) > 0
    moved = moved[moved != 0]
    ranks = stats.rankdata(np.abs(moved))
    biserial = float(ranks @ np.sign(moved) / ranks.sum()) if len(moved) else None
    first, second = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    drawn = mean_bca(a, b)
    means = len(first), float(first.mean()), float(second.mean()), drawn.value, drawn.lo, drawn.hi
    rank = ranked.p if len(moved) else None, biserial, "rank-biserial r"
    if len(moved) and not spread:
        return Paired(*means, ranked.test, *rank, None, None)
    if not len(moved):
        return Paired(*means, T_TEST, None, None, "Cohen's d_z", None, None, ranked.test, *rank)
    effect = cohen_dz(a, b)
    return Paired(
        *means, T_TEST, paired_t(a, b).p, effect.value, effect.name, effect.lo, effect.hi, ranked.test, *rank
    )  # fmt: skip


def paired_shares(a: ArrayLike, b: ArrayLike) -> Paired:
    """McNemar's exact test of outcomes of 0 and 1 with Cohen's g: the share of discordant items for `a`, less a half.

    The interval of g is Wilson's of that share. Raises ValueError as `pairs`.
    """
    table = pairs(a, b)
    test, discordant, drawn = mcnemar(table), table.gained + table.lost, shares_bca(table)
    means = table.n, table.a_right / table.n, table.b_right / table.n, table.difference, drawn.lo, drawn.hi
    if not discordant:
        return Paired(*means, test.test, None, None, "Cohen's g", None, None)
    lo, hi = wilson(table.gained, discordant)
    g = table.gained / discordant - 0.5
    return Paired(*means, test.test, test.p, g, "Cohen's g", lo - 0.5, hi - 0.5)
