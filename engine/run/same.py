"""A new run that is in the store already: one with work left goes on, one that has ended is told as it ended."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from engine.core.events import Emit, Noted, RunFinished, RunStarted
from engine.run import engine
from engine.run.engine import Engine
from engine.run.opening import settle
from engine.run.orders import NewRun, Order, Resume
from store.db import Store
from store.names import PHASES, REPEAT_OF, RESUMABLE


def engine_for(order: Order, emit: Emit) -> Engine | EndedRun:
    """An engine for an order; a new run goes on with the same one where the store has it. Raises CaiError."""
    found = same_run(order) if isinstance(order, NewRun) and not order.another else None
    if not isinstance(order, NewRun) or found is None:
        return engine.open_engine(order, emit)
    if not _has_work_left(found, order.until):
        return EndedRun(order, found, emit)
    run_id = str(found["run_id"])
    told = f"Going on with run {run_id} of the same settings ({found['state']}); --new begins another"
    emit(Noted(run_id, "info", told))
    resume = Resume(
        order.store,
        run_id,
        order.until,
        batch_size=order.batch_size,
        review=order.review,
        price_per_gpu_hour=order.price_per_gpu_hour,
        price_per_gib_month=order.price_per_gib_month,
    )
    return engine.open_engine(resume, emit)


def same_run(order: NewRun) -> dict[str, Any] | None:
    """The newest run in the store that has these settings; one with work left comes before one without.

    Raises CaiError for a model, a spec or a store that cannot be read.
    """
    settled = settle(order)
    if not order.store.exists():
        return None
    with Store.open(order.store) as store, store.reader() as reader:
        runs = [run for run in reader.runs() if settled.describes(run) and REPEAT_OF not in run["manifest"]]
    return next((run for run in runs if _has_work_left(run, order.until)), next(iter(runs), None))


def _has_work_left(run: Mapping[str, Any], until: str | None) -> bool:
    # One that ended where it was told to end has work left where it is to go further.
    return run["state"] in RESUMABLE or (run["state"] == "done" and _place(run["until"]) < _place(until))


def _place(until: str | None) -> int:
    return PHASES.index(until) if until in PHASES else len(PHASES) - 1


class EndedRun:
    """Stands in for the engine where nothing is left to do: tells how the run ended, and reads its store."""

    def __init__(self, order: NewRun, run: Mapping[str, Any], emit: Emit) -> None:
        self.run_id = str(run["run_id"])
        self.store = Store.open(order.store)
        self.outcome: RunFinished | None = None
        self._run = run
        self._emit = emit

    def start(self) -> None:
        run = self._run
        self.outcome = RunFinished(
            self.run_id, str(run["state"]), str(run["reason"]), int(run["accepted"]), run["elapsed_s"]
        )
        told = f"Run {self.run_id} with these settings has ended already; --new begins another"
        self._emit(RunStarted(self.run_id, run["spec"], run["model"], run["seed"], run["target"], True))
        self._emit(Noted(self.run_id, "info", told))
        self._emit(self.outcome)

    def pause(self, through: str = "") -> None:
        """There is nothing to pause."""

    def resume(self, through: str = "") -> None:
        """There is nothing to go on with."""

    def stop(self, through: str = "") -> None:
        """There is nothing to stop."""

    def answer(self, question_id: str, answer: str, reason: str, through: str = "") -> bool:
        """No question is open."""
        return False

    def join(self, timeout: float | None = None) -> bool:
        return True

    def close(self) -> None:
        self.store.close()


OpenEngine = Callable[[Order, Emit], Engine | EndedRun]
