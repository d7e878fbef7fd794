"""Two conditions on the same items: tests, intervals and effect sizes; thin over scipy and statsmodels.

The first condition is `a`, the second `b`; a difference is a less b: above zero, a is better. All tests are two-sided.
NaN, infinite values and a comparison without items are refused with a ValueError that says what is wrong.
statsmodels is imported where it is used: it brings pandas and takes a second or two.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special, stats

from engine.stats.shares import wilson

DRAWS = 10_000
# Up to so many distinct differences, resamples are drawn as counts of the values: exact, and at once for any n.
COUNTED_VALUES = 64
CHUNK = 1_000_000
EXACT_UP_TO = 50  # differences without ties: beyond, Wilcoxon's statistic has its normal approximation
DECIMALS = 12  # of a difference, before it is ranked

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Pairs:
    """Counts of items by who was right: both, only a (`gained`), only b (`lost`), neither."""

    both: int
    gained: int
    lost: int
    neither: int

    def __post_init__(self) -> None:
        counts = self.both, self.gained, self.lost, self.neither
        if any(count != int(count) or count < 0 for count in counts):
            raise ValueError(f"counts of pairs must be whole numbers from 0 on, not {counts}")
        if sum(counts) == 0:
            raise ValueError("there are no pairs to compare: all four counts are 0")

    @property
    def n(self) -> int:
        return self.both + self.gained + self.lost + self.neither

    @property
    def a_right(self) -> int:
        return self.both + self.gained

    @property
    def b_right(self) -> int:
        return self.both + self.lost

    @property
    def difference(self) -> float:
        return (self.gained - self.lost) / self.n


@dataclass(frozen=True, slots=True)
class Test:
    """A test's result: `n` items, the statistic, the two-sided p value, the test's name and how p was computed."""

    __test__ = False  # not a class of tests

    n: int
    statistic: float
    p: float
    test: str
    method: str


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure over `n` items with its interval; `lo` and `hi` are None where the method gives none."""

    n: int
    value: float
    lo: float | None
    hi: float | None
    confidence: float
    name: str
    method: str


@dataclass(frozen=True, slots=True)
class Corrected:
    """p values of a family of `n` tests, corrected, in the order given; `rejected` at `alpha`."""

    n: int
    p: tuple[float, ...]
    adjusted: tuple[float, ...]
    rejected: tuple[bool, ...]
    alpha: float
    method: str


def pairs(a: ArrayLike, b: ArrayLike) -> Pairs:
    """Counts of the four outcomes of n items, `a` and `b` being n values of 0 or 1 (or booleans).

    Raises ValueError for other values, for unequal lengths and for no items.
    """
    first, second = scores(a, b)
    if not np.isin(first, (0, 1)).all() or not np.isin(second, (0, 1)).all():
        raise ValueError("outcomes must be 0 or 1; compare other scores with paired_t or wilcoxon")
    one, two = first == 1, second == 1
    return Pairs(int((one & two).sum()), int((one & ~two).sum()), int((~one & two).sum()), int((~one & ~two).sum()))


def mcnemar(table: Pairs, *, exact: bool = True) -> Test:
    """McNemar's test of two shares on the same items (McNemar 1947): exact binomial, or chi-square corrected.

    The exact statistic is the smaller discordant count. The other one is Edwards's (1948, "Note on the correction for
    continuity"), (|gained - lost| - 1)^2 / (gained + lost), with one degree of freedom; as in R's mcnemar.test, it is 0
    where both counts are equal. Without discordant pairs there is nothing to tell a from b: p is 1.
    """
    from statsmodels.stats import contingency_tables

    name = f"McNemar {'exact' if exact else 'continuity-corrected'}"
    method = "binomial distribution of the discordant pairs" if exact else "chi-square with 1 degree of freedom"
    if table.gained == table.lost:
        return Test(table.n, float(table.gained) if exact else 0.0, 1.0, name, method)
    counts = [[table.both, table.gained], [table.lost, table.neither]]
    result = contingency_tables.mcnemar(counts, exact=exact, correction=True)
    return Test(table.n, float(result.statistic), min(float(result.pvalue), 1.0), name, method)


