"""A difference that was measured several times, each time after training with another seed, on the same items.

Items are nested in clusters (templates) and strata (item types), and crossed with seeds: every seed answered every
item. Clusters and seeds are taken as draws, strata as fixed. The variance of the mean over both is the sum of what
clusters make, by CR2's error of the differences averaged over seeds, and of what seeds make beyond the items' share in
it: the two-way crossed analysis of variance with random effects (Brennan 2001, Generalizability Theory, section 3.2;
the same three parts as two-way clustering, Cameron, Gelbach and Miller 2011). With few seeds their variance is hardly
known, which Satterthwaite's degrees of freedom carry into the interval.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from engine.stats.clusters import Clustered, mean_of, summed
from engine.stats.paired import Floats, require_share

FEWEST = 3  # seeds: of two, t has one degree of freedom and the standard deviation may be 32 times what was found
METHOD = "templates and seeds crossed, t with Satterthwaite's degrees of freedom"


@dataclass(frozen=True, slots=True)
class OverSeeds:
    """The mean difference over `seeds` and `n` items in `clusters`; without an interval below FEWEST seeds.

    `se_clusters` is the part of `se` that clusters make. `between` is the standard deviation of the difference between
    seeds on infinitely many items, with its 95 % interval from `between_lo` to `between_hi`.
    """

    seeds: int
    n: int
    clusters: int
    differences: tuple[float, ...]
    difference: float
    se: float | None
    df: float | None
    lo: float | None
    hi: float | None
    se_clusters: float | None
    between: float
    between_lo: float
    between_hi: float


def over_seeds(
    differences: Floats, member: NDArray[np.int64], stratum: NDArray[np.int64], confidence: float = 0.95
) -> OverSeeds:
    """What a table of differences says, a row for each seed and a column for each item.

    `member` numbers the items' clusters and `stratum` the clusters' strata. The interval between seeds is that of a
    variance (chi-square) less what the items make of it, which is the error of each seed's deviations from the items'
    means. Raises ValueError below two seeds or two clusters.
    """
    require_share(confidence)
    seeds, n = differences.shape
    if seeds < 2:
        raise ValueError("a spread between seeds needs at least two of them")
    means = differences.mean(axis=1)
    whole = _tested(differences.mean(axis=0), member, stratum)
    # What items alone make seeds differ by: the variance of a seed's mean deviation, of seeds - 1 that are free.
    apart = (_tested(row, member, stratum) for row in differences - differences.mean(axis=0))
    by_items = sum(one.se**2 for one in apart if one is not None) / (seeds - 1)
    variance = float(means.var(ddof=1))
    tails = ((1 + confidence) / 2, (1 - confidence) / 2)
    low, high = (float((seeds - 1) * variance / special.chdtri(seeds - 1, 1 - tail)) for tail in tails)
    between, between_lo, between_hi = (float(max(one - by_items, 0.0) ** 0.5) for one in (variance, low, high))
    groups = len(np.unique(member))
    found = OverSeeds(
        seeds, n, groups, tuple(map(float, means)), float(means.mean()), None, None, None, None,
        None if whole is None else whole.se, between, between_lo, between_hi,
    )  # fmt: skip
    if seeds < FEWEST or whole is None:
        return found
    se = float((whole.se**2 + between**2 / seeds) ** 0.5)
    if not se:
        return found
    df = float(se**4 / (whole.se**4 / whole.df + (variance / seeds) ** 2 / (seeds - 1)))
    half = float(special.stdtrit(df, (1 + confidence) / 2)) * se
    return OverSeeds(
        seeds, n, groups, found.differences, found.difference, se, df, found.difference - half,
        found.difference + half, whole.se, between, between_lo, between_hi,
    )  # fmt: skip


def _tested(differences: Floats, member: NDArray[np.int64], stratum: NDArray[np.int64]) -> Clustered | None:
    """The clustered mean; None where no cluster differs from its stratum."""
    clusters = summed(differences, member, stratum)
    if len(clusters.sizes) < 2:
        raise ValueError("a clustered standard error needs at least two clusters")
    try:
        return mean_of(clusters)
    except ValueError:
        return None
