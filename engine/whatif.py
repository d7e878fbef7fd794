"""What a run's stored rows say under other thresholds; applying some is a decision with a reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from engine.acceptance import verdict_row
from engine.errors import SpecError
from engine.gates import Check, Evidence, Rechecked, evidence_sha256, gate_row
from engine.spec import StageSpec, change
from engine.stats import wilson
from store import Reader, Store

CHANGES_SHOWN = 10


@dataclass(frozen=True, slots=True)
class Knob:
    """A setting that can be moved: its dotted key, the step of one key press, and where it ends."""

    key: str
    step: float
    low: float
    high: float
    about: str


KNOBS = (
    Knob("critics.accept_above", 0.05, -5, 5, "score above which an audited critic accepts"),
    Knob("critics.unsure_above", 0.05, -5, 5, "score above which it is unsure instead of rejecting"),
    Knob("critics.min_auc", 0.01, 0, 1, "AUC that a critic's audit must reach before it may filter"),
    Knob("rules.repeated_trigrams", 0.02, 0, 1, "share of repeated word trigrams from which a response loops"),
    Knob("rules.echo", 0.02, 0, 1, "ROUGE-L to its instruction from which a response only echoes it"),
    Knob("gate.runaway_below", 0.01, 0, 1, "share of runaway responses that the gate allows"),
    Knob("gate.token_limit_below", 0.01, 0, 1, "share of responses cut by the token limit"),
    Knob("gate.marker_leaks_at_most", 1, 0, 1000, "accepted responses with a stop marker in them"),
    Knob("gate.median_tokens_below", 1, 1, 4096, "median length of a response in tokens"),
    Knob("gate.instruction_acceptance_at_least", 0.01, 0, 1, "share of instructions accepted"),
    Knob("gate.pair_acceptance_at_least", 0.01, 0, 1, "share of instruction and response pairs accepted"),
    Knob("gate.distinct_at_least", 0.01, 0, 1, "share of kept instructions that are distinct"),
    Knob("gate.audited_critics_at_least", 1, 0, 5, "critics of each kind whose audit lets them filter"),
)


@dataclass(frozen=True, slots=True)
class Change:
    """A sample that would change sides."""

    sample_id: str
    before: str
    after: str
    reason: str


@dataclass(frozen=True, slots=True)
class Acceptance:
    """Accepted of n with its 95 % Wilson interval."""

    accepted: int
    n: int
    lo: float
    hi: float


@dataclass(frozen=True)
class Outcome:
    """What the settings would make of the run."""

    acceptance: dict[str, Acceptance]  # by kind: instruction, sample
    checks: list[Check]
    filters: dict[str, str | None]  # by kind: the critic that decides, None where rules do
    changed: int
    changes: list[Change]  # the first of them


class WhatIf:
    """One run's evidence, read once; every question after that is answered without the store."""

    def __init__(self, reader: Reader, run_id: str) -> None:
        from engine.session import settings_of

        self.run_id = run_id
        self.settings = settings_of(reader.run(run_id))
        self._evidence = Evidence.read(reader, run_id)
        self._now = self._evidence.under(self.settings)
        self._order = {row["sample_id"]: at for at, row in enumerate(self._evidence.samples)}

    def value(self, key: str) -> float:
        """The run's own value of a setting."""
        section, _, name = key.partition(".")
        return float(getattr(getattr(self.settings, section), name))

    def under(self, overrides: Mapping[str, str]) -> Outcome:
        """The outcome under these settings; raises SpecError for values that contradict each other."""
        spec = change(self.settings.model_dump(), overrides)
        found = self._evidence.under(spec)
        before, after = self._now.verdicts["sample"], found.verdicts["sample"]
        moved = sorted((name for name in after if before[name] != after[name]), key=lambda name: self._order[name])
        changes = [
            Change(name, before[name], after[name], found.decisions["sample"][name].reason)
            for name in moved[:CHANGES_SHOWN]
        ]
        acceptance = {kind: _acceptance(found, kind) for kind in ("instruction", "sample")}
        return Outcome(acceptance, found.checks, self._evidence.filters(spec), len(moved), changes)


def _acceptance(found: Rechecked, kind: str) -> Acceptance:
    verdicts = list(found.verdicts[kind].values())
    accepted = verdicts.count("accepted")
    return Acceptance(accepted, len(verdicts), *wilson(accepted, len(verdicts)))


def apply(store: Store, run_id: str, overrides: Mapping[str, str], reason: str) -> dict[str, int]:
    """Make the settings the run's own, decide its verdicts and its latest gate anew, and record who wanted it and why.

    Everything is written in one transaction. A run that failed its gate and now passes may be resumed; one that was
    done and now fails says so. Returns how many verdicts changed by kind. Raises SpecError for settings that are
    wrong, and where there is no reason or nothing changes.
    """
    from engine.session import settings_of

    if not reason.strip():
        raise SpecError("a change of thresholds needs a reason", "It is stored with the decision. Nothing was changed.")
    with store.reader() as reader:
        run = reader.run(run_id)
        old = settings_of(run)
        new = change(old.model_dump(), overrides)
        if new == old:
            raise SpecError("no threshold is changed", "Nothing was changed.")
        found = Evidence.read(reader, run_id).under(new)
        stored = {
            (row["subject_kind"], row["subject_id"]): row["verdict"]
            for row in reader.query("SELECT subject_kind, subject_id, verdict FROM verdicts WHERE run_id = ?", [run_id])
        }
        gates = {row["gate"] for row in reader.gates(run_id)}
    now = datetime.now(UTC)
    verdicts = _verdict_rows(run_id, found, stored)
    evidence = evidence_sha256(found.checks)
    gate = next((name for name in ("final", "pilot") if name in gates), None)
    run["settings"] = new.model_dump()
    run["updated_at"] = now
    failed = [check.name for check in found.checks if not check.passed]
    if gate is not None and run["state"] == "gate_failed" and not failed:
        run["state"], run["reason"] = "stopped", "the gate passes under changed thresholds; resuming goes on"
    elif gate is not None and run["state"] == "done" and failed:
        run["state"], run["reason"] = "gate_failed", f"fails under changed thresholds: {', '.join(failed)}"
    decision = {
        "run_id": run_id,
        "decision_id": f"thresholds-{now:%Y%m%d-%H%M%S-%f}",
        "topic": "thresholds",
        "question": "; ".join(f"{key}: {_value(old, key)} -> {_value(new, key)}" for key in overrides),
        "answer": "applied",
        "reason": reason.strip(),
        "decided_by": "person",
        "evidence_sha256": evidence,
        "at": now,
    }
    store.put(
        {
            "runs": [run],
            "verdicts": verdicts,
            "gates": [gate_row(run_id, gate, check, evidence, now) for check in found.checks] if gate else [],
            "decisions": [decision],
        }
    )
    return {kind: sum(row["subject_kind"] == kind for row in verdicts) for kind in ("instruction", "sample")}


def _verdict_rows(run_id: str, found: Rechecked, stored: Mapping[tuple[str, str], str]) -> list[dict[str, Any]]:
    return [
        verdict_row(run_id, kind, name, decision)
        for kind, decisions in found.decisions.items()
        for name, decision in decisions.items()
        if stored.get((kind, name)) not in (None, decision.verdict)
    ]


def _value(spec: StageSpec, key: str) -> Any:
    section, _, name = key.partition(".")
    return getattr(getattr(spec, section), name)
