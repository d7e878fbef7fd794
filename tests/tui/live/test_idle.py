"""A GPU that is paid for and stands idle: the phase, the cause that events tell of, and the setting that helps."""

import io
from typing import Any

import pytest
from rich.console import Console

from engine.core.events import (
    GpusMeasured,
    ModelLoaded,
    ModelLoading,
    PhaseProgressed,
    PhaseStarted,
    QuestionAnswered,
    QuestionAsked,
    RunFinished,
    RunPaused,
    RunResumed,
    RunStarted,
)
from engine.core.nvidia import GpuLoad
from tests.tui.fakes import RUN
from tui.live.idle import advice
from tui.live.standing import needs
from tui.live.state import RunState
from tui.printed.progress import PlainView


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def gpus(*busy: float | None) -> tuple[GpuLoad, ...]:
    return tuple(GpuLoad("NVIDIA H100 80GB HBM3", share, 70_000, 81_559, 300.0, 50) for share in busy)


class Scene:
    """A run whose GPUs are measured every two seconds."""

    def __init__(self, model: str = "qwen", at_once: int | None = 256, asked: bool = False) -> None:
        self.clock = Clock()
        self.state = RunState(clock=self.clock)
        self.told(RunStarted(RUN, "s", model, 1, 40, False), ModelLoading(RUN, model))
        self.told(ModelLoaded(RUN, model, "fp", 9.0, at_once, asked))

    def told(self, *events: Any) -> None:
        for event in events:
            self.state.apply(event)

    def measure(self, seconds: float, phase: str, *busy: float | None) -> None:
        until = self.clock.now + seconds
        while self.clock.now < until:
            self.clock.now += 2
            self.told(GpusMeasured(RUN, phase, gpus(*busy)))


def test_nothing_is_said_before_a_whole_minute_and_of_a_busy_gpu() -> None:
    one = Scene(at_once=8, asked=True)
    one.told(PhaseStarted(RUN, "responses", 4000))
    one.measure(58, "responses", 0.1)
    assert advice(one.state) == "" and one.state.gauges.busy is None
    one.measure(6, "responses", 0.1)
    assert "10 %" in advice(one.state)
    one.measure(60, "responses", 0.51)
    assert advice(one.state) == "" and one.state.gauges.busy == pytest.approx(0.51)


def test_what_was_told_of_long_ago_makes_no_minute() -> None:
    """A screen that attaches is told the newest measurement of each phase."""
    one = Scene(at_once=8, asked=True)
    gauges = one.state.gauges
    gauges.apply(GpusMeasured(RUN, "instructions", gpus(0.95)), 1800.0)
    gauges.apply(GpusMeasured(RUN, "responses", gpus(0.1)), 1.0)
    assert gauges.busy is None
    one.measure(62, "responses", 0.1)
    assert gauges.busy == pytest.approx(0.1)


def test_a_batch_that_was_asked_for_is_named() -> None:
    one = Scene(at_once=8, asked=True)
    one.told(PhaseStarted(RUN, "responses", 4000))
    one.measure(64, "responses", 0.12)
    assert advice(one.state) == "GPU 12 % busy in Responses: 8 at once by your --batch-size"


def test_the_end_of_a_wave_is_named_with_what_makes_waves_longer() -> None:
    one = Scene()
    one.told(PhaseStarted(RUN, "responses", 400), PhaseProgressed(RUN, "responses", 360, 400, None))
    one.measure(64, "responses", 0.3)
    assert advice(one.state) == "GPU 30 % busy in Responses: 40 left of a wave: larger --pilot"


def test_lists_in_small_rounds_are_named_with_their_setting() -> None:
    one = Scene()
    one.state.load({"run": RUN, "settings": {"instructions": {"round": 64}}})
    one.told(PhaseStarted(RUN, "instructions", 4000))
    one.measure(64, "instructions", 0.2)
    assert advice(one.state) == "GPU 20 % busy in Instructions: instructions.round 64, 256 fit"


def test_gpus_without_work_are_counted() -> None:
    one = Scene()
    one.told(PhaseStarted(RUN, "response_judgements", 4000))
    one.measure(64, "response_judgements", 0.9, 0.0, 0.02, 0.0)
    assert advice(one.state) == "4 GPUs 23 % busy in Judge pairs: 3 unused: CAI_PARALLEL=4x1"
    one.told(PhaseStarted(RUN, "sft", 300))
    one.measure(64, "sft", 0.9, 0.0, 0.0, 0.0)
    assert advice(one.state) == "4 GPUs 22 % busy in SFT: 3 unused: --accelerate ddp_4"


def test_servers_that_answer_elsewhere_leave_the_pod_idle() -> None:
    one = Scene("http://node:8000/v1#Qwen")
    one.told(PhaseStarted(RUN, "responses", 4000))
    one.measure(64, "responses", 0.0)
    assert advice(one.state).endswith("servers answer, not this pod")


@pytest.mark.parametrize("phase", ["guard", "gate", "dpo", "evaluation", "response_judgements"])
def test_where_no_setting_helps_nothing_is_proposed(phase: str) -> None:
    one = Scene()
    one.told(PhaseStarted(RUN, phase, 1 if phase in ("guard", "gate") else 4000))
    one.measure(64, phase, 0.2)
    assert one.state.gauges.busy == pytest.approx(0.2) and advice(one.state) == ""


