"""A real engine that others follow: they are told what it tells, one of them answers, and who that was is recorded."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from os import getpid
from pathlib import Path
from typing import Any

import pytest

import engine.models.registry
from engine.core.events import (
    Event,
    GateDecided,
    GpusMeasured,
    MarginMeasured,
    Noted,
    PhaseFinished,
    PhaseProgressed,
    PhaseStarted,
    QuestionAsked,
    RunPaused,
    RunResumed,
    RunStarted,
    restored,
)
from engine.core.nvidia import GpuLoad
from engine.run.engine import Engine
from engine.run.orders import NewRun
from store.db import Store, reading
from store.errors import StoreError
from store.serving import channel
from store.serving.attached import Attached
from tests.engine.fakes import FakeModel
from tests.engine.run.test_consult import LOOSE, OPTIONS, query, verified
from tests.tui.fakes import RUN, FakeEngine, fill, steady_run
from tui.live.broadcast import Broadcast
from tui.live.far import FarEngine
from tui.live.opener import opener
from tui.words.events import describe

pytestmark = pytest.mark.integration


@pytest.fixture
def headless(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    """An engine whose run asks for a decision at its pilot, opened as one is that has no screen; it is not started."""
    monkeypatch.setattr(engine.models.registry, "load", lambda *_, **__: FakeModel())
    order = NewRun(tmp_path / "a.duckdb", overrides=LOOSE | {"review.ask": "[pilot]"}, **OPTIONS)
    opened = opener()(order, lambda event: None)
    assert isinstance(opened, Engine)
    yield opened
    opened.close()


@pytest.fixture
def store(tmp_path: Path) -> Path:
    path = tmp_path / "store.duckdb"
    fill(path)
    return path


def follower(path: Path, emit: Callable[[Event], None]) -> FarEngine:
    attached = reading(path)
    assert isinstance(attached, Attached)
    return FarEngine.of(attached, emit, lambda owner: None)


def wait_until(true: Callable[[], object]) -> None:
    until = time.monotonic() + 60
    while not true():
        assert time.monotonic() < until
        time.sleep(0.02)


def test_one_of_two_answers_counts_and_is_recorded_with_the_process_that_gave_it(headless: Engine) -> None:
    seen: dict[int, list[Event]] = {0: [], 1: []}
    far = [follower(headless.store.path, seen[number].append) for number in seen]
    for one in far:
        assert one.run_id == headless.run_id
        one.start()
    headless.start()
    asked = lambda: [event for event in seen[0] if event.kind == "QuestionAsked"]  # noqa: E731
    wait_until(asked)
    question = asked()[0].payload()["question_id"]
    taken: list[bool] = []
    threads = [
        threading.Thread(target=lambda one=one: taken.append(one.answer(question, "approve", "the samples read well")))
        for one in far
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sorted(taken) == [False, True]
    assert headless.join(90) and headless.outcome is not None and headless.outcome.state == "done"
    path, run_id = headless.store.path, headless.run_id
    headless.close()
    for number, one in enumerate(far):
        assert one.join(10) and one.outcome == headless.outcome
        one.close()
        answered = [event for event in seen[number] if event.kind == "QuestionAnswered"]
        assert [event.payload()["through"] for event in answered] == [f"process {getpid()}"]
    (decision,) = query(path, "SELECT answer, decided_by, reason FROM decisions")
    assert tuple(decision.values()) == ("proceed", "person", "the samples read well")
    (said,) = query(
        path, "SELECT body->>'through' AS through FROM review_entries WHERE who = 'person' AND kind = 'response'"
    )
    assert said["through"] == f"process {getpid()}"
    assert verified(path, run_id) == []


def test_a_question_waits_only_as_long_as_somebody_follows(headless: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel, "BACK_S", 0.2)
    seen: list[Event] = []
    far = follower(headless.store.path, seen.append)
    far.start()
    headless.start()
    wait_until(lambda: any(event.kind == "QuestionAsked" for event in seen))
    assert not headless.join(1.0)
    question = next(event for event in seen if event.kind == "QuestionAsked").payload()["question_id"]
    far.close()
    assert headless.join(20) and headless.outcome is not None and headless.outcome.state == "waiting"
    assert not headless.answer(question, "approve", "too late")


def test_a_screen_that_comes_later_knows_what_the_runs_own_screen_knows(store: Path) -> None:
    now = [100.0]
    broadcast = Broadcast(NewRun(store), lambda event: None, clock=lambda: now[0], wall=lambda: 1000.0 + now[0])
    with Store.open(store) as opened:
        fake = FakeEngine(opened, broadcast.emit, steady_run)
        broadcast.serve(fake)  # type: ignore[arg-type]
        fake.released.set()
        fake.start()
        assert fake.join(20)
        now[0] = 160.0
        broadcast.emit(RunPaused(RUN))
        now[0] = 500.0
        broadcast.emit(RunResumed(RUN))
        for number in range(3):
            broadcast.emit(MarginMeasured(RUN, "label", "sample", f"m{number}", 0.1, 0.1, "accepted"))
            broadcast.emit(PhaseProgressed(RUN, "response_judgements", 70 + number, 98, 40 + number))
        now[0] = 510.0
        far = follower(store, lambda event: None)
        state = far.state()
        assert (state.state, state.owner, state.run_id) == ("running", getpid(), RUN)
        assert (state.accepted, state.phases["response_judgements"].done) == (42, 72)
        stored = opened.reader().run(RUN)["elapsed_s"]
        assert state.elapsed_s == pytest.approx(stored + 60 + 10, abs=0.5)
        assert [moment.text for moment in state.events][-2:] == ["Paused", "Resumed"]
        assert state.events[-1].at == 1500.0 and state.guard_passed and state.margins == {}
        broadcast.emit(RunPaused(RUN, "process 7"))
        assert follower(store, lambda event: None).state().events[-1].text == "Paused (process 7)"
        far._following.about["run"] = far.run_id = "another"
        assert describe("StopAsked", {"through": "process 7"}) == ("info", "Stopping at the next commit (process 7)")
        assert describe("StopAsked", {"through": ""})[1] == ""
        with pytest.raises(StoreError, match=f"works on run {RUN} now"):
            far.pause()
        assert not fake.calls


def test_an_event_is_the_same_after_its_way_and_an_unknown_one_is_none() -> None:
    event = RunStarted(RUN, "spec", "model", 7, 40, False)
    assert restored(event.kind, RUN, event.payload()) == event
    assert restored("RunStarted", RUN, {**event.payload(), "newer": 1}) == event
    assert restored("RunStarted", RUN, {"spec": "spec"}) is None
    gpus = GpusMeasured(RUN, "responses", (GpuLoad("H200", 0.5, 70_000, 140_000, 300.0, 50),))
    assert restored(gpus.kind, RUN, json.loads(json.dumps(gpus.payload()))) == gpus
    assert restored(gpus.kind, RUN, {"phase": "responses"}) is None
    assert restored("Callable", RUN, {}) is None and restored("Nothing", RUN, {}) is None


def test_steps_of_the_run_that_follow_are_told_in_one_order(store: Path) -> None:
    with Store.open(store) as opened:
        told: list[Any] = []
        broadcast = Broadcast(NewRun(store), told.append)
        fake = FakeEngine(opened, broadcast.emit, lambda engine: [])
        broadcast.emit(RunStarted(RUN, "spec", "model", 7, 40, False))  # before it is served
        broadcast.serve(fake)  # type: ignore[arg-type]
        seen: list[Event] = []
        far = follower(store, seen.append)
        assert far.state().state == "running"
        far.start()
        threads = [
            threading.Thread(
                target=lambda at=at: [broadcast.emit(PhaseProgressed(RUN, f"p{at}", n, 50, n)) for n in range(50)]
            )
            for at in range(3)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
        wait_until(lambda: len(seen) == 150)
        for at in range(3):
            assert [event.payload()["done"] for event in seen if event.payload()["phase"] == f"p{at}"] == list(
                range(50)
            )
        far.close()


def test_after_many_waves_a_screen_that_comes_later_knows_the_phases_and_the_gates(store: Path) -> None:
    with Store.open(store) as opened:
        broadcast = Broadcast(NewRun(store), lambda event: None)
        broadcast.serve(FakeEngine(opened, broadcast.emit, lambda engine: []))  # type: ignore[arg-type]
        broadcast.emit(RunStarted(RUN, "spec", "model", 7, 40, False))
        broadcast.emit(GateDecided(RUN, "pilot", True, ()))
        for phase in ("instructions", "responses"):
            broadcast.emit(PhaseStarted(RUN, phase, 8))
            broadcast.emit(PhaseProgressed(RUN, phase, 8, 8, None))
        broadcast.emit(PhaseFinished(RUN, "instructions", 8, None))
        for number in range(channel.KEPT):
            broadcast.emit(Noted(RUN, "info", f"wave {number}"))
        far = follower(store, lambda event: None)
        state = far.state()
        assert {name: state.phases[name].state for name in ("instructions", "responses")} == {
            "instructions": "done",
            "responses": "running",
        }
        assert set(state.gates) == {"pilot"}
        far.close()


def test_a_wait_that_began_before_the_screen_came_is_told_from_its_begin(store: Path) -> None:
    now = [1000.0]
    with Store.open(store) as opened:
        broadcast = Broadcast(NewRun(store), lambda event: None, wall=lambda: time.time() - now[0])
        broadcast.serve(FakeEngine(opened, broadcast.emit, lambda engine: []))  # type: ignore[arg-type]
        broadcast.emit(RunStarted(RUN, "spec", "model", 7, 40, False))
        broadcast.emit(GpusMeasured(RUN, "gate", (GpuLoad("H200", 0.5, 70_000, 140_000, 300.0, 50),)))
        broadcast.emit(QuestionAsked(RUN, "q1", "pilot", "Scale?"))
        now[0] = -1000.0  # the clock was set since: nothing has waited for less than no time
        broadcast.emit(QuestionAsked(RUN, "q2", "gate", "Go on?"))
        far = follower(store, lambda event: None)
        gauges = far.state().gauges
        assert gauges.waited_s == pytest.approx(1000, abs=30)
        assert gauges.gpus == ()  # measured long ago
        assert set(gauges._waits) == {"q1", "q2"} and gauges._clock() >= gauges._waits["q2"]
        far.close()
