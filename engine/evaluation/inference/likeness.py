"""How alike items of one template are: the prior of the spec, and what a run's own base answers say of it.

Before a tuned model has answered nobody knows how its gains will vary over templates. What the base conditions differ
by on the same items does vary, and is known: a pilot that looks at no result.
"""

from __future__ import annotations

from itertools import combinations
from typing import Any

from engine.evaluation import BASE_CONDITIONS
from engine.evaluation.inference import ENOUGH_CLUSTERS
from engine.spec.sections import EvaluationSpec
from engine.stats.clusters import clusters_of, mean_of
from store.read import Reader

_ANSWERED = """
    SELECT a.condition, a.item_id, a.correct, i.item_type, i.template FROM evaluation_answers a
    JOIN evaluation_items i ON i.items_sha256 = a.items_sha256 AND i.item_id = a.item_id
    WHERE a.run_id = ? AND a.items_sha256 = ? AND i.capability = ? AND a.condition IN (SELECT unnest(?::VARCHAR[]))
    AND a.correct IS NOT NULL ORDER BY a.item_id
"""


def likeness(reader: Reader, run_id: str, items_sha256: str | None, spec: EvaluationSpec) -> dict[str, Any]:
    """The intra-cluster correlation to plan with: {icc, prior, pilot, conditions, clusters}.

    `pilot` is the largest over pairs of base conditions that have answered, None where none has enough templates; a
    base that gains nothing from a prompt says little, so `icc` is the larger of pilot and prior.
    """
    rows = reader.query(_ANSWERED, [run_id, items_sha256, spec.capability, list(BASE_CONDITIONS)])
    right: dict[str, dict[str, bool]] = {}
    place = {row["item_id"]: (row["item_type"], row["template"]) for row in rows}
    for row in rows:
        right.setdefault(row["condition"], {})[row["item_id"]] = row["correct"]
    found: dict[str, Any] = {"icc": spec.expected_icc, "prior": spec.expected_icc, "pilot": None}
    for one, other in combinations(right, 2):
        both = [item for item in place if item in right[one] and item in right[other]]
        differences = [float(right[one][item]) - float(right[other][item]) for item in both]
        clusters = clusters_of(differences, [place[item][1] for item in both], [place[item][0] for item in both])
        if len(clusters.sizes) < ENOUGH_CLUSTERS:
            continue
        try:
            icc = mean_of(clusters).icc
        except ValueError:  # no template differs from its type
            continue
        if icc is not None and (found["pilot"] is None or icc > found["pilot"]):
            found |= {"pilot": icc, "conditions": [one, other], "clusters": len(clusters.sizes)}
    found["icc"] = max(spec.expected_icc, found["pilot"] or 0.0)
    return found
