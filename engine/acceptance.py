"""Verdicts: what is accepted, from stored text and stored margins alone, so that a new threshold costs nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engine.rules import BLOCKING, RULES
from engine.sections import CriticsSpec


@dataclass(frozen=True, slots=True)
class Decision:
    """A verdict, whether an audited critic or only the rules gave it, and why."""

    verdict: str  # accepted rejected unsure
    basis: str  # critic rules, of revisions and pairs also unaudited
    flags: tuple[str, ...]
    reason: str


def decide(scores: Mapping[str, float], may_filter: Sequence[str], flags: Sequence[str], spec: CriticsSpec) -> Decision:
    """The verdict on one item.

    `scores` are calibrated scores by critic, `may_filter` the critics that passed their audit, the preferred one
    first. Where none did, acceptance falls back to the rules and the margins are only shown.
    """
    blocking = [flag for flag in flags if flag in BLOCKING]
    if blocking:
        return Decision("rejected", "rules", tuple(flags), "; ".join(RULES[flag] for flag in blocking))
    if not may_filter:
        return Decision("accepted", "rules", tuple(flags), "no rule fired; no critic passed its audit")
    critic = may_filter[0]
    score = scores[critic]
    said = f"{critic} {score:+.2f}, accepted above {spec.accept_above:+.2f}"
    if score > spec.accept_above:
        return Decision("accepted", "critic", tuple(flags), said)
    if score > spec.unsure_above:
        return Decision("unsure", "critic", tuple(flags), said)
    return Decision("rejected", "critic", tuple(flags), said)


def verdict_row(run_id: str, kind: str, subject_id: str, decision: Decision) -> dict[str, Any]:
    """A decision as a row of the table `verdicts`."""
    return {
        "run_id": run_id,
        "subject_kind": kind,
        "subject_id": subject_id,
        "verdict": decision.verdict,
        "basis": decision.basis,
        "flags": list(decision.flags),
        "reason": decision.reason,
    }
