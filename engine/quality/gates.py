"""Gates: figures queried from the rows, the spec's thresholds, and a verdict with its evidence."""

from __future__ import annotations

import hashlib
import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from engine.core.events import GateDecided
from engine.quality.readings import Lot, draw
from engine.quality.rules import BLOCKING, RULES, Measured, flags_of, measure
from engine.spec.sections import CriticsSpec
from engine.spec.stage import StageSpec
from engine.stats.shares import wilson
from store.names import PERSON_PARTS, VERDICTS
from store.outcomes import (
    FAILING,
    PASSED,
    READ,
    READ_GOOD,
    READ_NAMES,
    gate_result,
    holds,
    result_of,
    tally,
    why_untested,
)
from store.read import Reader


@dataclass(frozen=True, slots=True)
class Check:
    """One measured figure against its threshold. `subject_ids` are the rows that count against it."""

    name: str
    measured: float | None
    lo: float | None
    hi: float | None
    n: int
    op: str
    threshold: float
    subject_ids: tuple[str, ...] = ()

    @classmethod
    def of(
        cls, name: str, measured: float | None, n: int, op: str, threshold: float, against: Sequence[str] = ()
    ) -> Check:
        """A figure without an interval."""
        return cls(name, measured, None, None, n, op, threshold, tuple(against))

    @classmethod
    def share(cls, name: str, k: int, n: int, op: str, threshold: float, against: Sequence[str] = ()) -> Check:
        """`k` of `n` with Wilson's interval; nothing is measured where n is 0."""
        return cls(name, k / n if n else None, *wilson(k, n), n, op, threshold, tuple(against))

    def row(self) -> dict[str, Any]:
        """All but the name, in the order of the table `gates`."""
        told = {name: getattr(self, name) for name in ("measured", "lo", "hi", "n", "op", "threshold", "passed")}
        return {**told, "subject_ids": list(self.subject_ids)}

    def told(self) -> dict[str, Any]:
        """The check as faces read it, like a row of Reader.gates: with name, result, and why it is not tested."""
        return {"check_name": self.name, **self.row(), "result": self.result, "untested": self.untested}

    @property
    def holds(self) -> bool:
        """Whether the figure meets the threshold, however little that shows; False where nothing was measured."""
        return holds(self.measured, self.op, self.threshold)

    @property
    def result(self) -> str:
        """Passed, failed, not tested or empty; see store/outcomes.py."""
        return result_of(self._figures())

    @property
    def untested(self) -> str:
        """Why it shows nothing; empty where it shows something."""
        return why_untested(self._figures())

    @property
    def passed(self) -> bool:
        """Whether it was tested and passed."""
        return self.result == PASSED

    @property
    def fails(self) -> bool:
        """Whether its gate fails by it."""
        return self.result in FAILING

    def _figures(self) -> dict[str, Any]:
        told = ("measured", "lo", "n", "op", "threshold")
        return {"check_name": self.name, **{name: getattr(self, name) for name in told}}


@dataclass(frozen=True)
class Rechecked:
    """All verdicts and gate checks of a run, computed from its stored rows under given settings."""

    verdicts: dict[str, dict[str, str]]  # kind: {subject id: verdict}
    checks: list[Check]
    decisions: dict[str, dict[str, Decision]]  # the same with basis, flags and reason

    def counts(self) -> dict[str, dict[str, int]]:
        """Number of each verdict by kind."""
        return {kind: {name: list(of.values()).count(name) for name in VERDICTS} for kind, of in self.verdicts.items()}


