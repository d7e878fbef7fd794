"""What is no yes or no about answers to the same test items: how many of the verifier's rules they meet, their length.

The paired t test with d_z and Wilcoxon's beside it take items for independent; what is shown first allows for items of
one template being alike. None of it carries a claim: it says whether a gain hangs on one rule, or came with longer
answers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np

from engine.evaluation import CAPABILITIES
from engine.evaluation.registration import ENOUGH_CLUSTERS, comparisons
from engine.stats.clusters import CR2, clusters_of, mean_of
from engine.stats.effects import T_TEST, paired_means
from engine.stats.paired import benjamini_hochberg

RULES = ("strict", "correct", "loose")
Row = dict[str, Any]


def _grade(row: Mapping[str, Any]) -> float:
    return sum(bool(row[name]) for name in RULES) / len(RULES)


MEASURES: dict[str, Callable[[Mapping[str, Any]], float]] = {
    "grade": _grade,
    "tokens": lambda row: float(row["n_tokens"]),
}


def graded(answers: Sequence[Mapping[str, Any]], now: datetime) -> list[Row]:
    """Rows of `evaluation_scores` without their run_id, of every planned comparison of decided test answers."""
    by: dict[str, dict[str, dict[str, Mapping[str, Any]]]] = {}
    for row in answers:
        if row["split"] == "test" and row["correct"] is not None:
            by.setdefault(row["capability"], {}).setdefault(row["condition"], {})[row["item_id"]] = row
    rows: list[Row] = []
    for capability in CAPABILITIES:
        of = by.get(capability, {})
        for before, after in comparisons(of)[2]:
            items = sorted(of[before].keys() & of[after].keys())
            places = [(of[after][item]["item_type"], of[after][item]["template"]) for item in items]
            for measure, value in MEASURES.items():
                if items:
                    a = [value(of[after][item]) for item in items]
                    b = [value(of[before][item]) for item in items]
                    key: Row = {
                        "capability": capability,
                        "before": before,
                        "after": after,
                        "measure": measure,
                        "at": now,
                    }
                    rows.append(key | compared_scores(a, b, places))
    tested = [row for row in rows if row["p"] is not None]
    for row, q in zip(tested, benjamini_hochberg([row["p"] for row in tested]).adjusted, strict=True):
        row["q"] = q
    return rows


def compared_scores(a: Sequence[float], b: Sequence[float], places: Sequence[tuple[str, str]]) -> Row:
    """What two conditions' scores of the same items differ by; `places` are each item's type and its template in it.

    The figures of `evaluation_scores`; p and interval are None of fewer than ten templates, and without a spread
    between those of a type.
    """
    found = paired_means(a, b)
    types, templates = zip(*places, strict=True)
    clusters = clusters_of(np.subtract(a, b), templates, types)
    row: Row = {
        "n": found.n, "clusters": len(clusters.sizes), "before_mean": found.against_mean, "after_mean": found.with_mean,
        "difference": found.difference, "lo": None, "hi": None, "test": CR2, "p": None, "q": None,
        "bca_lo": found.lo, "bca_hi": found.hi, "dz": None, "dz_lo": None, "dz_hi": None, "t_p": None,
    }  # fmt: skip
    if found.test == T_TEST:
        row |= {"dz": found.effect, "dz_lo": found.effect_lo, "dz_hi": found.effect_hi, "t_p": found.p}
        row |= {"wilcoxon_p": found.beside_p, "rank_biserial": found.beside_effect}
    else:
        row |= {"wilcoxon_p": found.p, "rank_biserial": found.effect}
    if len(clusters.sizes) < ENOUGH_CLUSTERS:  # described only
        return row
    try:
        tested = mean_of(clusters)
    except ValueError:  # no spread between the templates of a type
        return row
    return row | ({"lo": tested.lo, "hi": tested.hi, "p": tested.p} if tested.se else {})
