"""The reducer, without a screen."""

import pytest

from engine.core.events import (
    CriticAudited,
    Event,
    ForecastUpdated,
    GateDecided,
    GuardChecked,
    MarginMeasured,
    PhaseFinished,
    PhaseProgressed,
    PhaseStarted,
    QuestionAnswered,
    QuestionAsked,
    RunFinished,
    RunPaused,
    RunResumed,
    RunStarted,
)
from engine.stats.shares import wilson
from store import names
from tui.live.bridge import Bridge
from tui.live.state import EVENTS_KEPT, MARGINS_KEPT, RunState
from tui.words import wording
from tui.words.facts import GateTold

RUN = "r"


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def state(clock: Clock) -> RunState:
    state = RunState(clock=clock, wall=lambda: 0.0)
    state.apply(RunStarted(RUN, "spec.md", "model", 7, 40, False))
    return state


def test_wilson_matches_published_values() -> None:
    low, high = wilson(8, 10)
    assert (round(low, 3), round(high, 3)) == (0.490, 0.943)
    assert wilson(0, 0) == (0.0, 1.0)


def test_elapsed_leaves_pauses_out(state: RunState, clock: Clock) -> None:
    clock.now += 10
    state.apply(RunPaused(RUN))
    clock.now += 1000
    assert state.elapsed_s == 10 and state.state == "paused"
    state.apply(RunResumed(RUN))
    clock.now += 5
    assert state.elapsed_s == 15 and state.state == "running"


def test_rate_and_eta_come_from_the_last_half_minute(state: RunState, clock: Clock) -> None:
    state.apply(PhaseStarted(RUN, "responses", 100))
    for done in range(1, 61):
        clock.now += 1 if done <= 40 else 2
        state.apply(PhaseProgressed(RUN, "responses", done, 100, None))
    phase = state.phase("responses")
    assert phase.rate_per_s == pytest.approx(0.5)
    assert phase.eta_s == pytest.approx(80)
    state.apply(PhaseFinished(RUN, "responses", 60, None))
    assert phase.rate_per_s is None and phase.state == "done"


def test_acceptance_has_its_interval(state: RunState) -> None:
    state.apply(PhaseProgressed(RUN, "response_judgements", 10, 20, 8))
    share, low, high = state.phase("response_judgements").acceptance or (0, 0, 0)
    assert share == 0.8 and low < 0.5 < high
    assert state.phase("responses").acceptance is None


def test_guard_audit_gate_forecast(state: RunState) -> None:
    state.apply(GuardChecked(RUN, False, ("encoding",)))
    state.apply(CriticAudited(RUN, "label", "own", None, False))
    state.apply(GateDecided(RUN, "pilot", False, ("runaway",)))
    state.apply(ForecastUpdated(RUN, 3, 9, 120, 60, 300))
    assert state.guard_passed is False and state.phase("guard").state == "failed"
    assert not state.audits["sample", "label", "own"].may_filter
    assert state.gates["pilot"] == GateTold("failed", ("runaway",))
    assert state.accepted == 3 and state.forecast is not None and state.forecast.needed == 120
    assert "FAILED" in state.events[-1].text


def test_questions_come_and_go(state: RunState) -> None:
    state.apply(QuestionAsked(RUN, "q1", "gate", "Go on?"))
    assert list(state.questions) == ["q1"]
    state.apply(QuestionAnswered(RUN, "q1", "approve"))
    assert not state.questions
    state.apply(QuestionAsked(RUN, "q2", "gate", "Go on?"))
    state.apply(RunFinished(RUN, "stopped", "asked to", 3, 9.0))
    assert not state.questions and state.finished and state.elapsed_s == 9.0


def test_history_is_capped_and_unknown_events_do_no_harm(state: RunState) -> None:
    class Later(Event):
        pass

    for _ in range(MARGINS_KEPT + EVENTS_KEPT):
        state.apply(MarginMeasured(RUN, "label", "sample", "s", 0.1, 0.2, "accepted"))
        state.apply(RunPaused(RUN))
    state.apply(Later(RUN))
    assert len(state.margins["label", "sample"]) == MARGINS_KEPT
    assert len(state.events) == EVENTS_KEPT


