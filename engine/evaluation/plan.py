"""What an evaluation of a run would ask now: conditions, items, and how many answers are missing."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engine.errors import EvaluationError
from engine.evaluation import CAPABILITIES, SPLITS, Item
from engine.evaluation.conditions import Condition, conditions_of
from engine.evaluation.items import item_set, scorer_sha256
from engine.sections import EvaluationSpec
from engine.spec import StageSpec
from store import Reader


@dataclass(frozen=True)
class EvaluationPlan:
    """An evaluation that can be started. `missing` counts the answers that each condition still has to give."""

    conditions: Sequence[Condition]
    items: Sequence[Item]
    items_sha256: str
    scorer_sha256: str
    missing: Mapping[str, int]
    settings: EvaluationSpec

    @property
    def tuned(self) -> list[str]:
        return [one.name for one in self.conditions if one.adapter is not None]


def evaluation_plan(reader: Reader, run: Mapping[str, Any], spec: StageSpec) -> EvaluationPlan:
    """What would be asked of a run's models, nothing being touched. Raises EvaluationError where its spec has none."""
    settings = required(run, spec)
    frozen = item_set()
    capabilities = [name for name in CAPABILITIES if name == settings.capability or settings.conversations]
    items = [
        item
        for capability in capabilities
        for split in SPLITS
        for item in frozen.of(capability, split, settings.items_per_type)
    ]
    conditions = conditions_of(reader, run, settings.reference)
    wanted = {item.item_id for item in items}
    answered: dict[str, int] = {}
    for row in reader.query(
        "SELECT condition, item_id FROM evaluation_answers WHERE run_id = ? AND items_sha256 = ? AND scorer_sha256 = ?",
        [run["run_id"], frozen.sha256, scorer_sha256()],
    ):
        if row["item_id"] in wanted:
            answered[row["condition"]] = answered.get(row["condition"], 0) + 1
    missing = {one.name: len(items) - answered.get(one.name, 0) for one in conditions}
    return EvaluationPlan(conditions, items, frozen.sha256, scorer_sha256(), missing, settings)


def required(run: Mapping[str, Any], spec: StageSpec) -> EvaluationSpec:
    """The spec's section `evaluation`; EvaluationError where it has none."""
    if spec.evaluation is None:
        raise EvaluationError(
            f"the spec of run {run['run_id']} has no section 'evaluation'",
            "Begin a run with a newer spec. Nothing was asked.",
        )
    return spec.evaluation


ANSWERS = """
    SELECT a.*, i.capability, i.item_type, i.template, i.split, i.history, i.prompt, i.reference,
           i.facts
    FROM evaluation_answers a JOIN evaluation_items i ON i.items_sha256 = a.items_sha256 AND i.item_id = a.item_id
    WHERE a.run_id = ? AND a.items_sha256 = ?
    ORDER BY a.condition, a.item_id
"""


def answers_of(reader: Reader, run_id: str, items_sha256: str) -> list[dict[str, Any]]:
    """All answers of a run to one frozen set, each with what is known of its item."""
    rows = reader.query(ANSWERS, [run_id, items_sha256])
    return [{**row, "facts": json.loads(row["facts"]), "history": json.loads(row["history"])} for row in rows]
