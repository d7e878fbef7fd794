"""What two conditions differ by on given items: the figures of one result, what decides first, then what describes.

What decides takes templates as draws (engine.stats.clusters); what describes and takes items for independent is named
so wherever it is shown.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from scipy import special

from engine.evaluation.inference import ENOUGH_CLUSTERS
from engine.stats.clusters import (
    Clustered,
    Clusters,
    clustered_effect,
    clustered_power,
    design_of,
    mean_of,
    sign_flip,
)
from engine.stats.paired import Pairs, cohen_h, mcnemar, newcombe, shares_bca
from engine.stats.power import equivalence
from engine.stats.shares import wilson

INTERVAL = "t with CR2's error, templates as clusters"
NO_SPREAD = "Newcombe 1998 of one pair a template, because no template differs from its type"

Row = dict[str, Any]


def clustered_test(clusters: Clusters) -> Clustered | None:
    """The cluster-robust test; None where no template differs from its type, which leaves no error to judge by."""
    try:
        found = mean_of(clusters)
    except ValueError:  # one template, or no spread between those of a type
        return None
    return found if found.se else None  # no item differs, which no interval of width 0 should claim to be sure of


def decided(table: Pairs, clusters: Clusters, tested: Clustered | None) -> Row:
    """Test, p and interval. Without spread between templates their sign flips decide, which need none."""
    if tested is not None:
        return {
            "clusters": tested.clusters, "test": tested.test, "p": tested.p, "lo": tested.lo, "hi": tested.hi,
            "interval_method": INTERVAL,
            "clustered_lo": tested.lo, "clustered_hi": tested.hi, "clustered_p": tested.p, "se": tested.se,
            "df": tested.df, "icc": tested.icc,
        }  # fmt: skip
    flipped, interval = sign_flip(clusters), newcombe(_one_a_cluster(table, clusters))
    assert interval.lo is not None and interval.hi is not None
    return {
        "clusters": len(clusters.sizes), "test": flipped.test, "p": flipped.p, "lo": min(interval.lo, table.difference),
        "hi": max(interval.hi, table.difference), "interval_method": NO_SPREAD,
        "clustered_lo": None, "clustered_hi": None, "clustered_p": None, "se": None, "df": None, "icc": None,
    }  # fmt: skip


def _one_a_cluster(table: Pairs, clusters: Clusters) -> Pairs:
    """The same shares of as many pairs as there are templates, which is all that items that are alike are worth."""
    groups = len(clusters.sizes)
    both, gained, lost = (round(count * groups / table.n) for count in (table.both, table.gained, table.lost))
    return Pairs(both, gained, lost, max(groups - both - gained - lost, 0))


@lru_cache(maxsize=100_000)
def by_items(gained: int, lost: int) -> Row:
    """McNemar's test, exact and by the corrected chi-square, which take items for independent.

    Items on which both conditions agree do not matter.
    """
    table = Pairs(1, gained, lost, 0)
    exact, corrected = mcnemar(table), mcnemar(table, exact=False)
    return {"mcnemar_p": exact.p, "chi2": corrected.statistic, "p_chi2": corrected.p}


def described(table: Pairs, clusters: Clusters, draws: int) -> Row:
    """Intervals of the shares, the sign flips of templates, and what methods say that take items for independent."""
    before, after, items = wilson(table.b_right, table.n), wilson(table.a_right, table.n), newcombe(table)
    drawn = shares_bca(table, draws=draws) if draws else None
    effect = cohen_h(table)
    return {
        "before_lo": before[0], "before_hi": before[1], "after_lo": after[0], "after_hi": after[1],
        "flip_p": sign_flip(clusters).p, "newcombe_lo": items.lo, "newcombe_hi": items.hi,
        "bca_lo": drawn.lo if drawn else None, "bca_hi": drawn.hi if drawn else None,
        "effect": effect.value, "effect_name": effect.name,
    }  # fmt: skip


def planning(
    table: Pairs,
    clusters: Clusters,
    tested: Clustered | None,
    alpha: float,
    expected: Mapping[str, float],
    power: float,
) -> Row:
    """The design effect, power for the expected effect, and the smallest effect that these templates could show."""
    found: Row = {"design_effect": None, "power": None, "detectable": None}
    if len(clusters.sizes) < ENOUGH_CLUSTERS:
        return found
    design = design_of(clusters.sizes, clusters.stratum)
    icc = expected["icc"] if tested is None or tested.icc is None else tested.icc
    found["design_effect"] = design.effect(icc)
    if not 0 < alpha < power:
        return found | {"power": 0.0}
    discordant = (table.gained + table.lost) / table.n
    if discordant > 0:
        found["detectable"] = _detectable(design, discordant, icc, power, alpha).effect
    at = _power(expected["gain"], expected["loss"], design, expected["icc"], alpha)
    return found | {"power": at.power}


def not_worse(table: Pairs, clusters: Clusters, tested: Clustered | None, margin: float) -> Row:
    """Whether a loss of `margin` or more is excluded: one side of two one-sided tests (Schuirmann 1987).

    By the same error as the difference itself; without one by Tango's score of one pair a template.
    """
    if tested is None:
        p = equivalence(_one_a_cluster(table, clusters), margin).p_not_worse
    else:
        p = float(special.stdtr(tested.df, -(tested.difference + margin) / tested.se))
    return {"margin": margin, "p_not_worse": p}


_power = lru_cache(maxsize=10_000)(clustered_power)
_detectable = lru_cache(maxsize=10_000)(clustered_effect)
