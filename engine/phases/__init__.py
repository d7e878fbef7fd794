"""The phases of a stage. Each asks the store what is missing, and makes rows of a model's answers.

A phase has no memory that the store does not have: after a restart the same code meets the same answers, found instead
of computed, and arrives at the same rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from engine.core.control import Control
from engine.core.events import Emit, PhaseProgressed
from engine.critics import Judgement
from engine.models.adapters import Adapter
from engine.models.answers import Answers
from engine.review.context import Decision
from engine.spec.constitution import Constitution
from engine.spec.stage import StageSpec
from store import Reader, Store

HELD = 32  # rows committed together at most


@dataclass(frozen=True)
class Work:
    """What every phase works with."""

    run_id: str
    session_id: str
    seed: int
    spec: StageSpec
    answers: Answers
    store: Store
    reader: Reader
    control: Control
    emit: Emit
    constitution: Constitution | None = None  # where the spec has critiques
    adapter: Adapter | None = None  # of the parent stage, which the model answers with
    # Returns where a decision that the spec may have reviewed is approved of; see engine.review.consultant.
    consult: Callable[[Decision], None] = lambda decision: None


def keep(work: Work, table: str, rows: Iterable[dict[str, Any]], phase: str, done: int, planned: int) -> int:
    """Store rows as they come, HELD at a time, and tell how far the phase is; returns how many are done."""
    held: list[dict[str, Any]] = []
    for row in rows:
        held.append(row)
        done += 1
        if len(held) >= HELD:
            work.store.append({table: held})
            held = []
            work.emit(PhaseProgressed(work.run_id, phase, done, planned, None))
    work.store.append({table: held})
    return done


def judgement_row(run_id: str, kind: str, judgement: Judgement, may_filter: Sequence[str]) -> dict[str, Any]:
    """A judgement as a row of the table `judgements`."""
    return {
        "run_id": run_id,
        "subject_kind": kind,
        "subject_id": judgement.item.key,
        "critic": judgement.critic,
        "margin_nats": judgement.margin_nats,
        "score": judgement.score,
        "audited": judgement.critic in may_filter,
        "parts": judgement.parts,
    }