def newcombe(table: Pairs, confidence: float = 0.95) -> Estimate:
    """The difference of two paired shares with a score interval (Newcombe 1998, Stat. Med. 17, 2635-2650, method 10).

    The Wilson limits of both shares are put together with the correlation phi of the outcomes, whose covariance is
    continuity-corrected. Raises ValueError for a confidence that is not between 0 and 1.
    """
    require_share(confidence)
    n, first, second = table.n, table.a_right, table.b_right
    (low_1, high_1), (low_2, high_2) = wilson(first, n, confidence), wilson(second, n, confidence)
    share_1, share_2 = first / n, second / n
    covariance: float = table.both * table.neither - table.gained * table.lost
    if covariance > 0:
        covariance = max(covariance - n / 2, 0)
    # Python's whole numbers, because the product of four counts of 100,000 is beyond 64 bits.
    margins = first * (n - first) * second * (n - second)
    phi = covariance / margins**0.5 if margins else 0.0

    def distance(down: float, up: float) -> float:
        return float(max(down**2 - 2 * phi * down * up + up**2, 0.0) ** 0.5)

    lo = table.difference - distance(share_1 - low_1, high_2 - share_2)
    hi = table.difference + distance(high_1 - share_1, share_2 - low_2)
    method = "Newcombe 1998, method 10 (score)"
    return Estimate(n, table.difference, max(lo, -1.0), min(hi, 1.0), confidence, "difference of shares", method)


def shares_bca(table: Pairs, confidence: float = 0.95, *, draws: int = DRAWS, seed: int = 0) -> Estimate:
    """The difference of two paired shares with a BCa bootstrap interval over items (Efron 1987).

    Resamples are multinomial counts of the discordant and concordant pairs, which is the same as drawing items. No
    interval (None) where all items have the same difference: a resample then shows no spread. Raises ValueError for a
    confidence that is not between 0 and 1 and for fewer than 1 draw.
    """
    values = np.array([1.0, -1.0, 0.0])
    counts = np.array([table.gained, table.lost, table.both + table.neither])
    lo, hi = _bca(values, counts, confidence, draws, seed)
    method = f"BCa bootstrap, {draws} draws, seed {seed}"
    return Estimate(table.n, table.difference, lo, hi, confidence, "difference of shares", method)


def cohen_h(table: Pairs) -> Estimate:
    """Cohen's h, the difference of two shares on the arcsine scale: 2 asin(sqrt(p_a)) - 2 asin(sqrt(p_b)).

    From -pi to pi, without an interval (Cohen 1988, section 6.2).
    """
    from statsmodels.stats.proportion import proportion_effectsize

    value = float(proportion_effectsize(table.a_right / table.n, table.b_right / table.n))
    return Estimate(table.n, value, None, None, 0.95, "Cohen's h", "arcsine difference of shares")


def paired_t(a: ArrayLike, b: ArrayLike) -> Test:
    """Student's paired t test of n scores of each condition (Student 1908), with n - 1 degrees of freedom.

    Identical scores give statistic 0 and p 1. Raises ValueError below two items, and where all differences are the
    same and not zero, because t is then not defined.
    """
    first, second = scores(a, b, at_least=2)
    method = f"t distribution with {len(first) - 1} degrees of freedom"
    if _constant(first, second):
        return Test(len(first), 0.0, 1.0, "paired t", method)
    result = stats.ttest_rel(first, second)
    return Test(len(first), float(result.statistic), float(result.pvalue), "paired t", method)


