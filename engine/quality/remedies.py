"""What would help where a gate failed: by check what changes its figure, and what a person may do about the gate."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from store.outcomes import EMPTY, FAILING, READ, too_few

# By check, what changes what is measured. Thresholds are not named: lowering one shows nothing.
HELPS = {
    "guard passed": "weights of a base model (docs/BASE_MODEL_TRUTH.md): no approval opens this lock",
    "runaway share": "responses.examples that end where they should, or a larger model",
    "token-limit share": "more responses.max_tokens, or examples with shorter responses",
    "median tokens": "responses.examples with shorter responses",
    "instruction acceptance": "instructions.level simple, other seeds, or a larger model",
    "pair acceptance": "more responses.drafts, simpler instructions, or a larger model",
    "preference pairs": "more samples (a larger pilot and target), or more candidates.best_of",
    "kept revisions": "revisions.form principle, more revisions.rounds, or a larger model: small ones seldom revise "
    "for the better. The room Preferences shows each revision with what spoke against it",
    "kept best-of pairs": "more candidates.best_of or a higher candidates.temperature, so that answers differ, and "
    "more samples",
    "pairs decided by an audited critic": "a critic of pairs that passes its audit: another one in critics.pair, or a "
    "larger model. cai status shows each audit",
    "smallest margin": "a critic of pairs that tells more of them apart",
    "audited instruction critics": "another critic in critics.instruction, or a larger model",
    "audited pair critics": "another critic in critics.sample, labels of your own (room Samples), or a larger model",
    "audited comparing critics": "another critic in critics.pair, or a larger model",
}


def helps(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """For each check that failed or is empty a sentence on what would help, from rows with name and result."""
    told = []
    for row in rows:
        name = str(row["check_name"])
        if row["result"] in FAILING and (help_ := HELPS.get(name)):
            state = "empty" if row["result"] == EMPTY else "failed"
            told.append(f"{name} ({state}): {help_}")
    return told


def reading_offer(rows: Iterable[Mapping[str, Any]], run_id: str) -> str:
    """How a person reads what the latest gate of samples waits to have read, in a line; empty where nothing is left.

    What the pilot's gate says is out of date once there is a final one: what is read is told in that alone.
    """
    of_gate = {row["gate"]: row for row in rows if row["check_name"] == READ}
    row = of_gate.get("final") or of_gate.get("pilot")
    left = 0 if row is None else row["n"] - int(row["measured"] or 0)
    if left <= 0:
        return ""
    return f"read {left:,} candidates blind: B in the room Samples (2), or cai label --read --run {run_id}"


def what_may_be_done(
    checks: Iterable[Mapping[str, Any]], gate: str, run_id: str, spec: str, asks: Sequence[str]
) -> list[str]:
    """The ways on from a gate that has not passed or was not read, each on a line; empty where there is nothing to do.

    `checks` are those of all gates with their result, `asks` the decisions that the spec has reviewed. Nothing
    overrides the guard.
    """
    every = list(checks)
    rows = [row for row in every if row["gate"] == gate]
    failing = [row for row in rows if row["result"] in FAILING]
    few = [row for row in rows if too_few(row)]
    offer = reading_offer(every, run_id)
    told = [offer] if offer and any(row["check_name"] == READ for row in rows) else []
    if not failing and not few:
        return told
    told += [f"what would help: {line}" for line in helps(failing)]
    if any(row["check_name"] == "guard passed" for row in failing):
        return told
    told.append(f"more candidates: a run with a larger pilot (f in the room Runs, or cai run {spec} --pilot N)")
    if not failing:
        return told
    told += [
        "other thresholds: the room Thresholds (3) shows what each would change; nothing is generated",
        f'a review: cai review ask {run_id} --topic gate --question "..." has the reviewer read the evidence',
    ]
    if "override" in asks:
        told.append(
            "an override: thresholds applied in 3 with a reason; the run then waits until a review approves of it"
        )
    else:
        told.append("an override: thresholds applied in 3 with a reason, which the record, report and card keep")
    return told
