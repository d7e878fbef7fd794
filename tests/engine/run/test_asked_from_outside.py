"""What several processes ask of one engine at a time, and of one whose store takes nothing any more."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import engine.models.registry
from engine.core.events import Event, PhaseStarted
from engine.run.engine import Engine, open_engine
from engine.run.orders import NewRun
from store.errors import StoreWriteFailed
from tests.engine.fakes import FakeModel
from tests.engine.run.test_pipeline import SETTINGS

pytestmark = pytest.mark.integration


@pytest.fixture
def told() -> list[Event]:
    return []


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: list[Event]) -> Iterator[Engine]:
    """An engine whose model answers slowly; it is not started."""
    model = FakeModel(on_answer=lambda n: time.sleep(0.05))
    monkeypatch.setattr(engine.models.registry, "load", lambda *_, **__: model)
    found = open_engine(NewRun(tmp_path / "a.duckdb", pilot=6, overrides=SETTINGS), told.append)
    yield found
    found.close()


def test_a_pause_and_its_end_that_come_together_leave_one_state(
    opened: Engine, told: list[Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    written, keep = threading.Event(), opened.store.update_run

    def slowly(run_id: str, **fields: Any) -> None:
        if fields.get("state") == "paused":
            written.set()
            time.sleep(0.3)
        keep(run_id, **fields)

    monkeypatch.setattr(opened.store, "update_run", slowly)
    opened.start()
    while not any(isinstance(event, PhaseStarted) for event in told):
        time.sleep(0.01)
    pausing = threading.Thread(target=opened.pause, args=["process 1"])
    pausing.start()
    assert written.wait(20)
    opened.resume("process 2")
    pausing.join(20)
    with opened.store.reader() as reader:
        assert reader.run(opened.run_id)["state"] == "running"
    assert [event.kind for event in told if event.kind in ("RunPaused", "RunResumed")] == ["RunPaused", "RunResumed"]


def test_a_run_whose_store_takes_no_event_is_stopped_all_the_same(
    opened: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep = opened.store.append

    def full(rows: Any) -> None:
        if any(row["kind"] == "StopAsked" for row in rows.get("events", ())):
            raise StoreWriteFailed("the volume is full", "Free space.")
        keep(rows)

    monkeypatch.setattr(opened.store, "append", full)
    opened.start()
    opened.stop("process 1")
    assert opened.join(30) and opened.outcome is not None and opened.outcome.state == "stopped"


def test_phases_side_by_side_have_one_name_whichever_began_first(opened: Engine) -> None:
    for phase in ("response_judgements", "responses", "sft"):
        opened._emit(PhaseStarted(opened.run_id, phase, 8))
    assert opened._phase == "responses+response_judgements+sft"