def wilcoxon(a: ArrayLike, b: ArrayLike) -> Test:
    """Wilcoxon's signed-rank test of n scores of each condition (Wilcoxon 1945).

    Differences of zero are left out, as in the paper; `n` counts all items. The statistic is the smaller rank sum. p is
    exact for at most 50 differences without ties, else from the normal approximation, corrected for ties but not for
    continuity. Differences are rounded to 12 decimals first, so that 0.3 - 0.2 and 0.2 - 0.1 tie. Identical scores give
    statistic 0 and p 1. Raises ValueError for no items.
    """
    first, second = scores(a, b)
    moved = np.round(first - second, DECIMALS)
    moved = moved[moved != 0]
    exact = len(moved) <= EXACT_UP_TO and len(np.unique(np.abs(moved))) == len(moved)
    method = "exact distribution" if exact else "normal approximation"
    if not len(moved):
        return Test(len(first), 0.0, 1.0, "Wilcoxon signed-rank", method)
    result = stats.wilcoxon(moved, method="exact" if exact else "asymptotic")
    return Test(len(first), float(result.statistic), float(result.pvalue), "Wilcoxon signed-rank", method)


def cohen_dz(a: ArrayLike, b: ArrayLike, confidence: float = 0.95) -> Estimate:
    """Cohen's d_z, the mean difference in standard deviations of the differences (Cohen 1988, section 2.3.5).

    The interval inverts the noncentral t distribution of t = d_z sqrt(n) (Steiger and Fouladi 1997). Identical scores
    give 0 without an interval. Raises ValueError below two items and where all differences are the same and not zero.
    """
    require_share(confidence)
    first, second = scores(a, b, at_least=2)
    n, name, method = len(first), "Cohen's d_z", "noncentral t"
    if _constant(first, second):
        return Estimate(n, 0.0, None, None, confidence, name, method)
    t = float(stats.ttest_rel(first, second).statistic)
    tail = (1 - confidence) / 2
    lo, hi = special.nctdtrinc(n - 1, [1 - tail, tail], t) / n**0.5
    return Estimate(n, t / n**0.5, float(lo), float(hi), confidence, name, method)


def mean_bca(a: ArrayLike, b: ArrayLike, confidence: float = 0.95, *, draws: int = DRAWS, seed: int = 0) -> Estimate:
    """The mean difference of n scores of each condition with a BCa bootstrap interval over items (Efron 1987).

    No interval (None) where all differences are the same. Raises ValueError for no items, for a confidence that is not
    between 0 and 1 and for fewer than 1 draw.
    """
    first, second = scores(a, b)
    differences = first - second
    values, counts = np.unique(differences, return_counts=True)
    if len(values) > COUNTED_VALUES:
        values, counts = differences, np.ones(len(differences), dtype=np.int64)
    lo, hi = _bca(values, counts, confidence, draws, seed)
    method = f"BCa bootstrap, {draws} draws, seed {seed}"
    return Estimate(len(first), float(differences.mean()), lo, hi, confidence, "mean difference", method)


def holm(p_values: Sequence[float], alpha: float = 0.05) -> Corrected:
    """Holm's step-down correction, which bounds the family-wise error under any dependence (Holm 1979).

    It is written out because statsmodels' multipletests collects garbage at each call, 40 ms and more beside a model.
    Raises ValueError for a p value that is not from 0 to 1.
    """
    p = _family(p_values, alpha)
    order = np.argsort(p, kind="stable")
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)), 1.0)
    return _corrected(p, adjusted, alpha, "Holm")


def benjamini_hochberg(p_values: Sequence[float], alpha: float = 0.05) -> Corrected:
    """The step-up correction of Benjamini and Hochberg (1995), which bounds the false discovery rate.

    It holds for independent tests and for positive dependence. Raises ValueError for a p value that is not from 0 to 1.
    """
    p = _family(p_values, alpha)
    return _corrected(p, stats.false_discovery_control(p) if len(p) else p, alpha, "Benjamini-Hochberg")


def _family(p_values: Sequence[float], alpha: float) -> Floats:
    require_share(alpha, "alpha")
    p = np.asarray(p_values, dtype=np.float64)
    if not ((p >= 0) & (p <= 1)).all():
        raise ValueError(f"p values must be from 0 to 1, not {p.tolist()}")
    return p


