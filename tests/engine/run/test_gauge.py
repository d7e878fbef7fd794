"""How busy the GPUs were: told while a run goes on, and kept as means a minute that queries find by phase."""

import threading
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from engine.core.events import Event, GpusMeasured
from engine.core.nvidia import GpuLoad
from engine.run.gauge import MISSES, GpuGauge
from store import progress
from store.db import Store
from tests.engine.fakes import FakeModel, run_engine
from tests.store import rows

RUN = "run-a"


def gpu(busy: float | None, used_gib: float = 40, watts: float | None = 300.0) -> GpuLoad:
    return GpuLoad("NVIDIA H100 80GB HBM3", busy, used_gib * 1024, 81559, watts, 60)


@pytest.fixture
def store(tmp_path: Path) -> Any:
    with Store.open(tmp_path / "s.duckdb") as opened:
        opened.append(rows.small_run(RUN))
        yield opened


def found(store: Store) -> dict[str, Any] | None:
    with store.reader() as reader:
        return progress.gpus(reader, RUN)


def test_means_over_a_minute_are_kept_by_phase(store: Store) -> None:
    now, phase, told = [0.0], ["responses"], []
    measured = [(gpu(1.0), gpu(0.5))] * 20 + [(gpu(0.2), gpu(0.0))] * 10
    measure = iter(measured)
    one = GpuGauge(
        store, RUN, "s-1", lambda: phase[0], told.append, measure=lambda: next(measure), clock=lambda: now[0]
    )
    for number in range(len(measured)):
        now[0] += 2
        phase[0] = "responses" if number < 20 else "gate"
        assert one.look()
    assert found(store) is not None, "a minute has passed"
    kept = found(store)
    assert kept is not None
    assert kept["measured_s"] == pytest.approx(60) and kept["idle_s"] == pytest.approx(40 * 0.25 + 20 * 0.9)
    assert kept["busy_percent"] == pytest.approx(100 * (1 - 28 / 60))
    assert [(row["phase"], round(row["busy_percent"])) for row in kept["phases"]] == [("gate", 10), ("responses", 75)]
    last = kept["last"]
    assert (last["memory_gib"], last["power_w"], last["least_busy_percent"]) == (80, 600, 0)
    assert last["busy_percent"] == pytest.approx(kept["busy_percent"])
    assert len(told) == 30 and told[0] == GpusMeasured(RUN, "responses", (gpu(1.0), gpu(0.5)))


def test_what_is_left_at_the_end_is_kept_and_a_gap_is_not_filled(store: Store) -> None:
    now = [0.0]
    one = GpuGauge(
        store, RUN, "s-1", lambda: "responses", lambda event: None, measure=lambda: (gpu(0.5),), clock=lambda: now[0],
        every_s=2.0,
    )  # fmt: skip
    for now[0] in (2.0, 4.0, 30.0):  # the driver did not answer for half a minute
        one.look()
    assert found(store) is None
    one._thread.start()
    one.__exit__()
    kept = found(store)
    assert kept is not None and kept["measured_s"] == pytest.approx(2 + 2 + 4)


def test_a_slice_of_a_gpu_is_told_and_not_kept_as_idle(store: Store) -> None:
    told: list[Event] = []
    with GpuGauge(store, RUN, "s-1", lambda: "gate", told.append, measure=lambda: (gpu(None),), every_s=0.001):
        while len(told) < 3:
            time.sleep(0.001)
    assert found(store) is None


def test_without_a_gpu_it_is_asked_a_few_times_and_never_again(store: Store) -> None:
    asked: list[int] = []
    one = GpuGauge(
        store, RUN, "s-1", lambda: "gate", lambda event: None, measure=lambda: (asked.append(1), ())[1], every_s=0.001
    )
    with one:
        one._thread.join(20)
        assert not one._thread.is_alive() and len(asked) == MISSES
    assert found(store) is None


def test_a_driver_that_hangs_holds_nobody_up(store: Store) -> None:
    released, asked = threading.Event(), threading.Event()

    def hangs() -> tuple[GpuLoad, ...]:
        asked.set()
        released.wait(20)
        return (gpu(0.5),)

    told: list[Event] = []
    one = GpuGauge(store, RUN, "s-1", lambda: "gate", told.append, measure=hangs, every_s=0.05)
    with one:
        assert asked.wait(10)
        began = time.monotonic()
    assert time.monotonic() - began < 5
    released.set()
    one._thread.join(10)
    assert told == [] and found(store) is None  # the store may be closed by then


@pytest.mark.integration
def test_a_run_tells_of_its_gpus_and_keeps_no_event_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measured_often = partial(GpuGauge, measure=lambda: (gpu(0.25),), every_s=0.01)
    monkeypatch.setattr("engine.run.engine.GpuGauge", measured_often)
    told: list[Event] = []
    opened = run_engine(
        tmp_path / "a.duckdb", monkeypatch, FakeModel(on_answer=lambda n: time.sleep(0.001)), told.append, pilot=4,
        overrides={"critics.instruction": "[grade]", "critics.sample": "[grade, ended]", "instructions.round": "4"},
    )  # fmt: skip
    reader = opened.store.reader()
    measured = [event for event in told if isinstance(event, GpusMeasured)]
    assert measured and measured[0].gpus == (gpu(0.25),) and told[-1].kind == "RunFinished"
    kept = progress.gpus(reader, opened.run_id)
    assert kept is not None and kept["busy_percent"] == pytest.approx(25)
    assert kept["phases"][0]["phase"] in {"opening", *progress.PHASES}
    loaded = next(event for event in told if event.kind == "ModelLoaded")
    assert (loaded.at_once, loaded.asked) == (4, False)  # type: ignore[attr-defined]
    assert not reader.query("SELECT 1 FROM events WHERE kind = 'GpusMeasured'")
    opened.close()
