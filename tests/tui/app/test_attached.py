"""The screen of a run in another process: it follows within a second, pauses, answers and leaves, and writes nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from os import getpid
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from engine.core.events import Event, PhaseProgressed, QuestionAnswered, QuestionAsked, RunFinished, StopAsked
from engine.run.orders import Evaluate, NewRun
from store.db import Store, reading
from store.errors import OwnerGone
from tests.store import rows
from tests.tui.fakes import RUN, FakeEngine, steady_run
from tests.tui.screen import control_center, settle, shown, text_of
from tui.app import serving
from tui.app.app import ControlCenter
from tui.host.outside import Outside
from tui.live.broadcast import Broadcast
from tui.live.far import FarEngine

pytestmark = pytest.mark.integration

THROUGH = f"process {getpid()}"


@contextmanager
def owner(path: Path, order: Any = None) -> Iterator[FakeEngine]:
    """An engine that works on the store in this process, as another screen's would, and lets others follow."""
    told: list[Event] = []
    broadcast = Broadcast(order or NewRun(path), told.append)
    engine = FakeEngine(Store.open(path), broadcast.emit, steady_run)
    broadcast.serve(engine)  # type: ignore[arg-type]
    engine.start()
    while not any(event.kind == "ForecastUpdated" for event in told):
        time.sleep(0.01)
    try:
        yield engine
    finally:
        engine.released.set()
        engine.store.close()


async def within_a_second(pilot: Pilot[Any], true: Callable[[], bool]) -> None:
    began = time.monotonic()
    while not true():
        assert time.monotonic() - began < 1.0, text_of(pilot.app)  # type: ignore[arg-type]
        await pilot.pause(0.02)


async def test_it_shows_what_was_told_before_and_follows_within_a_second(store: Path) -> None:
    with owner(store) as engine:
        async with control_center(store, script=None) as (app, pilot):
            await settle(pilot, lambda: app.state.state == "running")
            assert f"attached to process {getpid()}" in shown(app, "#header")
            assert (app.state.run_id, app.state.fingerprint, app.state.accepted) == (RUN, "fp-1", 36)
            assert app.state.current_phase == "response_judgements" and len(app.state.audits) > 2
            engine.emit(PhaseProgressed(RUN, "response_judgements", 61, 98, 37))
            await within_a_second(pilot, lambda: app.state.accepted == 37)
            assert "37" in shown(app, "#header")
            engine.pause()  # at its own screen
            await within_a_second(pilot, lambda: "‖ paused" in shown(app, "#header"))
            engine.resume()
            await within_a_second(pilot, lambda: "▶ running" in shown(app, "#header"))
            engine.emit(StopAsked(RUN))
            await within_a_second(pilot, lambda: "■ stopping" in shown(app, "#header"))


async def test_it_pauses_answers_and_leaves_through_the_owner(store: Path) -> None:
    with owner(store) as engine:
        async with control_center(store, script=None) as (app, pilot):
            await settle(pilot, lambda: app.state.state == "running")
            await pilot.press("p")
            await within_a_second(pilot, lambda: app.state.state == "paused")
            await pilot.press("p")
            await within_a_second(pilot, lambda: app.state.state == "running")
            engine.emit(QuestionAsked(RUN, "q1", "gate", "Go on?"))
            await settle(pilot, lambda: app.dock.current is not None)
            await pilot.press("g", "y")
            await settle(pilot, lambda: "q1" in engine.answered)
            assert engine.calls == [("pause", THROUGH), ("resume", THROUGH), ("answer", "q1", "approve", THROUGH)]
            assert engine.reasons == ["answered on the screen"]
            for question, there in (("q2", True), ("q3", False)):
                engine.emit(QuestionAsked(RUN, question, "gate", "Go on?"))
                await settle(pilot, lambda: app.dock.current is not None)
                engine.answer(question, "approve", "at its own screen")
                if there:  # it was told of in time
                    engine.emit(QuestionAnswered(RUN, question, "approve"))
                    await within_a_second(pilot, lambda: app.dock.current is None)
                else:
                    await pilot.press("g", "y")
                    await settle(pilot, lambda: "answered already" in text_of(app))
            await pilot.press("q")
            await settle(pilot, lambda: not app.is_running)
        assert app.state.owner == getpid() and app.state.active
        assert not {("stop",), ("stop", THROUGH), ("close",)} & set(engine.calls)
        with reading(store) as read, read.reader() as reader:
            assert reader.run(RUN)


async def test_a_question_that_was_open_before_is_asked_here_too(store: Path) -> None:
    with owner(store) as engine:
        engine.emit(QuestionAsked(RUN, "q0", "gate", "Was it asked before?"))
        engine.emit(QuestionAnswered(RUN, "q0", "approve"))
        engine.emit(QuestionAsked(RUN, "q1", "pilot", "Scale to the target?"))
        async with control_center(store, script=None) as (app, pilot):
            await settle(pilot, lambda: app.dock.current is not None)
            await settle(pilot)
            assert "Scale to the target?" in text_of(app)
            assert [question.question_id for question in app.dock.waiting] == ["engine:q1"]


