"""What the screens show, rebuilt from events: a reducer that knows neither Textual nor the store.

The control center and the headless printer use the same `RunState`. Events are told apart by their `kind`, so that
importing this module pulls in nothing of the engine that is heavy. History is capped here; the whole is in the store.
"""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from store.headline import Headline, Readings, headline, in_green, of_samples, readings_from
from store.names import ALIVE, BESIDE, COMMON_PHASES, EVALUATION, FINISHED, REFIT, TRAINED
from store.outcomes import FAILED, PASSED
from tui.live.gauges import Gauges
from tui.live.trainings import Trainings
from tui.live.working import WorkingClock
from tui.words.events import describe
from tui.words.facts import Audit, GateTold, Moment, PhaseState
from tui.words.wording import phase_of

if TYPE_CHECKING:
    from engine.core.events import Event, ForecastUpdated, QuestionAsked

MARGINS_KEPT = 5_000  # a critic; enough for a histogram whose bars move by less than 1.5 %
EVENTS_KEPT = 400
MARKS_KEPT = 2_000
_WORD_BEGINS = re.compile(r"(?<=[a-z])(?=[A-Z])")


class RunState:
    """The state of one run as far as events have told it.

    `revision` grows with every change, so that a screen can skip painting what did not change.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, wall: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._wall = wall
        self.revision = 0
        self.run_id = ""
        self.spec = ""
        self.model = ""
        self.fingerprint = ""
        self.seed: int | None = None
        self.target: int | None = None
        self.accepted = 0
        self.resumed = False
        self.state, self.reason = "idle", ""
        self.phases: dict[str, PhaseState] = {name: PhaseState(name) for name in COMMON_PHASES}
        self.current_phase: str | None = None
        self.guard_passed: bool | None = None
        self.guard_failed: tuple[str, ...] = ()
        self.audits: dict[tuple[str, str, str], Audit] = {}  # by subject kind, critic, part
        self.good_among_accepted: Sequence[Mapping[str, Any]] = ()  # by kind, as the store's status tells it
        self.accept_above: float | None = None
        self.min_auc: float | None = None
        self.gates: dict[str, GateTold] = {}  # as each was decided last
        self.accepted_by_basis: Mapping[str, int] = {}  # as the store tells it
        self.readings = Readings()  # the same
        self.forecast: ForecastUpdated | None = None
        self.questions: dict[str, QuestionAsked] = {}
        self.margins: dict[tuple[str, str], deque[float]] = {}
        self.acceptance: dict[str, deque[tuple[int, int]]] = {}  # by phase: (items judged, accepted) as it went on
        self.gauges = Gauges(clock)
        self.events: deque[Moment] = deque(maxlen=EVENTS_KEPT)
        self.aside: tuple[str, ...] = ()  # sft, dpo, evaluation, refit: done instead of going on with the run
        self.changed: Mapping[str, str] = {}  # settings that this is done with in place of the spec's
        self.suites: tuple[str, ...] = ()  # of benchmarks, where an evaluation asks them and not the held-out items
        self.trainings = Trainings(clock)
        self.owner = 0  # the process that works on it, where that is another one, through which it is followed
        self.worked = WorkingClock(clock)
        self._told = False  # whether events speak for this run, which the store follows a moment later

    # -- what is read ------------------------------------------------------------------------------------------------

    @property
    def elapsed_s(self) -> float:
        """Working time, pauses excluded."""
        return self.worked.seconds

    @property
    def headline(self) -> Headline:
        """What kind of acceptance this is; between two looks at the store by the critics that may filter."""
        by_basis = self.accepted_by_basis
        if sum(by_basis.values()) != self.accepted:
            filters = any(one.may_filter for one in self.audits.values() if one.subject_kind == "sample")
            by_basis = {"critic" if filters else "rules": self.accepted}
        return headline(by_basis, of_samples(self.good_among_accepted), self.readings)

    @property
    def audited(self) -> bool:
        """Whether what is done may be told in green: quality is known and read, no gate failed or not tested."""
        return in_green(self.headline.shown, (told.result for told in self.gates.values()))

    @property
    def finished(self) -> bool:
        return self.state in FINISHED

    @property
    def active(self) -> bool:
        """Whether an engine works on the run (or is paused and will)."""
        return self.state in ("loading", "running", "pausing", "paused", "stopping")

    @property
    def trains(self) -> tuple[str, ...]:
        """What of it is training."""
        return tuple(name for name in self.aside if name in TRAINED)

    @property
    def doing(self) -> str:
        """What the engine is busy with, as the subject of a sentence."""
        beside = "An evaluation" if self.evaluates else "A refit" if self.refits else "The run"
        return "A training" if self.trains else beside

    @property
    def evaluates(self) -> bool:
        return EVALUATION in self.aside

    @property
    def refits(self) -> bool:
        return REFIT in self.aside

    @property
    def critics(self) -> list[tuple[str, str]]:
        """(critic, subject_kind) of every critic with margins, in order of first appearance."""
        return list(self.margins)

    @property
    def critics_by_weight(self) -> list[tuple[str, str]]:
        """The same, those that may filter first, samples before all else, then in the spec's order."""
        told = [(audit.critic, audit.subject_kind) for audit in self.audits.values()]
        place = {key: at for at, key in reversed(list(enumerate(told)))}
        return sorted(
            self.critics, key=lambda key: (self.threshold(*key) is None, key[1] != "sample", place.get(key, len(told)))
        )

    @property
    def no_scale(self) -> frozenset[tuple[str, str]]:
        """(critic, subject_kind) of those whose scores say nothing, because anchors gave them no scale."""
        return frozenset((audit.critic, audit.subject_kind) for audit in self.audits.values() if audit.no_scale)

    def threshold(self, critic: str, subject_kind: str) -> float | None:
        """The score above which this critic accepts; None where it may not filter."""
        audits = [a for a in self.audits.values() if (a.critic, a.subject_kind) == (critic, subject_kind)]
        return self.accept_above if any(audit.may_filter for audit in audits) else None

    def phase(self, name: str) -> PhaseState:
        """The named phase; one that is not known yet is added at the end."""
        return self.phases.setdefault(name, PhaseState(name))

    # -- what happened -----------------------------------------------------------------------------------------------

    def apply(self, event: Event, at: float | None = None) -> None:
        """Fold one event in, by the method named as its kind. An unknown kind is listed and changes nothing else.

        `at` is when it happened, in seconds since the epoch, where that is not now.
        """
        handler: Callable[[Any], None] | None = getattr(self, f"_{_WORD_BEGINS.sub('_', event.kind).lower()}", None)
        if handler is not None:
            handler(event)
        self.gauges.apply(event, 0.0 if at is None else max(0.0, self._wall() - at))
        level, text = describe(event.kind, event.payload())
        if text:
            self.events.append(Moment(self._wall() if at is None else at, level, text))
        self.revision += 1

    def note(self, level: str, text: str) -> None:
        """Add a line of the screen's own to the events list."""
        self.events.append(Moment(self._wall(), level, text))
        self.revision += 1

    def ask_state(self, state: str) -> None:
        """Show at once what was asked for (pausing, stopping); the engine's event settles it."""
        if self.active:
            self.state = state
            self.revision += 1

    def _run_started(self, event: Any) -> None:
        self.run_id, self.spec, self.model = event.run_id, event.spec, event.model
        self.seed, self.target, self.resumed = event.seed, event.target, event.resumed
        self.state, self.reason = "running", ""
        self._told = True
        self.worked.go()

    def _model_loading(self, event: Any) -> None:
        self.model = event.model
        if self.state in ("idle", "opening", "running"):
            self.state = "loading"

    def _model_loaded(self, event: Any) -> None:
        self.model, self.fingerprint = event.model, event.fingerprint
        if self.state == "loading":
            self.state = "running"

    def _phase_started(self, event: Any) -> None:
        phase = self.phase(event.phase)
        phase.state, phase.planned = "running", event.planned
        phase.marks.clear()
        phase.marks.append((self._clock(), phase.done))
        self.current_phase = event.phase
        if event.phase in BESIDE and not self.aside:
            self.aside = (event.phase,)

    def _phase_progressed(self, event: Any) -> None:
        phase = self.phase(event.phase)
        phase.done, phase.planned = event.done, event.planned
        if event.accepted is not None:
            phase.accepted = event.accepted
            self._count(event)
            self._went_on(event.phase, event.done, event.accepted)
        if phase.state != "running":
            phase.state = "running"
            self.current_phase = event.phase
        phase.marks.append((self._clock(), event.done))

    def _went_on(self, phase: str, done: int, accepted: int) -> None:
        marks = self.acceptance.setdefault(phase, deque(maxlen=MARKS_KEPT))
        if done > (marks[-1][0] if marks else 0):
            marks.append((done, accepted))

    def _phase_finished(self, event: Any) -> None:
        phase = self.phase(event.phase)
        phase.state, phase.done = "done", event.done
        phase.planned = max(phase.planned, event.done)
        if event.accepted is not None:
            phase.accepted = event.accepted
            self._count(event)

    def _count(self, event: Any) -> None:
        """What is accepted of a run is what is accepted of its pairs of instruction and response."""
        if event.phase == "response_judgements":
            self.accepted = event.accepted

    def _margin_measured(self, event: Any) -> None:
        key = (event.critic, event.subject_kind)
        self.margins.setdefault(key, deque(maxlen=MARGINS_KEPT)).append(event.score)

    def _training_started(self, event: Any) -> None:
        self.trainings.started(event)
        phase = self.phase(phase_of(event.method))
        phase.done, phase.planned = event.done_steps, event.planned_steps
        phase.marks.clear()

    def _training_stepped(self, event: Any) -> None:
        self.trainings.stepped(event)

    def _training_finished(self, event: Any) -> None:
        self.trainings.finished(event)

    def _guard_checked(self, event: Any) -> None:
        self.guard_passed, self.guard_failed = event.passed, tuple(event.failed_checks)
        if not event.passed:
            self.phase("guard").state = "failed"

    def _critic_audited(self, event: Any) -> None:
        self._audited(Audit(event.critic, event.part, event.auc, event.may_filter, event.subject_kind))

    def _audited(self, audit: Audit) -> None:
        self.audits[audit.subject_kind, audit.critic, audit.part] = audit

    def _forecast_updated(self, event: Any) -> None:
        self.accepted, self.forecast = event.accepted, event

    def _gate_decided(self, event: Any) -> None:
        self.gates.pop(event.gate, None)  # decided anew after a resume: it is the latest one again
        result = event.result or (PASSED if event.passed else FAILED)
        self.gates[event.gate] = GateTold(result, tuple(event.failed_checks), event.told)

    def _question_asked(self, event: Any) -> None:
        self.questions[event.question_id] = event

    def _question_answered(self, event: Any) -> None:
        self.questions.pop(event.question_id, None)

    def _run_paused(self, _event: Any) -> None:
        self.state = "paused"
        self.worked.halt()

    def _run_resumed(self, _event: Any) -> None:
        self.state = "running"
        for phase in self.phases.values():
            phase.marks.clear()  # a pause is not slowness
        self.trainings.went_on()
        self.worked.go()

    def _stop_asked(self, _event: Any) -> None:
        self.ask_state("stopping")

    def _run_finished(self, event: Any) -> None:
        self._told = True
        self.worked.halt()
        self.state, self.reason, self.accepted = event.state, event.reason, event.accepted
        if self.aside and event.state == "gate_failed":
            self.state = "locked" if self.trains else "refused"
        self.worked.before = event.elapsed_s
        self.questions.clear()
        for phase in self.phases.values():
            if phase.state == "running":
                phase.state = "failed" if event.state == "failed" else "stopped"
        if self.state == "gate_failed":
            self._fail_gate()

    def _fail_gate(self) -> None:
        """Mark the phase of the latest gate that failed; the gates of preference pairs are named "… pairs"."""
        failed = next((name for name, told in reversed(self.gates.items()) if told.result == FAILED), "")
        self.phase("pair_gate" if failed.endswith(" pairs") else "gate").state = "failed"

    # -- what the store knows ----------------------------------------------------------------------------------------

    def load(
        self,
        status: Mapping[str, Any],
        *,
        guard: Iterable[Mapping[str, Any]] = (),
        audits: Iterable[Mapping[str, Any]] = (),
        margins: Mapping[tuple[str, str], Iterable[float]] | None = None,
        events: Iterable[Mapping[str, Any]] = (),
        progress: Iterable[Mapping[str, Any]] = (),
    ) -> None:
        """Fill in what the store knows of a run; what events have already told stays as it is."""
        live = self._told
        self.run_id = self.run_id or str(status["run"])
        self.spec = self.spec or str(status.get("spec", ""))
        self.model = self.model or str(status.get("model", ""))
        self.seed = self.seed if self.seed is not None else status.get("seed")
        self.target = self.target if self.target is not None else status.get("target")
        self.gauges.load(status.get("settings") or {})
        critics = (status.get("settings") or {}).get("critics") or {}
        self.accept_above, self.min_auc = critics.get("accept_above"), critics.get("min_auc")
        self.good_among_accepted = status.get("good_among_accepted") or ()
        self.accepted_by_basis = (status.get("counts") or {}).get("accepted_by_basis") or {}
        self.readings = readings_from(status["readings"]) if "readings" in status else Readings()
        counted = int((status.get("counts") or {}).get("accepted") or 0)
        if not live or self.phase("response_judgements").state == "pending":
            self.accepted = counted or self.accepted
        for row in status.get("phases", ()):
            phase = self.phase(row["name"])
            if not (live and phase.state != "pending"):
                state = row.get("state") or "pending"
                phase.state = {"waiting": "pending"}.get(state, state if live or state != "running" else "stopped")
                phase.done, phase.planned = row.get("done") or 0, row.get("planned") or 0
                phase.accepted = row.get("accepted")
        in_order = {row["name"]: self.phases[row["name"]] for row in status.get("phases", ())}
        self.phases = {**in_order, **self.phases}
        for row in audits:
            self._audited(Audit.of(row))
        checks = [row for row in guard if row["passed"] is not None]
        if checks and self.guard_passed is None:
            self.guard_failed = tuple(row["check_id"] for row in checks if not row["passed"])
            self.guard_passed = not self.guard_failed
        for key, scores in (margins or {}).items():
            known = deque(scores, maxlen=MARGINS_KEPT)
            if len(known) >= len(self.margins.get(key, ())):
                self.margins[key] = known
        known_marks, self.acceptance = {name: marks for name, marks in self.acceptance.items() if marks}, {}
        for row in progress:
            self._went_on(row["phase"], row["done"], row["accepted"])
        for name, marks in known_marks.items():
            for done, accepted in marks:
                self._went_on(name, done, accepted)
        if not live or not self.active:
            self.gates = {row["name"]: GateTold.of(row) for row in status.get("gates", ())} or self.gates
        if not live:
            state = status.get("state") or "idle"
            # Whoever works on a run tells of it: one that says it is going on, and of which nobody told, was cut off.
            self.state = "interrupted" if state in ALIVE else state
            self.reason = str(status.get("reason") or "")
            self.worked.before = float(status.get("elapsed_s") or 0.0)
            if state == "gate_failed" or any(told.result == FAILED for told in self.gates.values()):
                self._fail_gate()
        if not self.events:
            for row in events:
                level, text = describe(row["kind"], row["payload"])
                if text:
                    at = row["at"]
                    self.events.append(Moment(at.timestamp() if hasattr(at, "timestamp") else 0.0, level, text))
        elif live and not self.worked.before:
            self.worked.before = float(status.get("elapsed_s") or 0.0)
        self.revision += 1


def beside(run_id: str, what: Sequence[str], changed: Mapping[str, str] | None = None) -> RunState:
    """The state of a run of which more than its data is about to be made; `what` are the phases of that."""
    (found := RunState()).run_id, found.aside, found.changed = run_id, tuple(what), changed or {}
    return found
