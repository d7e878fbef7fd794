"""What an evaluation of a run would ask now: conditions, items, and how many answers are missing."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engine.core.errors import EvaluationError
from engine.evaluation import CAPABILITIES, REFERENCE, SPLITS, Item
from engine.evaluation.conditions import Condition, conditions_of
from engine.evaluation.items import EARLIER, ItemSet, item_set
from engine.evaluation.verifiers import scorer_sha256
from engine.spec.sections import EvaluationSpec
from engine.spec.stage import StageSpec
from store.names import REPEAT_OF
from store.read import Reader


@dataclass(frozen=True)
class EvaluationPlan:
    """An evaluation that can be started.

    `missing` counts the answers that each condition still has to give; those of an adapter that was replaced since, or
    of another length limit, do not count.
    """

    conditions: Sequence[Condition]
    items: Sequence[Item]
    items_sha256: str
    scorer_sha256: str
    missing: Mapping[str, int]
    settings: EvaluationSpec


def evaluation_plan(reader: Reader, run: Mapping[str, Any], spec: StageSpec) -> EvaluationPlan:
    """What would be asked of a run's models, nothing being touched. Raises EvaluationError where its spec has none.

    What repeats a run gives as long answers as that did, or they would not be compared.
    """
    settings = required(run, spec)
    limit = _limit_of_repeated(reader, run["run_id"])
    if limit is not None:
        settings = settings.model_copy(update={"max_tokens": limit})
    frozen = own_items(reader, run["run_id"])
    capabilities = [name for name in CAPABILITIES if name == settings.capability or settings.conversations]
    items = [
        item
        for capability in capabilities
        for split in SPLITS
        for item in frozen.of(capability, split, settings.items_per_type)
    ]
    conditions = conditions_of(reader, run, settings)
    wanted = {item.item_id for item in items}
    of = {one.name: one for one in conditions}
    missing = {one.name: len(items) for one in conditions}
    for row in reader.query(
        "SELECT a.condition, a.item_id, a.fingerprint, (c.decoding->>'$.max_tokens')::INTEGER AS max_tokens "
        "FROM evaluation_answers a LEFT JOIN completions c USING (request_id) "
        "WHERE a.run_id = ? AND a.items_sha256 = ?",
        [run["run_id"], frozen.sha256],
    ):
        one = of.get(row["condition"])
        if one is None or row["item_id"] not in wanted or row["max_tokens"] not in (None, settings.max_tokens):
            continue
        missing[one.name] -= one.fingerprint in (None, row["fingerprint"])
    return EvaluationPlan(conditions, items, frozen.sha256, scorer_sha256(), missing, settings)


def own_items(reader: Reader, run_id: str) -> ItemSet:
    """The frozen set that a run was asked, or has registered, where it is one of an earlier version; else the newest.

    What a run has answered, registered and been gated on stays comparable: it's asked no other items halfway. One that
    repeats a run is asked what that was.
    """
    asked = reader.items_asked(run_id)
    if asked is None and (of := repeated(reader, run_id)):
        return own_items(reader, of)
    if asked is None and (registered := reader.registration(run_id)):
        asked = json.loads(registered["body"]).get("items_sha256")
    return item_set(asked) if asked in EARLIER else item_set()


def repeated(reader: Reader, run_id: str) -> str | None:
    """The run whose training and evaluation this one repeats with another seed; None of others."""
    rows = reader.query(f"SELECT manifest->>'$.{REPEAT_OF}' AS of FROM runs WHERE run_id = ?", [run_id])
    return rows[0]["of"] if rows else None


def _limit_of_repeated(reader: Reader, run_id: str) -> int | None:
    """The tokens that the run repeated by this one was last given for an answer, whatever its spec says."""
    rows = reader.query(
        "SELECT (c.decoding->>'$.max_tokens')::INTEGER AS n FROM evaluation_answers a "
        'JOIN completions c USING (request_id) WHERE a.run_id = ? AND a.condition != ? ORDER BY a."at" DESC LIMIT 1',
        [repeated(reader, run_id), REFERENCE],
    )
    return rows[0]["n"] if rows else None


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
           i.facts, c.decoding::VARCHAR AS decoding
    FROM evaluation_answers a JOIN evaluation_items i ON i.items_sha256 = a.items_sha256 AND i.item_id = a.item_id
    LEFT JOIN completions c ON c.request_id = a.request_id
    WHERE a.run_id = ? AND a.items_sha256 = ?
    ORDER BY a.condition, a.item_id
"""


def answers_of(reader: Reader, run_id: str, items_sha256: str) -> list[dict[str, Any]]:
    """A run's answers to one frozen set that may be compared, each with what is known of its item.

    Where an evaluation was stopped after an adapter had been trained anew, or a limit been changed, a condition has
    answers of two models or settings: only those of the last count, and of own models only those with its decoding.
    """
    rows = reader.query(ANSWERS, [run_id, items_sha256])
    last: dict[str, dict[str, Any]] = {}  # the newest answer of each condition, of own models under ""
    for row in rows:
        for name in (row["condition"], "" if row["condition"] != REFERENCE else REFERENCE):
            if name not in last or row["at"] > last[name]["at"]:
                last[name] = row
    rows = [
        row
        for row in rows
        if row["fingerprint"] == last[row["condition"]]["fingerprint"]
        and row["decoding"] == last["" if row["condition"] != REFERENCE else REFERENCE]["decoding"]
    ]
    return [{**row, "facts": json.loads(row["facts"]), "history": json.loads(row["history"])} for row in rows]
