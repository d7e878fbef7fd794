"""A run decided anew: its verdicts, its latest gates, and the state that follows, as rows to be written together."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from engine.core.events import Event, Noted
from engine.quality.gates import Check, Decision, Rechecked, decided, evidence_sha256, gate_row, verdict_row
from engine.quality.pair_selection import PairEvidence, PairsRechecked
from engine.spec.stage import StageSpec
from store.read import Reader

Row = dict[str, Any]


@dataclass(frozen=True)
class Anew:
    """`rows` by table, `moved` the number of verdicts that changed by kind, `checks` by gate, "" and " pairs"."""

    rows: dict[str, list[Row]]
    moved: dict[str, int]
    checks: dict[str, list[Check]]


def pairs_of(reader: Reader, run_id: str, settings: StageSpec) -> PairEvidence | None:
    """None where the spec asks for no pairs, or none are decided on yet."""
    if settings.pairs is None:
        return None
    decided = "SELECT 1 FROM verdicts WHERE run_id = ? AND subject_kind = 'pair' LIMIT 1"
    return PairEvidence.read(reader, run_id, settings) if reader.query(decided, [run_id]) else None


def stored_decisions(reader: Reader, run_id: str) -> dict[tuple[str, str], Decision]:
    """What was decided on each subject, by its kind and id."""
    return {
        (row["subject_kind"], row["subject_id"]): Decision(
            row["verdict"], row["basis"], tuple(row["flags"] or ()), row["reason"]
        )
        for row in reader.query("SELECT * FROM verdicts WHERE run_id = ?", [run_id])
    }


def decide_anew(
    reader: Reader,
    run: Mapping[str, Any],
    found: Rechecked,
    pairs: PairsRechecked | None,
    under: str,
    now: datetime,
    candidates: Mapping[str, Decision] | None = None,
) -> Anew:
    """The run as `found` and `pairs` have it; `under` says in its reason what is other than before.

    A run that failed its gate and now passes may be resumed; one that was done and now fails says so.
    """
    run_id = run["run_id"]
    stored = stored_decisions(reader, run_id)
    there = {row["gate"] for row in reader.gates(run_id)}
    decisions: dict[str, Mapping[str, Decision]] = dict(found.decisions)
    if candidates:
        decisions["candidate"] = candidates
    checks = {"": found.checks}
    if pairs is not None:
        decisions["pair"], checks[" pairs"] = pairs.verdicts, pairs.checks
    gates = {gate: of for suffix, of in checks.items() if (gate := _latest(there, suffix)) is not None}
    failed = [check.name for of in gates.values() for check in of if check.fails]
    told = dict(run) | {"updated_at": now}
    if gates and run["state"] == "gate_failed" and not failed:
        told |= {"state": "stopped", "reason": f"no check of the gate fails under {under}; resuming goes on"}
    elif gates and run["state"] == "done" and failed:
        told |= {"state": "gate_failed", "reason": f"fails under {under}: {', '.join(failed)}"}
    # Where a verdict stays, its flags and its reason may not.
    anew = {
        (kind, name): made
        for kind, of in decisions.items()
        for name, made in of.items()
        if stored.get((kind, name)) not in (None, made)
    }
    sides = [kind for (kind, name), made in anew.items() if stored[kind, name].verdict != made.verdict]
    moved = {kind: sides.count(kind) for kind in decisions}
    turned = ", ".join(f"{n} of kind {kind}" for kind, n in moved.items() if n) or "none"
    said = Noted(run_id, "info", f"decided anew under {under}: verdicts that changed: {turned}")
    events: list[Event] = [said, *(decided(run_id, gate, of) for gate, of in gates.items())]
    rows = {
        "runs": [told],
        "verdicts": [verdict_row(run_id, kind, name, made) for (kind, name), made in anew.items()],
        "gates": [
            gate_row(run_id, gate, check, evidence_sha256(of), now) for gate, of in gates.items() for check in of
        ],
        "events": [
            {"run_id": run_id, "session_id": f"anew-{now:%Y%m%d-%H%M%S-%f}", "seq": at, "at": now, "kind": event.kind,
             "payload": event.payload()}
            for at, event in enumerate(events)
        ],
    }  # fmt: skip
    return Anew(rows, moved, checks)


def _latest(decided: Collection[str], suffix: str) -> str | None:
    return next((name for name in (f"final{suffix}", f"pilot{suffix}") if name in decided), None)
