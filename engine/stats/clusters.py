"""Paired differences of items that come in clusters: the mean with CR2's error, a sign-flip test, likeness, power.

An item belongs to a cluster (what made it, such as its template), a cluster to a stratum (such as its item type).
Clusters are taken as draws, strata as fixed: what is estimated is the mean over the strata that there are, for clusters
to come.
numpy and scipy alone: a figure costs a fraction of a millisecond, so that thousands of evaluations can be simulated.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, special, stats

from engine.stats.paired import Floats, Test, require_share, scores

CR2 = "cluster-robust t (CR2)"
SIGN_FLIP = "sign flips of clusters"
FLIPS = 9_999  # drawn where sums of clusters are no whole numbers
LARGEST_CLUSTERS = 1_000_000
NEAR = 1e-12


@dataclass(frozen=True, slots=True)
class Clusters:
    """Differences summed by cluster: how many items, their sum, that of squares, and each cluster's stratum."""

    sizes: Floats
    sums: Floats
    squares: Floats
    stratum: NDArray[np.int64]

    def only(self, chosen: NDArray[np.bool_]) -> Clusters:
        """Some of the clusters."""
        return Clusters(self.sizes[chosen], self.sums[chosen], self.squares[chosen], self.stratum[chosen])


@dataclass(frozen=True, slots=True)
class ClusterDesign:
    """How `n` items lie in clusters; `size` is a cluster's size weighted by itself, `df` the degrees of freedom."""

    n: int
    clusters: int
    strata: int
    size: float
    df: float

    def effect(self, icc: float) -> float:
        """Kish's (1965) design effect: by how much clusters that are alike by `icc` widen a variance."""
        return 1 + (self.size - 1) * icc


@dataclass(frozen=True, slots=True)
class Clustered:
    """A mean difference of `n` items in `clusters` groups; `se_items` is the error that ignores the groups.

    `icc` is the likeness of differences within a cluster, None where no cluster has two items.
    """

    n: int
    clusters: int
    difference: float
    se: float
    se_items: float
    df: float
    icc: float | None
    lo: float
    hi: float
    confidence: float
    statistic: float
    p: float
    test: str
    method: str


@dataclass(frozen=True, slots=True)
class ClusterPower:
    """The power of CR2's test for a design; `effect` is None where no effect reaches the power."""

    design: ClusterDesign
    icc: float
    effect: float | None
    alpha: float
    power: float


def clusters_of(
    differences: ArrayLike, clusters: Sequence[Hashable], strata: Sequence[Hashable] | None = None
) -> Clusters:
    """Differences of items summed by cluster, a cluster's name counting within its stratum.

    Raises ValueError where there is not one name for each item.
    """
    values = np.asarray(differences, dtype=np.float64)
    of = [0] * len(values) if strata is None else strata
    if len(clusters) != len(values) or len(of) != len(values):
        raise ValueError(f"there are {len(values)} items and {len(clusters)} names of clusters")
    numbers: dict[Hashable, int] = {}
    names = zip(of, clusters, strict=True)
    member = np.array([numbers.setdefault(name, len(numbers)) for name in names], dtype=np.int64)
    kinds = {name: number for number, name in enumerate(dict.fromkeys(of))}
    return summed(values, member, np.array([kinds[name[0]] for name in numbers], dtype=np.int64))  # type: ignore[index]


def summed(differences: Floats, member: NDArray[np.int64], stratum: NDArray[np.int64]) -> Clusters:
    """The same of numbers: an item's cluster in `member`, a cluster's stratum in `stratum`; empty ones are left out."""
    groups = len(stratum)
    sizes = np.bincount(member, minlength=groups)
    sums, squares = (np.bincount(member, one, groups).astype(np.float64) for one in (differences, differences**2))
    there = sizes > 0
    return Clusters(sizes[there].astype(np.float64), sums[there], squares[there], stratum[there])


def clustered(
    a: ArrayLike,
    b: ArrayLike,
    clusters: Sequence[Hashable],
    strata: Sequence[Hashable] | None = None,
    confidence: float = 0.95,
) -> Clustered:
    """The mean difference of n items with an error that allows for items of one cluster being alike.

    `clusters` names each item's group, such as its template, and `strata` what the groups are of, such as its type.
    Raises ValueError as `mean_of` does, and where the scores cannot be compared item by item.
    """
    first, second = scores(a, b, at_least=2)
    return mean_of(clusters_of(first - second, clusters, strata), confidence)