def test_of_two_phases_the_one_with_most_idle_time_is_named() -> None:
    one = Scene(at_once=8, asked=True)
    one.told(PhaseStarted(RUN, "responses", 4000))
    one.measure(20, "responses", 0.6)
    one.told(PhaseStarted(RUN, "response_judgements", 4000))
    one.measure(44, "response_judgements", 0.3)
    assert "in Judge pairs" in advice(one.state)


def test_loading_and_waiting_are_no_idleness_of_a_phase() -> None:
    one = Scene(at_once=8, asked=True)
    one.told(PhaseStarted(RUN, "responses", 4000), QuestionAsked(RUN, "q1", "pilot", "Scale?"))
    one.measure(300, "responses", 0.0)
    assert advice(one.state) == ""
    one.told(QuestionAnswered(RUN, "q1", "approve"))
    one.measure(58, "responses", 0.0)
    assert advice(one.state) == "", "the minute begins with the answer"
    one.measure(6, "responses", 0.0)
    assert advice(one.state) != ""
    one.told(ModelLoading(RUN, "qwen"))
    assert advice(one.state) == ""


def test_an_old_measurement_and_one_that_tells_no_share_say_nothing() -> None:
    one = Scene(at_once=8, asked=True)
    one.told(PhaseStarted(RUN, "responses", 4000))
    one.measure(64, "responses", 0.1)
    one.clock.now += 20
    assert one.state.gauges.gpus == () and advice(one.state) == ""
    two = Scene()
    two.measure(64, "responses", None)
    assert advice(two.state) == "" and len(two.state.gauges.gpus) == 1
    two.told(RunFinished(RUN, "done", "", 2, 9.0))
    assert two.state.gauges.gpus == ()


def told(one: Scene, price: float | None) -> list[tuple[str, str]]:
    return [(need.told, need.key) for need in needs(one.state, (), price)]


def test_a_question_that_waits_says_how_long_and_what_that_cost() -> None:
    one = Scene()
    one.told(QuestionAsked(RUN, "q1", "pilot", "Scale?"))
    one.clock.now += 59
    assert told(one, 3.0) == [("pilot waits for your answer", "g")]
    one.clock.now += 181
    one.told(QuestionAsked(RUN, "q2", "gap", "Train?"))  # what waits longest counts
    assert told(one, 3.0)[0] == ("pilot waits for your answer since 4 min: $0.20", "g")
    assert told(one, None)[0] == ("pilot waits for your answer since 4 min", "g")
    one.told(QuestionAnswered(RUN, "q1", "approve"))
    assert told(one, 3.0)[0] == ("gap waits for your answer", "g")


def test_a_pause_is_paid_for_too() -> None:
    one = Scene()
    one.told(RunPaused(RUN))
    one.clock.now += 90 * 60
    assert told(one, 2.0) == [("paused since 1 h 30 min: $3.00", "p")] and told(one, None) == []
    one.told(RunResumed(RUN))
    assert told(one, 2.0) == []


def test_the_advice_comes_last_and_has_no_key() -> None:
    one = Scene(at_once=8, asked=True)
    one.told(PhaseStarted(RUN, "responses", 4000))
    one.measure(64, "responses", 0.12)
    assert told(one, 3.0) == [("GPU 12 % busy in Responses: 8 at once by your --batch-size", "")]


def test_without_a_screen_it_is_said_once_a_phase() -> None:
    one, out = Scene(at_once=8, asked=True), io.StringIO()
    view = PlainView(Console(file=out, width=120), one.state)
    for phase in ("responses", "responses+response_judgements", "response_judgements"):
        one.told(PhaseStarted(RUN, phase.split("+")[-1], 4000))
        for _ in range(70):
            one.measure(2, phase, 0.1)
            view.tell(GpusMeasured(RUN, phase, gpus(0.1)))
    said = [line.partition("] ")[2] for line in out.getvalue().splitlines()]
    assert said == [
        "warning: GPU 10 % busy in Responses: 8 at once by your --batch-size",
        "warning: GPU 10 % busy in Responses + Judge pairs: 8 at once by your --batch-size",
    ]


def test_phases_that_are_side_by_side_have_the_cause_that_holds_for_both() -> None:
    both = "responses+response_judgements"
    one = Scene()
    one.told(PhaseStarted(RUN, "responses", 400), PhaseProgressed(RUN, "responses", 390, 400, None))
    one.told(PhaseStarted(RUN, "response_judgements", 400))
    one.measure(64, both, 0.3)
    assert advice(one.state) == "", "hundreds of pairs wait to be judged"
    one.told(PhaseProgressed(RUN, "response_judgements", 340, 400, 200))
    assert advice(one.state) == "GPU 30 % busy in Responses + Judge pairs: 60 left of a wave: larger --pilot"
    one.told(PhaseStarted(RUN, "instructions", 4000))
    one.measure(64, "instructions+instruction_judgements", 0.3)
    assert advice(one.state) == ""
