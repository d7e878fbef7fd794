"""Figures with their intervals; thin over scipy and numpy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import stats

from engine.stats.shares import wilson

DRAWS = 1000


def auc(good: Sequence[float], bad: Sequence[float]) -> float | None:
    """Probability that a good item scores above a bad one, ties counted half; None where a class is empty.

    It is the Mann-Whitney U statistic over the product of the counts (Hanley and McNeil 1982).
    """
    if not good or not bad:
        return None
    return float(stats.mannwhitneyu(good, bad).statistic) / (len(good) * len(bad))


def auc_interval(good: Sequence[float], bad: Sequence[float], confidence: float = 0.95) -> tuple[float, float] | None:
    """Percentile bootstrap interval of the AUC, both classes drawn anew with a fixed seed; None without two classes."""
    if not good or not bad:
        return None
    rng = np.random.default_rng(0)
    above = np.asarray(good)[:, None] - np.asarray(bad)[None, :]
    wins = (above > 0) + 0.5 * (above == 0)
    rows = rng.integers(len(good), size=(DRAWS, len(good)))
    columns = rng.integers(len(bad), size=(DRAWS, len(bad)))
    drawn = [wins[np.ix_(r, c)].mean() for r, c in zip(rows, columns, strict=True)]
    low, high = np.quantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def cohen_kappa(a: Sequence[bool], b: Sequence[bool]) -> float | None:
    """Agreement of two judges of the same items beyond what their shares of yes make likely (Cohen 1960).

    None where there are no items, or where both judges always say the same word: chance then explains everything.
    """
    if not a:
        return None
    observed = sum(x == y for x, y in zip(a, b, strict=True)) / len(a)
    yes_a, yes_b = sum(a) / len(a), sum(b) / len(b)
    chance = yes_a * yes_b + (1 - yes_a) * (1 - yes_b)
    return None if chance == 1 else (observed - chance) / (1 - chance)


def threshold_for_precision(scores: Sequence[float], good: Sequence[bool], wanted: float) -> float | None:
    """The lowest score such that of the items at or above it a share `wanted` is good; None where none reaches it."""
    order = np.argsort(-np.asarray(scores), kind="stable")
    ranked = np.asarray(scores)[order]
    precision = np.cumsum(np.asarray(good)[order]) / np.arange(1, len(order) + 1)
    # Only where the next item has another score can a threshold lie.
    ends = np.append(ranked[1:] != ranked[:-1], True)
    reached = np.flatnonzero((precision >= wanted) & ends)
    return float(ranked[reached[-1]]) if len(reached) else None


def needed_candidates(accepted: int, candidates: int, target: int) -> tuple[int, int, int] | None:
    """Candidates needed in all for `target` accepted ones: estimate and 95 % interval; None before the first one.

    The acceptance rate's Wilson interval is carried over to the remaining candidates.
    """
    if accepted == 0:
        return None
    low, high = wilson(accepted, candidates)
    left = max(target - accepted, 0)

    def needed(rate: float) -> int:
        return candidates + int(np.ceil(left / rate))

    return needed(accepted / candidates), needed(high), needed(max(low, 1e-9))


def mean_interval(values: Sequence[float], confidence: float = 0.95) -> tuple[float, float | None, float | None]:
    """The mean with its percentile bootstrap interval, drawn with a fixed seed; no interval below two values."""
    mean = float(np.mean(values))
    if len(values) < 2:
        return mean, None, None
    rng = np.random.default_rng(0)
    drawn = np.asarray(values)[rng.integers(len(values), size=(DRAWS, len(values)))].mean(axis=1)
    low, high = np.quantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2])
    return mean, float(low), float(high)