@dataclass(frozen=True)
class Evidence:
    """What a run's rows say, read once, so that verdicts and checks under other settings need no store."""

    scores: dict[tuple[str, str], dict[str, float]]  # (kind, subject id): {critic: score}
    samples: list[dict[str, Any]]  # sample_id, n_tokens, in order
    measured: dict[str, Measured]  # by sample id
    aucs: dict[tuple[str, str], float]  # (kind, critic): the lowest of the shipped parts
    guard: list[dict[str, Any]]
    instructions: list[dict[str, Any]]  # the distinct ones
    drawn: list[Lot]  # to be read by a person, more than are asked for

    @classmethod
    def read(cls, reader: Reader, run_id: str) -> Evidence:
        """All of it, some thirty microseconds a sample for reading and fifty for the rules.

        An instruction critic's audit counts only where it was made on instructions of the run's own kind.
        """
        asked = (reader.run(run_id)["settings"].get("instructions") or {}).get("kind", "explicit")
        scores: dict[tuple[str, str], dict[str, float]] = {}
        for row in reader.query(
            "SELECT subject_kind, subject_id, critic, score FROM judgements WHERE run_id = ? "
            "AND subject_kind IN ('instruction', 'sample') ORDER BY 1, 2, 3",  # in an order of their own, for the hash
            [run_id],
        ):
            scores.setdefault((row["subject_kind"], row["subject_id"]), {})[row["critic"]] = row["score"]
        samples: list[dict[str, Any]] = []
        measured: dict[str, Measured] = {}
        for row in reader.in_order(
            "SELECT s.ordinal, s.sample_id, i.text AS instruction, s.raw, s.response, s.stop_reason, s.n_tokens "
            "FROM samples s JOIN instructions i USING (run_id, instruction_id) WHERE s.run_id = $1",
            [run_id],
        ):
            samples.append({"sample_id": row["sample_id"], "n_tokens": row["n_tokens"]})
            measured[row["sample_id"]] = measure(row["instruction"], row["raw"], row["response"], row["stop_reason"])
        aucs = reader.query(
            "SELECT subject_kind, critic, min(coalesce(auc, 0)) AS auc FROM audits "
            f"WHERE run_id = ? AND part NOT IN {PERSON_PARTS} "
            "AND (subject_kind != 'instruction' OR coalesce(detail->>'asked', 'explicit') = ?) GROUP BY ALL",
            [run_id, asked],
        )
        guard = reader.query(
            "SELECT check_id, passed FROM guard_checks WHERE run_id = ? AND passed IS NOT NULL ORDER BY check_id",
            [run_id],
        )
        instructions = reader.query(
            "SELECT instruction_id, text FROM instructions WHERE run_id = ? AND status = 'distinct' ORDER BY ordinal",
            [run_id],
        )
        lowest = {(row["subject_kind"], row["critic"]): row["auc"] for row in aucs}
        return cls(scores, samples, measured, lowest, guard, instructions, draw(reader, run_id))

    def under(self, spec: StageSpec) -> Rechecked:
        """Verdicts and checks as these settings make them."""
        may_filter = self._may_filter(spec)
        flags = {name: flags_of(found, spec.rules) for name, found in self.measured.items()}
        decisions: dict[str, dict[str, Decision]] = {"instruction": {}, "sample": {}}
        for (kind, subject), by_critic in self.scores.items():
            usable = [name for name in may_filter[kind] if name in by_critic]
            decisions[kind][subject] = decide(by_critic, usable, flags.get(subject, []), spec.critics)
        verdicts = {kind: {name: found.verdict for name, found in of.items()} for kind, of in decisions.items()}
        return Rechecked(verdicts, _checks(self, spec, flags, verdicts, may_filter), decisions)

    def filters(self, spec: StageSpec) -> dict[str, str | None]:
        """By kind the critic that decides, None where no audit lets one."""
        return {kind: next(iter(names), None) for kind, names in self._may_filter(spec).items()}

    def _may_filter(self, spec: StageSpec) -> dict[str, list[str]]:
        """Critics whose AUC reaches the minimum on every shipped part, in the spec's order."""
        return {
            kind: [
                name
                for name in spec.critics.preferred(kind)
                if (kind, name) in self.aucs and self.aucs[kind, name] >= spec.critics.min_auc
            ]
            for kind in ("instruction", "sample")
        }


def recompute(reader: Reader, run_id: str, spec: StageSpec) -> Rechecked:
    """Verdicts and QC again from raw text and margins, with no model."""
    return Evidence.read(reader, run_id).under(spec)


