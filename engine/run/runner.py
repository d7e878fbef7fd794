"""The loop: phases in order, wave after wave, until enough examples are accepted or a gate says no.

Where the spec asks for preference pairs, what passed a gate goes on to critique, revision and pairs, with a gate of
their own: a pilot shows them all before the rest is paid for.

A wave is a number of new instructions taken through judgement, response and judgement. Its size is a function of the
rows before it, so a run that was interrupted plans the same waves again and finds them done. Lists bring more
instructions than a wave needs: those wait for the next one, or for ever.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from typing import Any

from engine.core.events import (
    CriticAudited,
    ForecastUpdated,
    GateDecided,
    GuardChecked,
    Noted,
    PhaseFinished,
    PhaseProgressed,
    PhaseStarted,
)
from engine.critics.audit import KINDS, Calibrated, calibrate, parts_of
from engine.phases.candidates import drawing
from engine.phases.flow import Flow
from engine.phases.instructions import Instructions
from engine.phases.pairs import choose, pairing
from engine.phases.repeat import repeat
from engine.phases.revisions import Revising
from engine.phases.tuning import tune
from engine.phases.wave import PHASES as WAVE
from engine.phases.wave import Wave
from engine.phases.work import Work
from engine.quality import gates
from engine.quality.guard import run_guard
from engine.quality.labels import read_anew
from engine.quality.pair_selection import recheck_pairs
from engine.quality.remedies import helps
from engine.stats.intervals import needed_candidates
from store.headline import of_run
from store.names import PHASES
from store.outcomes import FAILING
from store.salvage.clock import utc_now

SMALLEST_DOUBLED = 8
LARGEST_WAVE = 2048
HEADROOM = 1.1
PREFERENCES = ("revisions", "candidates")  # made side by side of the same samples; pairs are made of both


class StoppedAt(Exception):
    """The phase that --until names is done."""


class Runner:
    """Runs one stage on loaded work."""

    def __init__(self, work: Work, pilot: int, target: int, until: str | None) -> None:
        self._work = work
        self._pilot = min(pilot, target)
        self._target = target
        self._until = until
        self._told: dict[str, GateDecided] = {}  # by gate, as it was decided last
        self.accepted = 0

    def run(self) -> tuple[str, str]:
        """All phases. Returns the run's final state and its reason; raises Interrupted when stopped."""
        try:
            if self._guard():
                outcome = self._waves(self._audit())
            else:
                outcome = "gate_failed", "the contamination guard failed, and no approval opens that lock"
        except StoppedAt as stop:
            outcome = "done", f"stopped after the phase {stop}, as asked"
        answers, now = self._work.answers, utc_now()
        calls = (("model_calls_computed", answers.computed), ("model_calls_reused", answers.reused))
        self._work.store.append({"metrics": [self._metric("all", name, n, now) for name, n in calls]})
        return outcome

    def _guard(self) -> bool:
        work = self._work
        with self._phase("guard", 1):
            # The guard is about the base weights: an adapter of an earlier stage follows instructions, as it should.
            if work.adapter is not None:
                work.answers.model.use(None)
            rows = list(run_guard(work.answers, work.spec, work.run_id))
            if work.adapter is not None:
                work.answers.model.use(work.adapter.folder, work.adapter.sha256)
            work.store.put({"guard_checks": rows})
            failed = tuple(row["check_id"] for row in rows if row["passed"] is False)
            work.emit(GuardChecked(work.run_id, not failed, failed))
        self._maybe_stop("guard", 1, None)
        return not failed

    def _audit(self) -> dict[str, list[Calibrated]]:
        work = self._work
        planned = sum(len(getattr(work.spec.critics, kind)) for kind in KINDS)
        critics: dict[str, list[Calibrated]] = {kind: [] for kind in KINDS}
        asked, done = work.spec.instructions.kind, 0
        with self._phase("audit", planned):
            self._work = work = tune(work)
            for kind in KINDS:
                for calibrated in calibrate(work.answers, work.spec.critics, kind, asked, work.taught):
                    critics[kind].append(calibrated)
                    work.store.put({"audits": [{"run_id": work.run_id, **audit} for audit in calibrated.audits]})
                    for audit in calibrated.audits:
                        figures = (audit["critic"], audit["part"], audit["auc"], calibrated.may_filter)
                        work.emit(CriticAudited(work.run_id, *figures, kind))
                    if math.isinf(calibrated.scale.half_gap):
                        text = f"{kind} critic {calibrated.critic.name} has no scale, so it decides nothing: " + (
                            "it does not tell good anchors from corrupted ones"
                        )
                        work.emit(Noted(work.run_id, "warning", text))
                    done += 1
                    work.emit(PhaseProgressed(work.run_id, "audit", done, planned, None))
                parts = parts_of(kind, asked)
                if critics[kind] and parts and "own" not in parts:
                    text = f"{kind} critics were audited on planted items alone: none of the model's own are labelled"
                    work.emit(Noted(work.run_id, "info", text))
                if critics[kind] and not any(c.may_filter for c in critics[kind]):
                    then = "preferences are unaudited" if kind == "pair" else "acceptance is by rules only"
                    why = f"no {kind} critic reached AUC {work.spec.critics.min_auc:.2f}"
                    if not parts:
                        why = f"no filter: no instructions of the kind {asked} are labelled to audit {kind} critics on"
                    work.emit(Noted(work.run_id, "warning", f"{why}: {then}"))
        self._maybe_stop("audit", done, None)
        return critics

    def _waves(self, critics: dict[str, list[Calibrated]]) -> tuple[str, str]:
        work = self._work
        instructions = Instructions(work)
        at_most = work.spec.max_candidates_per_accepted * self._target
        goal, pilot_done = self._pilot, self._pilot == self._target
        wanted, taken = math.ceil(self._pilot * work.spec.expected_candidates_per_accepted), 0
        while True:
            before = taken
            wave = Wave(work, instructions, critics, wanted, at_most, self._as_far_as(WAVE))
            wave.run()
            taken, upto, self.accepted = wave.taken, wave.upto, wave.accepted
            self._stop_behind(WAVE[-1])
            # Settings that were changed on the way leave rows of before, which are judged and accepted as well.
            self._forecast(max(taken, wave.judged))
            beyond = not pilot_done and self.accepted >= goal and self._past(upto)
            if beyond and self._stands():
                goal, pilot_done = self._target, True
            elif self.accepted >= goal:
                name = "final" if pilot_done else "pilot"
                if failed := self._gate(name):
                    return self._outcome(name, failed)
                if work.spec.pairs is not None and (failed := self._prefer(name, critics)):
                    return self._outcome(f"{name} pairs", failed)
                if pilot_done:
                    return self._outcome(name, ())
                if not beyond:
                    work.consult("pilot")  # a change of settings ends this here, before the run counts as scaled
                    work.store.append({"metrics": [self._metric("gate", "scaled", upto, utc_now())]})
                goal, pilot_done = self._target, True
            elif taken == before or (instructions.considered >= at_most and taken == instructions.distinct):
                self._gate("final" if pilot_done else "pilot")
                return "gate_failed", (
                    f"the target is out of reach: {self.accepted} accepted of {goal} wanted after "
                    f"{instructions.considered} candidates, at most {at_most} allowed"
                )
            wanted = taken + self._wave_size(goal, taken)

    def _past(self, upto: int) -> bool:
        """Whether the run was scaled before: what was approved of then is not asked about again on other data."""
        beyond = (
            "SELECT 1 FROM metrics WHERE run_id = $1 AND phase = 'gate' AND name = 'scaled' UNION ALL "
            "SELECT 1 FROM samples WHERE run_id = $1 AND ordinal > $2 LIMIT 1"  # by a version that kept no such row
        )
        return bool(self._work.reader.query(beyond, [self._work.run_id, upto]))

    def _stands(self) -> bool:
        """Whether the pilot passed its gates under the thresholds of now: they stay as decided, on the rows of then."""
        work = self._work
        now = {"pilot": gates.recompute(work.reader, work.run_id, work.spec).checks}
        if work.spec.pairs is not None:
            now["pilot pairs"] = recheck_pairs(work.reader, work.run_id, work.spec).checks
        limits = {(gate, check.name): (check.op, check.threshold) for gate, checks in now.items() for check in checks}
        rows = [row for row in work.reader.gates(work.run_id) if row["gate"] in now]
        same = all(limits.get((row["gate"], row["check_name"])) == (row["op"], row["threshold"]) for row in rows)
        return same and {row["gate"] for row in rows} == set(now) and not any(row["result"] in FAILING for row in rows)

    def _wave_size(self, goal: int, taken: int) -> int:
        """What the goal needs at the rate so far; at most as many again as were taken, for a rate is a guess."""
        rate = (self.accepted + 1) / (taken + 2)
        needed = math.ceil(HEADROOM * max(goal - self.accepted, 1) / rate)
        return min(needed, LARGEST_WAVE, max(taken, SMALLEST_DOUBLED))

    def _forecast(self, candidates: int) -> None:
        needed = needed_candidates(self.accepted, candidates, self._target)
        self._work.emit(ForecastUpdated(self._work.run_id, self.accepted, candidates, *(needed or (None, None, None))))

    def _gate(self, name: str) -> tuple[str, ...]:
        """Decide the gate of samples; returns the names of the checks that failed."""
        work = self._work
        with self._phase("gate", 1):
            checks = gates.recompute(work.reader, work.run_id, work.spec).checks
            evidence = gates.evidence_sha256(checks)
            known = any(row["evidence_sha256"] == evidence for row in work.reader.gates(work.run_id))
            if not known:  # a resumed run that stands where it stood has measured it
                self._repeat()
            failed = self._decide(name, checks)
            read_anew(work.store, work.run_id)  # what a person read since the checks were counted
        self._gate_done("gate", failed)
        return failed

    def _prefer(self, name: str, critics: dict[str, list[Calibrated]]) -> tuple[str, ...]:
        """From accepted samples to preference pairs, and their gate; returns the names of the checks that failed."""
        work = self._work
        assert work.spec.revisions is not None
        flow = Flow(work)
        for phase in self._as_far_as(PREFERENCES):
            tally = flow.phase(phase)
            if phase == "revisions":
                flow.add(*Revising(work, critics["pair"], tally).lanes)
            else:
                flow.add(*drawing(work, critics["sample"], tally))
        flow.run()
        self._stop_behind(PREFERENCES[-1])
        flow = Flow(work)
        tally = flow.phase("pairs", at_end=lambda: choose(work, tally))
        flow.add(pairing(work, critics["pair"], tally))
        flow.run()
        self._stop_behind("pairs")
        with self._phase("pair_gate", 1):
            failed = self._decide(f"{name} pairs", recheck_pairs(work.reader, work.run_id, work.spec).checks)
        self._gate_done("pair_gate", failed)
        return failed

    def _gate_done(self, phase: str, failed: tuple[str, ...]) -> None:
        if failed:  # the run ends by that, whatever was asked for
            self._finished(phase, 1, None)
        else:
            self._maybe_stop(phase, 1, None)

    def _decide(self, name: str, checks: Sequence[gates.Check]) -> tuple[str, ...]:
        """Keep a gate's checks and tell of them; returns the names of those that failed."""
        work = self._work
        evidence, now = gates.evidence_sha256(checks), utc_now()
        stored = [row["evidence_sha256"] for row in work.reader.gates(work.run_id) if row["gate"] == name]
        if stored != [evidence] * len(checks):  # else it was decided then, and stays so
            work.store.put({"gates": [gates.gate_row(work.run_id, name, check, evidence, now) for check in checks]})
        told = gates.decided(work.run_id, name, checks)
        self._told[name] = told
        work.emit(told)
        for line in helps({"check_name": check.name, "result": check.result} for check in checks):
            work.emit(Noted(work.run_id, "warning", f"what would help: {line}"))
        return told.failed_checks

    def _repeat(self) -> None:
        """Measure what floating point does to this run, and say it."""
        work = self._work
        found = repeat(work.answers.model, work.reader, work.run_id)
        if not found.texts and not found.scores:
            return
        now = utc_now()
        work.store.append({"metrics": [self._metric("gate", f"repeat_{k}", v, now) for k, v in asdict(found).items()]})
        level = "warning" if found.texts_differing else "info"
        work.emit(Noted(work.run_id, level, f"computed again one at a time: {found}"))

    def _metric(self, phase: str, name: str, value: float, now: datetime) -> dict[str, Any]:
        return {
            "run_id": self._work.run_id,
            "phase": phase,
            "name": name,
            "value": float(value),
            "session_id": self._work.session_id,
            "at": now,
        }

    def _outcome(self, gate: str, failed: tuple[str, ...]) -> tuple[str, str]:
        if failed:
            return "gate_failed", f"the {gate} gate failed: {', '.join(failed)}"
        accepted = of_run(self._work.reader, self._work.reader.run(self._work.run_id))
        latest = [told for name, told in self._told.items() if name.startswith(gate)]
        gates_told = "; ".join(f"{told.gate} gate {told.result}, {told.told}" for told in latest)
        return "done", f"{accepted.by_whom}; {gates_told}"  # a person may read it later

    @contextmanager
    def _phase(self, name: str, planned: int) -> Iterator[None]:
        self._work.control.check()
        self._work.emit(PhaseStarted(self._work.run_id, name, planned))
        began = time.monotonic()
        try:
            yield
        finally:
            # How long each phase took, for whoever asks what the hours went to.
            row = self._metric(name, "elapsed_s", time.monotonic() - began, utc_now())
            self._work.store.append({"metrics": [row]})

    def _maybe_stop(self, phase: str, done: int, accepted: int | None) -> None:
        self._finished(phase, done, accepted)
        self._stop_behind(phase)

    def _as_far_as(self, phases: Sequence[str]) -> list[str]:
        """Those of the phases that are not behind the one that --until names."""
        last = PHASES.index(self._until) if self._until is not None else len(PHASES)
        return [phase for phase in phases if PHASES.index(phase) <= last]

    def _stop_behind(self, phase: str) -> None:
        if self._until is not None and PHASES.index(phase) >= PHASES.index(self._until):
            raise StoppedAt(self._until)

    def _finished(self, phase: str, done: int, accepted: int | None) -> None:
        self._work.emit(PhaseFinished(self._work.run_id, phase, done, accepted))
