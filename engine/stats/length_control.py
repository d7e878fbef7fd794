"""A win rate at equal length: logistic regression of who won on the difference in length, with clustered errors."""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

MOST_LOG_ODDS = 15.0  # beyond, wins are separated by what they are regressed on, and no finite fit exists


@dataclass(frozen=True, slots=True)
class LengthControlled:
    """The win rate at no difference in length, and the log odds with their error that it follows from.

    `slope` is the change of log odds by tanh(difference in length / its standard deviation).
    """

    n: int
    clusters: int
    win_rate: float
    lo: float
    hi: float
    log_odds: float
    se: float
    p: float
    slope: float
    method: str


def length_controlled(
    outcomes: ArrayLike, lengths: ArrayLike, clusters: Sequence[Hashable], confidence: float = 0.95
) -> LengthControlled | None:
    """Win rate of n outcomes (1 won, 0.5 tied, 0 lost) had both sides been of one length.

    `lengths` are the n differences in length, `clusters` each item's group. The form is that of AlpacaEval 2.0 (Dubois
    et al. 2024, arXiv 2404.04475, section 3) for one pair of models: logit = theta + phi tanh(d / sd(d)); its term for
    the difficulty of an instruction is left out, because one pair of models can't tell it apart. Ties count half (the
    quasi-likelihood of Papke and Wooldridge 1996). The error is the sandwich over clusters with the factor
    G/(G - 1) (n - 1)/(n - 2), and t has G - 1 degrees of freedom. None where lengths do not vary, below three clusters,
    and where wins are separated by length or by nothing at all. Raises ValueError for unequal lengths.
    """
    won, apart = np.asarray(outcomes, dtype=np.float64), np.asarray(lengths, dtype=np.float64)
    if not len(won) == len(apart) == len(clusters):
        raise ValueError(f"there are {len(won)} outcomes, {len(apart)} lengths and {len(clusters)} names of clusters")
    numbers: dict[Hashable, int] = {}
    member = np.array([numbers.setdefault(name, len(numbers)) for name in clusters], dtype=np.int64)
    if len(numbers) < 3 or np.ptp(apart) == 0 or np.ptp(won) == 0:
        return None
    design = np.column_stack([np.ones(len(won)), np.tanh(apart / apart.std(ddof=1))])
    from statsmodels.genmod.families import Binomial
    from statsmodels.genmod.generalized_linear_model import GLM

    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # of separation, which is asked for below
        groups = {"groups": member, "use_correction": True}
        fitted = GLM(won, design, family=Binomial()).fit(cov_type="cluster", cov_kwds=groups)
    (log_odds, slope), se = fitted.params, float(fitted.bse[0])
    if not (fitted.converged and np.isfinite(se) and se > 0 and np.abs(design @ fitted.params).max() < MOST_LOG_ODDS):
        return None
    df = len(numbers) - 1
    half = float(special.stdtrit(df, (1 + confidence) / 2)) * se
    rate, lo, hi = (float(special.expit(value)) for value in (log_odds, log_odds - half, log_odds + half))
    p = float(2 * special.stdtr(df, -abs(log_odds / se)))
    method = f"logistic regression on length, {len(numbers)} clusters, t with {df} degrees of freedom"
    return LengthControlled(len(won), len(numbers), rate, lo, hi, float(log_odds), se, p, float(slope), method)