def _checks(
    evidence: Evidence,
    spec: StageSpec,
    flags: Mapping[str, Sequence[str]],
    verdicts: Mapping[str, Mapping[str, str]],
    may_filter: Mapping[str, Sequence[str]],
) -> list[Check]:
    gate, samples, guard, kept = spec.gate, evidence.samples, evidence.guard, evidence.instructions
    n = len(samples)

    def flagged(flag: str) -> list[str]:
        return [subject for subject, fired in flags.items() if flag in fired]

    def below(name: str, flag: str, limit: float) -> Check:
        against = flagged(flag)
        return Check.share(name, len(against), n, "<", limit, against)

    def at_least(name: str, against: Sequence[str], of: int, limit: float) -> Check:
        return Check.share(name, of - len(against), of, ">=", limit, against)

    def accepted(name: str, kind: str, limit: float) -> Check:
        against = [subject for subject, verdict in verdicts[kind].items() if verdict != "accepted"]
        return at_least(name, against, len(verdicts[kind]), limit)

    failed = [row["check_id"] for row in guard if not row["passed"]]
    seen: set[str] = set()
    repeated = []
    for row in kept:
        key = " ".join(row["text"].lower().split())
        if key in seen:
            repeated.append(row["instruction_id"])
        seen.add(key)
    tokens = [row["n_tokens"] for row in samples]
    # A leak counts in what would be kept: the data set may not hold one, whatever was thrown away.
    leaks = [subject for subject in flagged("marker_leak") if verdicts["sample"].get(subject) == "accepted"]
    long = [row["sample_id"] for row in samples if row["n_tokens"] >= gate.median_tokens_below]
    median = float(statistics.median(tokens)) if tokens else None
    return [
        Check.of("guard passed", float(not failed) if guard else None, len(guard), ">=", 1.0, failed),
        below("runaway share", "runaway", gate.runaway_below),
        below("token-limit share", "token_limit", gate.token_limit_below),
        Check.of("marker leaks", float(len(leaks)), n, "<=", gate.marker_leaks_at_most, leaks),
        Check.of("median tokens", median, n, "<", gate.median_tokens_below, long),
        accepted("instruction acceptance", "instruction", gate.instruction_acceptance_at_least),
        accepted("pair acceptance", "sample", gate.pair_acceptance_at_least),
        at_least("distinct instructions", repeated, len(kept), gate.distinct_at_least),
        *(
            Check.of(f"audited {name} critics", float(len(may_filter[kind])), len(getattr(spec.critics, kind)), ">=",
                     gate.audited_critics_at_least)
            for kind, name in (("instruction", "instruction"), ("sample", "pair"))
        ),
        *reading_checks(evidence.drawn, verdicts["sample"], gate.read_at_least),
    ]  # fmt: skip


def reading_checks(drawn: Sequence[Lot], verdicts: Mapping[str, str], asked: int) -> list[Check]:
    """How many of `asked` candidates a person has read and, once all are, how many of them are good by verdict.

    A part of the draw tells no shares: whoever reads on would see them, and could stop where they please. Unsure counts
    as read and not as good. Nothing is required of the shares, so that these checks are never tested.
    """
    lots = drawn[:asked]
    read = [lot for lot in lots if lot.label is not None and lot.sample_id in verdicts]
    whole = read if len(read) == len(lots) else []
    checks = [Check.of(READ, float(len(read)), len(lots), ">=", asked)]
    for accepted, name in READ_GOOD.items():
        of = [lot for lot in whole if (verdicts[lot.sample_id] == "accepted") is accepted]
        against = [lot.sample_id for lot in of if lot.label != "good"]
        checks.append(Check.share(name, len(of) - len(against), len(of), ">=", 0, against))
    return checks


def evidence_sha256(checks: Sequence[Check]) -> str:
    """The hash that binds a decision to the figures it was made on.

    What a person read is not among them: it may be read after the gate was decided, and decides nothing.
    """
    of_data = [check for check in checks if check.name not in READ_NAMES]
    text = json.dumps([[c.name, c.measured, c.n, c.op, c.threshold, list(c.subject_ids)] for c in of_data])
    return hashlib.sha256(text.encode()).hexdigest()


def decided(run_id: str, gate: str, checks: Sequence[Check]) -> GateDecided:
    """What is told of a gate that was decided on these checks."""
    rows = [check.told() for check in checks]
    result = gate_result(rows)
    failed = tuple(check.name for check in checks if check.fails)
    return GateDecided(run_id, gate, result == PASSED, failed, result, tally(rows))


def gate_row(run_id: str, gate: str, check: Check, evidence: str, at: datetime) -> dict[str, Any]:
    """A check as a row of the table `gates`."""
    row = {"run_id": run_id, "gate": gate, "check_name": check.name, **check.row()}
    return row | {"threshold": float(check.threshold), "evidence_sha256": evidence, "decided_at": at}


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
    verdict = "accepted" if score > spec.accept_above else "unsure" if score > spec.unsure_above else "rejected"
    said = f"{critic} {score:+.2f}, accepted above {spec.accept_above:+.2f}"
    return Decision(verdict, "critic", tuple(flags), said)


def verdict_row(run_id: str, kind: str, subject_id: str, decision: Decision) -> dict[str, Any]:
    """A decision as a row of the table `verdicts`."""
    row = {"run_id": run_id, "subject_kind": kind, "subject_id": subject_id, "flags": list(decision.flags)}
    return row | {name: getattr(decision, name) for name in ("verdict", "basis", "reason")}
