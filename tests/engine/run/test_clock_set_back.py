"""Runs on a machine whose clock is set back an hour and forward a day: order, costs, waits and the latest run."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from engine.budget.ledger import spent
from engine.core.events import Event, Noted
from engine.run.engine import Engine
from store.salvage import clock
from store.salvage.clock import Given
from tests.engine.fakes import FakeModel, data_rows, run_engine, stopped_after
from tests.engine.run.test_pipeline import SETTINGS

pytestmark = pytest.mark.integration

OPTIONS = {"pilot": 6, "overrides": SETTINGS}
# At the model's nth answer the clock is off by so much.
OFF = {8: timedelta(hours=-1), 16: timedelta(days=1), 24: timedelta(hours=-2), 36: timedelta(0)}


class MovedClock:
    """The machine's clock, off by `by`; `time.time` shows the same."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.by = timedelta(0)
        real = time.time
        monkeypatch.setattr(clock, "machine_now", lambda: datetime.now(UTC) + self.by)
        monkeypatch.setattr(time, "time", lambda: real() + self.by.total_seconds())
        monkeypatch.setattr(clock, "GIVEN", Given())

    def moved(self, answered: int) -> None:
        self.by = OFF.get(answered, self.by)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> MovedClock:
    return MovedClock(monkeypatch)


def orders(opened: Engine) -> tuple[list[tuple[str, int]], list[tuple[str, int]]]:
    """All events of a run by their times, and as they were appended."""
    with opened.store.reader() as reader:
        timed = reader.query('SELECT session_id, seq FROM events ORDER BY "at", session_id, seq')
        placed = reader.query("SELECT session_id, seq FROM events ORDER BY rowid")
    first, second = ([(row["session_id"], row["seq"]) for row in found] for found in (timed, placed))
    return first, second


def test_a_run_makes_the_same_rows_in_their_order_and_costs_nothing_below_zero(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, machine: MovedClock
) -> None:
    alone = run_engine(tmp_path / "alone.duckdb", monkeypatch, FakeModel(), **OPTIONS)
    wanted = data_rows(alone)
    alone.close()
    told: list[Event] = []
    model = FakeModel(on_answer=machine.moved)
    priced = {"price_per_gpu_hour": 3.6, "price_per_gib_month": 100.0}
    opened = run_engine(tmp_path / "moved.duckdb", monkeypatch, model, told.append, **OPTIONS, **priced)
    assert len(model.generated) > 36 and data_rows(opened) == wanted
    timed, placed = orders(opened)
    assert timed == placed and [seq for _, seq in placed] == sorted(seq for _, seq in placed)
    with opened.store.reader() as reader:
        assert reader.query("SELECT min(micro_usd) >= 0 AND min(quantity) >= 0 AS good FROM ledger") == [{"good": True}]
        of = spent(reader).by_kind
        assert of["gpu"].settled < 600 / 3600 * 3.6e6  # the seconds that the run took, not the hours of the clock
        assert [phase["state"] for phase in reader.phases(opened.run_id)][:4] == ["done"] * 4
    assert any("clock" in event.text for event in told if isinstance(event, Noted))
    opened.close()


def test_a_session_after_the_clock_was_set_back_is_the_latest_and_so_is_its_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, machine: MovedClock
) -> None:
    path = tmp_path / "cai.duckdb"
    _, first = stopped_after(12, path, monkeypatch, **OPTIONS)
    machine.by = timedelta(hours=-1)
    monkeypatch.setattr(clock, "GIVEN", Given())  # as another process begins
    ended = run_engine(path, monkeypatch, FakeModel(), resume="")
    assert ended.run_id == first and ended.outcome is not None and ended.outcome.state in ("done", "gate_failed")
    timed, placed = orders(ended)
    assert timed == placed and len({session for session, _ in placed}) == 2
    ended.close()
    new = run_engine(path, monkeypatch, FakeModel(), **(OPTIONS | {"seed": 5}))
    with new.store.reader() as reader:
        assert reader.latest_run_id() == new.run_id != first
        assert [run["run_id"] for run in reader.runs()] == [new.run_id, first]
        started = reader.query("SELECT run_id FROM sessions ORDER BY started_at")
        assert [row["run_id"] for row in started] == [first, first, new.run_id]
    new.close()
