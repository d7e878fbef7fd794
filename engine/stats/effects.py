"""Two conditions on the same items in one row: means, difference with its interval, the strict tests and an effect."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from engine.stats.intervals import mean_interval
from engine.stats.paired import DECIMALS, mcnemar, pairs, wilcoxon


@dataclass(frozen=True, slots=True)
class Paired:
    """What two conditions differ by; `p` and `effect` are None where no item differs: there is nothing to test.

    The interval of the mean difference is a percentile bootstrap over items.
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


def paired_means(a: ArrayLike, b: ArrayLike) -> Paired:
    """Wilcoxon's signed-rank test with the matched-pairs rank-biserial correlation (Kerby 2014).

    The effect is 1 where all differences are above zero and -1 where all are below. Raises ValueError as `wilcoxon`.
    """
    test = wilcoxon(a, b)
    moved = np.round(np.subtract(a, b), DECIMALS)
    moved = moved[moved != 0]
    ranks = stats.rankdata(np.abs(moved))
    effect = float(ranks @ np.sign(moved) / ranks.sum()) if len(moved) else None
    return _paired(a, b, test.test, test.p, effect, "rank-biserial r")


def paired_shares(a: ArrayLike, b: ArrayLike) -> Paired:
    """McNemar's exact test of outcomes of 0 and 1 with Cohen's g: the share of discordant items for `a`, less a half.

    Raises ValueError as `pairs`.
    """
    table = pairs(a, b)
    test, discordant = mcnemar(table), table.gained + table.lost
    effect = table.gained / discordant - 0.5 if discordant else None
    return _paired(a, b, test.test, test.p, effect, "Cohen's g")


def _paired(a: ArrayLike, b: ArrayLike, test: str, p: float, effect: float | None, name: str) -> Paired:
    first, second = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    mean, lo, hi = mean_interval((first - second).tolist())
    p_shown = None if effect is None else p
    return Paired(len(first), float(first.mean()), float(second.mean()), mean, lo, hi, test, p_shown, effect, name)