async def test_what_would_write_is_said_to_be_done_there(store: Path) -> None:
    with owner(store) as engine:
        async with control_center(store, script=None, size=(100, 30)) as (app, pilot):
            await settle(pilot, lambda: app.state.state == "running")
            await pilot.press("2")
            await settle(pilot, lambda: bool(app.query("#samples-list")))
            await pilot.press("y")
            await settle(pilot, lambda: "writes to this store" in text_of(app))
            engine.stop()
            await settle(pilot, lambda: app.state.state == "stopped")
            await pilot.press("7")
            await settle(pilot, lambda: app.rooms["runs"].under_cursor == RUN)  # type: ignore[attr-defined]
            await pilot.press("f")
            await settle(pilot, lambda: "One run is worked on at a time" in text_of(app))
        with reading(store) as read, read.reader() as reader:
            assert reader.query("SELECT count(*) AS n FROM person_labels")[0]["n"] == 0


async def test_another_kind_of_work_is_shown_as_such(store: Path) -> None:
    with owner(store, Evaluate(store, RUN)):
        async with control_center(store, script=None) as (app, pilot):
            await settle(pilot, lambda: app.state.state == "running")
            await settle(pilot, lambda: app.state.evaluates and "evaluating" in shown(app, "#header"))


async def test_when_the_owner_ends_the_next_is_followed_or_the_store_opened_here(store: Path) -> None:
    async def left(app: ControlCenter, pilot: Pilot[Any]) -> None:
        await settle(pilot, lambda: app.dock.current is not None and app.dock.current.question_id == "owner")
        assert app.state.state == "interrupted" and "attached" not in shown(app, "#header")
        assert "has let go of the store" in text_of(app)

    with owner(store) as engine:
        engine.store.append({"runs": [rows.run(RUN) | {"state": "running"}]})
        app_and = control_center(store, script=None)
        app, pilot = await app_and.__aenter__()
        await settle(pilot, lambda: app.state.state == "running")
    await left(app, pilot)
    with owner(store):
        await settle(pilot, lambda: app.state.state == "running" and app.dock.current is None)
        assert "attached to process" in shown(app, "#header")
    await left(app, pilot)
    with Store.open(store):  # nothing here keeps others from writing
        pass
    await pilot.press("enter")
    await settle(pilot, lambda: app.session.library is not None and app.state.state not in ("opening", "interrupted"))
    assert app.session.owner is None and app.dock.current is None
    await app_and.__aexit__(None, None, None)


async def test_a_process_that_only_wrote_something_is_not_asked_about(store: Path) -> None:
    with Store.open(store):
        app_and = control_center(store, script=None)
        app, pilot = await app_and.__aenter__()
        await settle(pilot, lambda: app.state.state == "done" and "attached to process" in shown(app, "#header"))
    await settle(pilot, lambda: app.session.owner is None and app.session.library is not None)
    await settle(pilot, lambda: app.state.state == "done" and "attached" not in shown(app, "#header"))
    assert app.dock.current is None
    await app_and.__aexit__(None, None, None)


async def test_how_the_run_ended_is_told_before_the_owner_leaves(store: Path) -> None:
    with owner(store) as engine:
        async with control_center(store, script=None) as (app, pilot):
            await settle(pilot, lambda: app.state.state == "running")
            engine.emit(RunFinished(RUN, "done", "", 40, 12.0))
            engine.store.close()
            await settle(pilot, lambda: app.dock.current is not None)
            assert app.state.state == "done" and app.state.accepted == 40


async def test_who_comes_before_the_run_begins_can_act_once_it_does(store: Path) -> None:
    with Store.open(store) as opened:
        async with control_center(store, script=None) as (app, pilot):
            await settle(pilot, lambda: app.session.owner is not None)
            assert app.session.owner is not None and app.session.owner.run_id == ""
            broadcast = Broadcast(NewRun(store), lambda event: None)
            engine = FakeEngine(opened, broadcast.emit, steady_run)
            broadcast.serve(engine)  # type: ignore[arg-type]
            engine.start()
            await settle(pilot, lambda: app.state.state == "running")
            await pilot.press("p")
            await settle(pilot, lambda: app.state.state == "paused")
            assert engine.calls == [("pause", THROUGH)]
            engine.released.set()


async def test_an_owner_that_goes_while_it_is_looked_at_is_looked_for_again(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    follow, gone = FarEngine.of, [OwnerGone("it is gone", "Nothing was changed.")]
    monkeypatch.setattr(FarEngine, "of", lambda *how: _raise(gone.pop()) if gone else follow(*how))
    with owner(store):
        async with control_center(store, script=None) as (app, pilot):
            await settle(pilot, lambda: app.state.state == "running" and not gone)
            assert "attached to process" in shown(app, "#header")


def _raise(error: Exception) -> Any:
    raise error


async def test_the_end_is_told_outside_by_the_owner_alone(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "AWAY_S", 0.0)
    said: list[str] = []
    monkeypatch.setattr(Outside, "tell", lambda _, run_id, outcome: said.append(outcome))
    with owner(store) as engine:
        async with control_center(store, script=None) as (app, pilot):
            app.config = replace(app.config, tell_command="true")
            await settle(pilot, lambda: app.state.state == "running")
            engine.emit(QuestionAsked(RUN, "q1", "pilot", "Scale?"))  # a headless owner tells of none
            await settle(pilot, lambda: said == ["run waiting for you"])
            rung: list[int] = []
            monkeypatch.setattr(app, "bell", lambda: rung.append(1))
            engine.emit(RunFinished(RUN, "done", "", 40, 12.0))
            await settle(pilot, lambda: app.state.state == "done")
            await settle(pilot)
            assert rung == [1] and said == ["run waiting for you"]
