"""The engine and the store of one screen: what begins while the screen is left."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

import engine.models.registry
from engine.core.errors import Interrupted
from engine.run.engine import open_engine
from engine.run.orders import NewRun, Order
from tests.engine.fakes import FakeModel
from tui.live.conductor import Session


def session_on(store: Path, opened: list[Any], opening: threading.Event, go_on: threading.Event) -> Session:
    def slowly(order: Order, emit: Any) -> Any:
        opening.set()
        go_on.wait(10)
        opened.append(open_engine(order, emit))
        return opened[-1]

    return Session(store, slowly, lambda event: None, lambda owner: None)


def test_an_engine_that_is_being_opened_is_closed_by_whoever_leaves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine.models.registry, "load", lambda *_, **__: FakeModel())
    opened: list[Any] = []
    opening, go_on = threading.Event(), threading.Event()
    session = session_on(tmp_path / "a.duckdb", opened, opening, go_on)
    beginning = threading.Thread(target=session.begin, args=(NewRun(tmp_path / "a.duckdb", pilot=4),))
    beginning.start()
    assert opening.wait(10)
    leaving = threading.Thread(target=session.leave)
    leaving.start()
    go_on.set()
    for thread in (beginning, leaving):
        thread.join(30)
        assert not thread.is_alive()
    assert session.engine is None and opened[0].join(0)
    assert opened[0].outcome is not None and opened[0].outcome.state == "stopped"


def test_nothing_begins_once_the_screen_was_left(tmp_path: Path) -> None:
    opened: list[Any] = []
    session = session_on(tmp_path / "a.duckdb", opened, threading.Event(), threading.Event())
    session.leave()
    with pytest.raises(Interrupted):
        session.begin(NewRun(tmp_path / "a.duckdb"))
    assert not opened and not (tmp_path / "a.duckdb").exists()
