"""The gap gate: is there something to train? Decided on the dev items, before any training.

A base that already can what is to be trained makes every later figure meaningless (docs/KNOWN_BUGS_AND_FIXES.md), in
whatever prompt it can. The reference shows that the items can be done at all.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from engine.evaluation import CONTROL_CONDITIONS, REFERENCE, TUNED_CONDITIONS
from engine.quality.gates import Check
from engine.spec.sections import EvaluationSpec
from engine.stats.paired import mcnemar, pairs
from store.outcomes import GAP

GATE = GAP
Row = Mapping[str, Any]


def gap_checks(answers: Sequence[Row], spec: EvaluationSpec) -> list[Check]:
    """The checks, from rows with condition, item_id, capability, split and correct; of the dev split alone.

    One for each condition that the ceiling is for, and two for a reference: its floor, which fails where the spec names
    a reference that has not answered, and McNemar's exact p against the best of those conditions.
    """
    dev: dict[str, dict[str, bool]] = {}
    for row in answers:
        if row["split"] == "dev" and row["capability"] == spec.capability:
            dev.setdefault(row["condition"], {})[row["item_id"]] = _against(row)
    checks = [
        _share(f"{name}_right", dev.get(name, {}), "<=", spec.base_at_most, against=True)
        for name in spec.gap_conditions
    ]
    reference = dev.get(REFERENCE, {})
    if not reference and spec.reference is None:
        return checks
    checks.append(_share("reference_right", reference, ">=", spec.reference_at_least, against=False))
    known = [name for name in spec.gap_conditions if dev.get(name)]
    if known and reference:
        best = max(known, key=lambda name: sum(dev[name].values()) / len(dev[name]))
        both = sorted(reference.keys() & dev[best].keys())
        if both:
            table = pairs([reference[name] for name in both], [dev[best][name] for name in both])
            worse = [name for name in both if dev[best][name] and not reference[name]]
            p = mcnemar(table).p if table.difference > 0 else 1.0
            checks.append(Check.of(f"reference_above_{best}_p", p, table.n, "<=", spec.alpha, worse))
    return checks


def _against(row: Row) -> bool:
    """Whether an answer is right; an undecided one counts against the gate, as right of a base."""
    return row["condition"] != REFERENCE if row["correct"] is None else bool(row["correct"])


def _share(name: str, right: Mapping[str, bool], op: str, threshold: float, *, against: bool) -> Check:
    """`against` says whether a right answer counts against the check."""
    n, yes = len(right), sum(right.values())
    if not n:
        return Check.of(name, None, 0, op, threshold)
    return Check.share(
        name, yes, n, op, threshold, sorted(item for item, correct in right.items() if correct is against)
    )


def gap_evidence(answers: Sequence[Row], items_sha256: str, scorer_sha256: str) -> str:
    """The hash of what the gate was decided on: items, scorer, and which of them each condition got right on dev."""
    later = (*TUNED_CONDITIONS, *CONTROL_CONDITIONS)
    counts = [row for row in answers if row["split"] == "dev" and row["condition"] not in later]
    told = sorted((row["condition"], row["item_id"], _against(row)) for row in counts)
    return hashlib.sha256(json.dumps([items_sha256, scorer_sha256, told]).encode()).hexdigest()


def what_instead(failed: Sequence[str]) -> str:
    """What a person does where there is no gap."""
    if any(name.startswith("base_") for name in failed):
        return (
            "The base can already do too much of this, so training it would show nothing. Choose a capability with a "
            "gap (evaluation.capability), or find out why it can: contaminated weights, or items that are too easy"
        )
    return (
        "The reference can't do this well enough either, so the items or their verifiers are in doubt. Read what it "
        "answered in the room Evaluation, or name a better reference"
    )