def mean_of(found: Clusters, confidence: float = 0.95) -> Clustered:
    """The mean over all items, the strata weighted by their items, with CR2's error and Satterthwaite's freedom.

    The error is the bias-reduced sandwich of Bell and McCaffrey (2002) about the means of the strata, exact where items
    are independent and alike; t has the degrees of freedom of their Satterthwaite approximation (Pustejovsky and Tipton
    2018). Both have a closed form here, because the design is the means of strata. Strata of one cluster are put
    together (collapsed strata: Wolter 2007, section 2.5), which can only widen the error. Identical scores give error 0
    and p 1. Raises ValueError below two clusters, and where no cluster differs from the mean of its stratum: there is
    then no spread to judge it by.
    """
    require_share(confidence)
    stratum = _collapsed(found.stratum)
    n = found.sizes.sum()
    mean, squares = float(found.sums.sum() / n), float(found.squares.sum())
    df = freedom(found.sizes, stratum)
    groups = len(found.sizes)
    method = f"{groups} clusters, t distribution with {df:.1f} degrees of freedom (Satterthwaite)"
    if squares == 0:
        return Clustered(int(n), groups, 0.0, 0.0, 0.0, df, None, 0.0, 0.0, confidence, 0.0, 1.0, CR2, method)
    items, sums = np.bincount(stratum, found.sizes), np.bincount(stratum, found.sums)
    there = items > 0
    means = np.divide(sums, items, out=np.zeros_like(sums), where=there)
    residual = found.sums - found.sizes * means[stratum]
    if np.abs(residual).max() <= NEAR * max(np.abs(found.sums).max(), squares**0.5):
        raise ValueError("no cluster differs from the mean of its stratum; the clustered error is not defined")
    leverage = found.sizes / items[stratum]
    se = float(np.sqrt((residual**2 / (1 - leverage)).sum())) / n
    spread = squares - float((items * means**2).sum())
    se_items = float(np.sqrt(spread / (n - there.sum()) / n)) if n > there.sum() else float("nan")
    statistic, half = mean / se, float(special.stdtrit(df, (1 + confidence) / 2)) * se
    return Clustered(
        n=int(n), clusters=groups, difference=mean, se=float(se), se_items=se_items, df=df,
        icc=_icc(found, stratum, means), lo=float(mean - half), hi=float(mean + half), confidence=confidence,
        statistic=float(statistic), p=float(2 * special.stdtr(df, -abs(statistic))), test=CR2, method=method,
    )  # fmt: skip


def freedom(sizes: Floats, stratum: NDArray[np.int64]) -> float:
    """Satterthwaite's degrees of freedom of CR2's variance where items are independent and of one variance.

    G - 1 for G clusters of one size in one stratum. `stratum` has two clusters at least of each stratum.
    """
    items, weights = np.bincount(stratum, sizes), sizes**2 / (1 - sizes / np.bincount(stratum, sizes)[stratum])
    whole, own, there = np.bincount(stratum, weights), np.bincount(stratum, weights**2), items > 0
    across = ((whole[there] ** 2 - own[there]) / items[there] ** 2).sum()
    return float(sizes.sum() ** 2 / ((sizes**2).sum() + across))


def sign_flip(found: Clusters) -> Test:
    """The permutation test that turns the signs of whole clusters (Fisher 1935; Cameron, Gelbach and Miller 2008).

    It is exact, with whatever number of clusters, where a cluster's sum is as likely as its opposite. The statistic is
    the sum of all differences; p is summed over all flips where sums are whole numbers, else drawn with a fixed seed.
    Without a difference p is 1.
    """
    sums = np.abs(found.sums[found.sums != 0])
    whole, n = abs(float(found.sums.sum())), int(found.sizes.sum())
    if (sums == np.round(sums)).all():
        # A sum of signs is twice the sum of those that stay above zero, less all.
        chances = np.ones(1)
        for value, times in zip(*np.unique(sums.astype(np.int64), return_counts=True), strict=True):
            step = np.zeros(int(value) * int(times) + 1)
            step[:: int(value)] = stats.binom.pmf(np.arange(times + 1), times, 0.5)
            chances = np.convolve(chances, step)
        far = np.abs(2 * np.arange(len(chances)) - (len(chances) - 1)) >= whole
        return Test(n, whole, min(float(chances[far].sum()), 1.0), SIGN_FLIP, "exact distribution of all flips")
    signs = np.random.default_rng(0).integers(2, size=(FLIPS, len(sums))) * 2.0 - 1
    as_far = int((np.abs(signs @ sums) >= whole * (1 - NEAR)).sum())
    return Test(n, whole, (1 + as_far) / (1 + FLIPS), SIGN_FLIP, f"{FLIPS} flips, seed 0")


def design_of(sizes: Floats, stratum: NDArray[np.int64]) -> ClusterDesign:
    """How items would lie in clusters of these sizes. Raises ValueError below two clusters."""
    of = _collapsed(stratum)
    n = float(sizes.sum())
    size = float((sizes**2).sum() / n)
    return ClusterDesign(int(n), len(sizes), len(np.unique(of)), size, freedom(sizes, of))


