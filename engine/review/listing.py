"""What a run's reviews are, for whoever lists them; and whether an approval still counts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.review.form import Outcome
from engine.review.prompt import evidence_sha256
from engine.review.state import outcome_of, state_of, why_of
from engine.review.trail import by_review, entries
from store.read import Reader


def reviews(reader: Reader, run_id: str) -> list[dict[str, Any]]:
    """Every question that was put about a run, in the order asked, as plain values.

    Each {review_id, topic, question, asked_at, evidence_sha256, state, by, reason, changes, reviewer, review,
    question_id, why, files}: `state` is waiting until it is decided, superseded where the same topic was asked later on
    other evidence; `review` the reviewer's four fields or None; `question_id` the id under which a person is asked,
    None where none is; files relative to the store's folder. Raises ReviewError where the record was changed.
    """
    newest: dict[str, str] = {}
    found: list[dict[str, Any]] = []
    for review_id, of in by_review(entries(reader, run_id)).items():
        first = of[0]
        if first.body.get("form") == "document":
            continue
        newest[first.topic] = review_id
        state = state_of(of)
        outcome = state.outcome
        asked = state.open if state.open is not None and state.open.body.get("to") == "person" else None
        found.append(
            {
                "review_id": review_id,
                "topic": first.topic,
                "question": first.body.get("question"),
                "asked_at": first.at,
                "evidence_sha256": first.evidence_sha256,
                "state": outcome.state if outcome else "waiting",
                "by": outcome.by if outcome else "nobody",
                "reason": outcome.reason if outcome else why_of(state),
                "changes": dict(outcome.changes) if outcome else {},
                "reviewer": state.given.reviewer if state.given else None,
                "review": state.given.fields if state.given else None,
                "question_id": f"{review_id}.{asked.seq}" if asked else None,
                "why": asked.body.get("why") if asked else None,
                "files": [entry.path for entry in of if entry.path],
            }
        )
    for row in found:
        if row["state"] == "waiting" and newest[row["topic"]] != row["review_id"]:
            row["state"] = "superseded"
    return found


def current_approval(
    reader: Reader, run_id: str, topic: str, evidence: Mapping[str, Any] | str, *, policy: bool = False
) -> Outcome | None:
    """The approval of a topic on exactly this evidence, or its hash; None where there is none or it lapsed.

    A policy's counts only with `policy`. Raises ReviewError where the record was changed.
    """
    wanted = evidence if isinstance(evidence, str) else evidence_sha256(evidence)
    found = None
    for entry in entries(reader, run_id):
        if entry.kind == "decision" and entry.topic == topic and entry.evidence_sha256 == wanted:
            outcome = outcome_of(entry)
            found = outcome if policy or outcome.by != "policy" else found
    return found if found is not None and found.proceed else None
