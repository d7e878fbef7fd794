"""What n a paired effect needs, what effect an n could show, equivalence, and looks at results before the end.

Thin over scipy; McNemar's power is a sum of binomial probabilities. All tests are two-sided.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import optimize, stats

from engine.stats.paired import Pairs, require_share

LARGEST_N = 10_000_000
# The exact test's power is not monotone in n. Around the answer of a bisection, so many items are tried one by one.
TRIED = 200
# Counts of discordant pairs with less than this probability on either side are left out of a sum.
LEFT_OUT = 1e-12


@dataclass(frozen=True, slots=True)
class Power:
    """The power of a test with n items; `effect` is None where no effect reaches the power with so few items."""

    n: int
    effect: float | None
    effect_name: str
    alpha: float
    power: float
    test: str
    method: str


@dataclass(frozen=True, slots=True)
class Equivalence:
    """Whether two paired shares differ by less than `margin`: the larger of two one-sided p values decides.

    `p_not_worse` alone tests that a is not worse than b by `margin` or more, which is what "no regression" claims.
    `lo` and `hi` are the score interval of confidence 1 - 2 alpha; it lies within the margin just if p is below alpha.
    """

    n: int
    difference: float
    margin: float
    alpha: float
    statistic: float
    p: float
    p_not_worse: float
    p_not_better: float
    lo: float
    hi: float
    equivalent: bool
    not_worse: bool
    test: str
    method: str


@dataclass(frozen=True, slots=True)
class Looks:
    """For each of `n` looks: the share of items by then, the level of its test, and the error spent until then."""

    n: int
    fractions: tuple[float, ...]
    levels: tuple[float, ...]
    spent: tuple[float, ...]
    alpha: float
    method: str


def mcnemar_power(gain: float, loss: float, n: int, alpha: float = 0.05, *, exact: bool = True) -> Power:
    """The power of McNemar's test with n items, of which shares `gain` and `loss` are expected to be discordant.

    The conditional power given the number of discordant pairs is averaged over its binomial distribution (Duffy 1984);
    both tails get alpha / 2. The effect is the difference of shares, gain - loss. Raises ValueError for shares that are
    no probabilities, for n below 1 and for an alpha that is not between 0 and 1.
    """
    require_share(alpha, "alpha")
    if not (gain >= 0 and loss >= 0 and 0 < gain + loss <= 1):
        raise ValueError(f"gain and loss must be shares whose sum is above 0 and at most 1, not {gain} and {loss}")
    if n < 1:
        raise ValueError(f"power needs at least 1 item, not {n}")
    value = _mcnemar(gain, loss, n, alpha, exact)
    test = f"McNemar {'exact' if exact else 'continuity-corrected'}"
    method = "exact, over the number of discordant pairs"
    return Power(n, gain - loss, "difference of shares", alpha, value, test, method)


def mcnemar_n(gain: float, loss: float, power: float = 0.8, alpha: float = 0.05, *, exact: bool = True) -> Power:
    """The number of items from which on McNemar's test has `power` for the expected shares `gain` and `loss`.

    Power rises with n in saw teeth; the answer is the first n above the last tooth that falls short. Raises ValueError
    as mcnemar_power does, and where the shares are equal or more than ten million items would be needed.
    """
    require_share(power, "power")
    mcnemar_power(gain, loss, 1, alpha)
    if gain == loss:
        raise ValueError("gain and loss are equal: there is no effect that a number of items could show")

    def at(n: int) -> float:
        return _mcnemar(gain, loss, n, alpha, exact)

    found = _first_n(at, power, 1)
    short = [n for n in range(max(1, found - TRIED), found + TRIED) if at(n) < power]
    return mcnemar_power(gain, loss, short[-1] + 1 if short else 1, alpha, exact=exact)


def mcnemar_effect(n: int, discordant: float, power: float = 0.8, alpha: float = 0.05, *, exact: bool = True) -> Power:
    """The smallest difference of shares that McNemar's test shows with `power` in n items.

    `discordant` is the expected share of discordant pairs. The effect is None where not even a difference of that size,
    all discordant pairs on one side, reaches the power. Raises ValueError as mcnemar_power does.
    """
    require_share(power, "power")
    most = mcnemar_power(discordant, 0, n, alpha, exact=exact)
    if most.power < power:
        return Power(n, None, most.effect_name, alpha, most.power, most.test, most.method)

    def short(effect: float) -> float:
        return _mcnemar((discordant + effect) / 2, (discordant - effect) / 2, n, alpha, exact) - power

    if short(0.0) >= 0:
        raise ValueError(f"a power of {power} is no more than the test's error without any effect")
    effect = float(optimize.brentq(short, 0.0, discordant))
    return Power(n, effect, most.effect_name, alpha, power, most.test, most.method)


def t_power(dz: float, n: int, alpha: float = 0.05) -> Power:
    """The power of the paired t test with n items for Cohen's d_z (Cohen 1988, section 2.3.5).

    t squared has a noncentral F distribution, noncentrality n d_z^2, which counts both tails. (scipy's noncentral t, on
    which statsmodels' TTestPower rests, is NaN in the far tail from some noncentralities of 5 on.)
    Raises ValueError below two items, for an effect that is no number, and for an alpha that is not between 0 and 1.
    """
    require_share(alpha, "alpha")
    if n < 2 or not np.isfinite(dz):
        raise ValueError(f"power of the t test needs at least 2 items and a finite d_z, not {n} and {dz}")
    critical = stats.t.isf(alpha / 2, n - 1) ** 2
    value = float(stats.ncf.sf(critical, 1, n - 1, n * dz**2)) if dz else alpha
    return Power(n, dz, "Cohen's d_z", alpha, min(value, 1.0), "paired t", "noncentral F distribution of t squared")


def t_n(dz: float, power: float = 0.8, alpha: float = 0.05) -> Power:
    """The smallest number of items with which the paired t test has `power` for Cohen's d_z.

    Raises ValueError as t_power does, and where d_z is 0 or more than ten million items would be needed.
    """
    require_share(power, "power")
    t_power(dz, 2, alpha)
    if dz == 0:
        raise ValueError("d_z is 0: there is no effect that a number of items could show")
    return t_power(dz, _first_n(lambda n: t_power(dz, n, alpha).power, power, 2), alpha)


def t_effect(n: int, power: float = 0.8, alpha: float = 0.05) -> Power:
    """The smallest Cohen's d_z that the paired t test shows with `power` in n items.

    Raises ValueError as t_power does, and for a power that is not above alpha.
    """
    require_share(power, "power")
    none = t_power(0.0, n, alpha)
    if power <= alpha:
        raise ValueError(f"a power of {power} is no more than the test's error without any effect, {alpha}")
    high = 1.0
    while t_power(high, n, alpha).power < power:
        high *= 2
    effect = float(optimize.brentq(lambda dz: t_power(dz, n, alpha).power - power, 0.0, high))
    return Power(n, effect, none.effect_name, alpha, power, none.test, none.method)


def equivalence(table: Pairs, margin: float, alpha: float = 0.05) -> Equivalence:
    """Two one-sided tests (Schuirmann 1987) that paired shares differ by less than `margin`, by Tango's (1998) score.

    The statistic is the z of the less certain side, above zero where the difference is within the margin. Raises
    ValueError for a margin or an alpha that is not between 0 and 1 (alpha: below 0.5).
    """
    require_share(margin, "margin")
    if not 0 < alpha < 0.5:
        raise ValueError(f"alpha must be between 0 and 0.5, not {alpha}")
    worse, better = _tango(table, -margin), -_tango(table, margin)
    p_worse, p_better = float(stats.norm.sf(worse)), float(stats.norm.sf(better))
    lo, hi, p = _limit(table, alpha, -1), _limit(table, alpha, 1), max(p_worse, p_better)
    return Equivalence(
        n=table.n, difference=table.difference, margin=margin, alpha=alpha, statistic=min(worse, better), p=p,
        p_not_worse=p_worse, p_not_better=p_better, lo=lo, hi=hi, equivalent=p <= alpha, not_worse=p_worse <= alpha,
        test="TOST of paired shares", method="Tango 1998 (score)",
    )  # fmt: skip


def looks(fractions: Sequence[float], alpha: float = 0.05, *, spending: bool = True) -> Looks:
    """Levels for looks at a run at the given shares of its items, so that the error over all of them is at most alpha.

    With `spending`, each look may use what the O'Brien-Fleming function of Lan and DeMets (1983), two-sided
    4 (1 - Phi(z_(alpha/4) / sqrt(t))), has released since the look before: little early, most at the end. Without,
    alpha is divided evenly (Bonferroni). The levels add up to alpha, so the bound needs no assumption on how looks
    depend on each other; boundaries that use it would be a little wider. Raises ValueError unless fractions rise from
    above 0 to at most 1.
    """
    require_share(alpha, "alpha")
    at = np.asarray(fractions, dtype=np.float64)
    if at.ndim != 1 or not len(at) or not (np.diff(at, prepend=0.0) > 0).all() or at[-1] > 1:
        raise ValueError(f"fractions of the items must rise from above 0 to at most 1, not {list(fractions)}")
    if spending:
        spent = 4 * stats.norm.sf(stats.norm.isf(alpha / 4) / np.sqrt(at))
        levels, method = np.diff(spent, prepend=0.0), "O'Brien-Fleming alpha spending, levels added up"
    else:
        levels, method = np.full(len(at), alpha / len(at)), "Bonferroni over looks"
    spent = np.cumsum(levels)
    return Looks(len(at), tuple(at.tolist()), tuple(levels.tolist()), tuple(spent.tolist()), alpha, method)


def _mcnemar(gain: float, loss: float, n: int, alpha: float, exact: bool) -> float:
    discordant = min(gain + loss, 1.0)
    first, last = stats.binom.ppf(LEFT_OUT, n, discordant), stats.binom.isf(LEFT_OUT, n, discordant)
    m = np.arange(max(int(first), 1), int(last) + 1)
    if exact:
        most = stats.binom.ppf(alpha / 2, m, 0.5)
        most = np.where(stats.binom.cdf(most, m, 0.5) > alpha / 2, most - 1, most)
    else:
        most = np.floor((m - 1 - np.sqrt(stats.chi2.isf(alpha, 1) * m)) / 2)
    share = gain / (gain + loss)
    shown = stats.binom.cdf(most, m, share) + np.where(most < 0, 0.0, stats.binom.sf(m - most - 1, m, share))
    return min(float(stats.binom.pmf(m, n, discordant) @ shown), 1.0)


def _first_n(power_at: Callable[[int], float], power: float, least: int) -> int:
    """The n at which bisection finds the power to be reached; ValueError beyond ten million."""
    high = least
    while power_at(high) < power:
        if high > LARGEST_N:
            raise ValueError(f"more than {LARGEST_N} items would be needed for a power of {power}")
        high *= 2
    low = max(high // 2, least - 1)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if power_at(middle) < power else (low, middle)
    return high


def _tango(table: Pairs, difference: float) -> float:
    """Tango's z of paired shares under a true difference (Tango 1998): the variance is the constrained estimate's."""
    gained, lost, n = table.gained, table.lost, table.n
    if difference < 0:
        return -_tango(Pairs(table.both, lost, gained, table.neither), -difference)
    b = 2 * n * difference - lost - gained - (gained - lost) * difference
    c = -lost * difference * (1 - difference)
    share = (np.sqrt(b**2 - 8 * n * c) - b) / (4 * n)
    variance = n * (2 * share + difference * (1 - difference))
    shift = gained - lost - n * difference
    return 0.0 if shift == 0 else float(shift / np.sqrt(variance))


def _limit(table: Pairs, alpha: float, side: int) -> float:
    """The score interval's lower (`side` -1) or upper (1) limit, where the one-sided p value is alpha."""
    estimate, z = table.difference, float(stats.norm.isf(alpha))
    start, end = estimate + side * 1e-12, side * (1 - 1e-12)
    if side * (end - start) <= 0 or side * _tango(table, end) + z > 0:
        return float(side)
    return float(optimize.brentq(lambda at: side * _tango(table, at) + z, start, end, xtol=1e-10))
