"""The control center in a test: opened over a store, waited for, and read."""

import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from textual.pilot import Pilot
from textual.widgets import Static
from textual.worker import WorkerCancelled

from engine.core.events import Event
from store.db import Store
from tests.tui.fakes import RUN, FakeEngine, Script, steady_run
from tui.app.app import ControlCenter


async def settle(pilot: Pilot[Any], until: Callable[[], bool] = lambda: True) -> None:
    """Wait for workers, messages and the condition; a condition that never comes fails the test."""
    for _ in range(200):
        await pilot.pause(0.02)
        with contextlib.suppress(WorkerCancelled):  # a newer read took its place
            await pilot.app.workers.wait_for_complete()
        await pilot.pause()
        if until():
            return
    raise AssertionError("the screen never got there")


def text_of(app: ControlCenter) -> str:
    """The screen's characters, line by line, without what is empty at their ends."""
    strips = app.screen._compositor.render_strips()
    return "\n".join("".join(segment.text for segment in strip).rstrip() for strip in strips) + "\n"


def shown(app: ControlCenter, where: str) -> str:
    widget = app.query_one(where)
    assert isinstance(widget, Static)
    return str(widget.content)


def shown_below(app: ControlCenter, where: str) -> str:
    return str(app.desk.query_one(where, Static).content)


@asynccontextmanager
async def control_center(
    path: Path, script: Script | None = steady_run, size: tuple[int, int] = (120, 36), log: Path | None = None
) -> AsyncIterator[tuple[ControlCenter, Pilot[Any]]]:
    def open_engine(options: Any, emit: Callable[[Event], None]) -> Any:
        assert script is not None
        return FakeEngine(Store.open(path), emit, script)

    app = ControlCenter(path, object() if script else None, open_engine, log)  # type: ignore[arg-type]
    async with app.run_test(size=size) as pilot:
        await settle(pilot, lambda: bool(app.query("#log")))
        if script:
            await settle(pilot, lambda: app.session.library is not None and app.state.run_id == RUN)
        yield app, pilot
        engine = app.session.engine
        if engine is not None:
            engine.released.set()  # type: ignore[attr-defined]
        app.session.let_go()