def _corrected(p: Floats, adjusted: Floats, alpha: float, name: str) -> Corrected:
    rejected = tuple((adjusted <= alpha).tolist())
    return Corrected(len(p), tuple(p.tolist()), tuple(adjusted.tolist()), rejected, alpha, name)


def _bca(
    values: Floats, counts: NDArray[np.int64], confidence: float, draws: int, seed: int
) -> tuple[float | None, float | None]:
    """BCa limits of the mean of `values`, each there `counts` times (Efron and Tibshirani 1993, section 14.3).

    A draw equal to the estimate counts half as below it. The acceleration is the jackknife's, which for a mean is the
    skewness of the values over 6 sqrt(n).
    """
    require_share(confidence)
    if draws < 1:
        raise ValueError(f"a bootstrap needs at least 1 draw, not {draws}")
    n = int(counts.sum())
    there = values[counts > 0]
    if np.ptp(there) <= 1e-12 * np.abs(there).max():
        return None, None
    estimate = float(values @ counts) / n
    drawn = _drawn_means(values, counts, draws, np.random.default_rng(seed))
    # A sum taken in another order may differ in its last bit from one that is equal to it.
    near = 1e-12 * np.abs(there).max()
    below = float((drawn < estimate - near).mean() + (drawn <= estimate + near).mean()) / 2
    bias = stats.norm.ppf(np.clip(below, 0.5 / draws, 1 - 0.5 / draws))
    centred = values - estimate
    acceleration = float(counts @ centred**3 / (6 * (counts @ centred**2) ** 1.5))
    z = bias + stats.norm.ppf([(1 - confidence) / 2, (1 + confidence) / 2])
    lo, hi = np.quantile(drawn, stats.norm.cdf(bias + z / (1 - acceleration * z)))
    return float(lo), float(hi)


def _drawn_means(values: Floats, counts: NDArray[np.int64], draws: int, rng: np.random.Generator) -> Floats:
    """Means of `draws` resamples; by counts of the values where they are few, else item by item in chunks."""
    n = int(counts.sum())
    if len(values) <= COUNTED_VALUES:
        return np.asarray(rng.multinomial(n, counts / n, size=draws) @ values / n)
    rows = max(1, CHUNK // n)
    sizes = [min(rows, draws - start) for start in range(0, draws, rows)]
    return np.concatenate([values.take(rng.integers(n, size=(size, n))).mean(axis=1) for size in sizes])


def scores(a: ArrayLike, b: ArrayLike, at_least: int = 1) -> tuple[Floats, Floats]:
    """Both conditions' scores as arrays of floats; ValueError where they can't be compared item by item."""
    first, second = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if first.ndim != 1 or first.shape != second.shape:
        raise ValueError(f"paired scores need one value an item in both: the shapes are {first.shape}, {second.shape}")
    if len(first) < at_least:
        raise ValueError(f"there are {len(first)} paired items; at least {at_least} are needed")
    for name, scores in (("first", first), ("second", second)):
        if not np.isfinite(scores).all():
            bad = int(np.flatnonzero(~np.isfinite(scores))[0])
            raise ValueError(f"the {name} condition's score of item {bad} (from 0) is {scores[bad]}, not a number")
    return first, second


def _constant(first: Floats, second: Floats) -> bool:
    """Whether the scores are identical; ValueError where they all differ by the same amount that is not zero."""
    differences = first - second
    size = max(float(np.abs(first).max()), float(np.abs(second).max()))
    if float(np.ptp(differences)) > 1e-12 * size:
        return False
    if float(np.abs(differences).max()) > 1e-12 * size:
        raise ValueError(f"all differences are {differences[0]:g}: without a spread this is not defined; use wilcoxon")
    return True


def require_share(value: float, name: str = "confidence") -> None:
    """Raise ValueError unless a level or a probability lies between 0 and 1."""
    if not 0 < value < 1:
        raise ValueError(f"{name} must be between 0 and 1, not {value}")