def clustered_power(gain: float, loss: float, design: ClusterDesign, icc: float, alpha: float = 0.05) -> ClusterPower:
    """The power of CR2's test where shares `gain` and `loss` of the items are expected to become right and wrong.

    The variance of a difference is gain + loss - (gain - loss)^2, times the design effect 1 + (m - 1) icc over n (Kish
    1965; m: cluster sizes weighted by themselves); t squared is then noncentral F. Strata are taken to gain alike,
    which overstates the variance where they do not. Raises ValueError for shares that are no probabilities, for a
    likeness that is not from 0 to 1, and for an alpha that is not between 0 and 1.
    """
    require_share(alpha, "alpha")
    if not (gain >= 0 and loss >= 0 and 0 < gain + loss <= 1):
        raise ValueError(f"gain and loss must be shares whose sum is above 0 and at most 1, not {gain} and {loss}")
    if not 0 <= icc <= 1:
        raise ValueError(f"the likeness of a cluster's items must be from 0 to 1, not {icc}")
    return ClusterPower(design, icc, gain - loss, alpha, _power(gain, loss, design, icc, alpha))


def clusters_needed(
    gain: float, loss: float, design: ClusterDesign, icc: float, power: float = 0.8, alpha: float = 0.05
) -> ClusterPower:
    """The design with the fewest clusters that has `power`, sizes and strata being those of `design`.

    Raises ValueError as clustered_power does, and where the shares are equal or a million clusters would not do.
    """
    require_share(power, "power")
    clustered_power(gain, loss, design, icc, alpha)
    if gain == loss:
        raise ValueError("gain and loss are equal: there is no effect that a number of items could show")

    def of(clusters: int) -> ClusterDesign:
        times = clusters / design.clusters
        return ClusterDesign(round(design.n * times), clusters, design.strata, design.size, design.df * times)

    high = low = max(design.strata, 2)
    while _power(gain, loss, of(high), icc, alpha) < power:
        if high > LARGEST_CLUSTERS:
            raise ValueError(f"more than {LARGEST_CLUSTERS} clusters would be needed for a power of {power}")
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _power(gain, loss, of(middle), icc, alpha) < power else (low, middle)
    return clustered_power(gain, loss, of(high), icc, alpha)


def clustered_effect(
    design: ClusterDesign, discordant: float, icc: float, power: float = 0.8, alpha: float = 0.05
) -> ClusterPower:
    """The smallest difference of shares that CR2's test shows with `power`, a share `discordant` of items being so.

    The effect is None where not even a difference of that size, all on one side, reaches the power. Raises ValueError
    as clustered_power does, and for a power that is not above alpha.
    """
    require_share(power, "power")
    most = clustered_power(discordant, 0.0, design, icc, alpha)
    if power <= alpha:
        raise ValueError(f"a power of {power} is no more than the test's error without any effect, {alpha}")
    if most.power < power:
        return ClusterPower(design, icc, None, alpha, most.power)

    def short(effect: float) -> float:
        return _power((discordant + effect) / 2, (discordant - effect) / 2, design, icc, alpha) - power

    return ClusterPower(design, icc, float(optimize.brentq(short, 0.0, discordant)), alpha, power)


def _power(gain: float, loss: float, design: ClusterDesign, icc: float, alpha: float) -> float:
    if gain == loss:
        return alpha
    variance = (gain + loss - (gain - loss) ** 2) * design.effect(icc)
    if variance <= 0:
        return 1.0
    critical = special.stdtrit(design.df, 1 - alpha / 2) ** 2
    return min(float(stats.ncf.sf(critical, 1, design.df, design.n * (gain - loss) ** 2 / variance)), 1.0)


def _collapsed(stratum: NDArray[np.int64]) -> NDArray[np.int64]:
    """Strata as they can be judged: those of one cluster are one, and a last one of one joins the smallest."""
    if len(stratum) < 2:
        raise ValueError("a clustered standard error needs at least two clusters")
    counts = np.bincount(stratum)
    single = np.flatnonzero(counts == 1)
    if not len(single):
        return stratum
    others = np.flatnonzero(counts > 1)
    joined = single if len(single) > 1 else np.append(single, others[np.argmin(counts[others])])
    return np.where(np.isin(stratum, joined), joined[0], stratum)


def _icc(found: Clusters, stratum: NDArray[np.int64], means: Floats) -> float | None:
    """The likeness of a cluster's items within strata: the estimate of the analysis of variance, 0 to 1.

    Of Donner (1986), with strata as fixed; None where no cluster has two items or no item differs within a stratum.
    """
    n, groups, strata = found.sizes.sum(), len(found.sizes), len(np.unique(stratum))
    if n == groups or groups == strata:
        return None
    within = float((found.squares - found.sums**2 / found.sizes).sum()) / (n - groups)
    between = float((found.sizes * (found.sums / found.sizes - means[stratum]) ** 2).sum()) / (groups - strata)
    items, squared = np.bincount(stratum, found.sizes), np.bincount(stratum, found.sizes**2)
    there = items > 0
    size = (n - float((squared[there] / items[there]).sum())) / (groups - strata)
    whole = between + (size - 1) * within
    return min(max((between - within) / whole, 0.0), 1.0) if whole > 0 else None