def test_store_fills_in_what_events_did_not_tell(state: RunState) -> None:
    state.apply(PhaseProgressed(RUN, "responses", 7, 10, None))
    status = {
        "run": RUN,
        "state": "running",
        "phases": [
            {"name": "guard", "state": "done", "done": 2, "planned": 2, "accepted": None},
            {"name": "responses", "state": "running", "done": 3, "planned": None, "accepted": None},
        ],
    }
    state.load(status, margins={("label", "sample"): [0.1, 0.2]})
    assert state.phase("guard").state == "done"
    assert state.phase("responses").done == 7
    assert list(state.margins["label", "sample"]) == [0.1, 0.2]


def test_run_cut_off_reads_as_interrupted() -> None:
    state = RunState()
    phases = [{"name": "responses", "state": "running", "done": 3, "planned": None, "accepted": None}]
    state.load({"run": RUN, "state": "running", "phases": phases, "elapsed_s": 4.0})
    assert state.state == "interrupted" and state.phase("responses").state == "stopped" and state.elapsed_s == 4.0


def test_bridge_keeps_order_and_only_the_newest_progress() -> None:
    posted: list[object] = []
    bridge = Bridge(posted.append)
    for done in range(100):
        bridge.emit(PhaseProgressed(RUN, "responses", done, 100, None))
    bridge.emit(PhaseFinished(RUN, "responses", 100, None))
    bridge.emit(PhaseProgressed(RUN, "gate", 1, 1, None))
    bridge.emit(MarginMeasured(RUN, "label", "sample", "s", 0.1, 0.2, "accepted"))
    drained = bridge.drain()
    assert [event.kind for event in drained] == [
        "PhaseProgressed",
        "PhaseFinished",
        "PhaseProgressed",
        "MarginMeasured",
    ]
    assert drained[0].done == 99
    assert len(posted) == 1 and bridge.drain() == []


def test_every_phase_has_a_title() -> None:
    assert set(wording.PHASE_TITLES) == {*names.PHASES, *names.BESIDE}


def test_phases_of_preferences_are_there_once_something_names_them(state: RunState) -> None:
    assert tuple(state.phases) == names.COMMON_PHASES
    state.apply(PhaseStarted(RUN, "revisions", 9))
    state.apply(PhaseProgressed(RUN, "revisions", 4, 9, 1))
    assert tuple(state.phases) == (*names.COMMON_PHASES, "revisions") and state.phase("revisions").accepted == 1
    stored = RunState()
    named = [{"name": name, "state": "waiting", "done": 0} for name in names.PHASES]
    stored.load({"run": RUN, "state": "done", "phases": named})
    assert tuple(stored.phases) == names.PHASES


@pytest.mark.parametrize(
    ("decided", "phase", "other"),
    [
        ([("pilot", False)], "gate", "pair_gate"),
        ([("pilot", True), ("pilot pairs", False)], "pair_gate", "gate"),
        ([("pilot", True), ("pilot pairs", True), ("final", False)], "gate", "pair_gate"),
        # Decided anew after a resume: what failed before passes now, and the other one fails.
        ([("pilot", False), ("pilot", True), ("pilot pairs", False)], "pair_gate", "gate"),
        ([("pilot", True), ("pilot pairs", False), ("pilot", False)], "gate", "pair_gate"),
    ],
)
def test_the_phase_of_the_gate_that_failed_is_marked(
    state: RunState, decided: list[tuple[str, bool]], phase: str, other: str
) -> None:
    state.apply(PhaseFinished(RUN, "gate", 1, None))
    for name, passed in decided:
        state.apply(GateDecided(RUN, name, passed, () if passed else ("share",)))
    state.apply(RunFinished(RUN, "gate_failed", "share", 3, 9.0))
    assert state.phase(phase).state == "failed" and other not in [
        name for name, known in state.phases.items() if known.state == "failed"
    ]


def test_a_stored_run_whose_gate_of_pairs_failed_says_so() -> None:
    state = RunState()
    gates = [{"name": "pilot", "result": "passed", "evidence": []},
             {"name": "pilot pairs", "result": "failed", "evidence": []}]  # fmt: skip
    named = [{"name": name, "state": "done", "done": 1} for name in ("gate", "pair_gate")]
    state.load({"run": RUN, "state": "gate_failed", "phases": named, "gates": gates})
    assert state.phase("pair_gate").state == "failed" and state.phase("gate").state == "done"
