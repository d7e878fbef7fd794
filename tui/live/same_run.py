"""`cai run` a second time: an unfinished run of the same settings goes on, a finished one is shown as it ended."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from store.names import FINISHED, PHASES, RESUMABLE

if TYPE_CHECKING:
    from engine.core.events import Emit, RunFinished
    from engine.run.engine import Engine
    from engine.run.options import RunOptions
    from store.db import Store
    from tui.config.settings import Config


_another: ContextVar[bool] = ContextVar("another", default=False)


@contextmanager
def another_run() -> Iterator[None]:
    """In here an `opener` begins another run, whatever the store has: it was asked for on the screen, as a fork."""
    before = _another.set(True)
    try:
        yield
    finally:
        _another.reset(before)


def opener(*, new: bool, config: Config | None = None, present: bool = False) -> Callable[[RunOptions, Emit], Engine]:
    """An `open_engine` that goes on with the same run where the store has one; with `new` it begins another.

    What `config` says of model, prices and reviewers is put into the options; `present` says whether a person is there
    to answer. Nothing is imported before it is called, so that the first frame does not wait for it.
    """

    def open_same(options: RunOptions, emit: Emit) -> Any:
        from engine.run import engine

        if config is not None:
            options = _configured(options, config, present)

        found = (
            None
            if new or _another.get() or options.resume is not None or options.round_of is not None
            else same_run(options)
        )
        if found is None:
            return engine.open_engine(options, emit)
        if not _has_work_left(found, options):
            return EndedRun(options, found, emit)
        from engine.core.events import Noted

        run_id = str(found["run_id"])
        told = f"Going on with run {run_id} of the same settings ({found['state']}); --new begins another"
        emit(Noted(run_id, "info", told))
        return engine.open_engine(replace(options, resume=run_id), emit)

    return open_same


def _configured(options: RunOptions, config: Config, present: bool) -> RunOptions:
    from tui.config.reviewer import reviewer_options

    review = reviewer_options(config, present=present)
    options = replace(
        options,
        review=review,
        price_per_gpu_hour=config.price_per_gpu_hour,
        price_per_gib_month=config.price_per_gib_month,
    )
    if config.model and options.model is None and options.resume is None and options.round_of is None:
        options = replace(options, model=config.model)
    return options


def same_run(options: RunOptions) -> dict[str, Any] | None:
    """The newest run in the store that these options describe; one with work left comes before one without.

    Raises CaiError for a model, a spec or a store that cannot be read.
    """
    from engine.models.source import resolve
    from engine.run.options import LARGE_SPEC, SMALL_SPEC
    from engine.spec.stage import load_spec
    from store.db import Store

    source = resolve(options.model)
    spec = load_spec(options.spec or (SMALL_SPEC if source.embedded else LARGE_SPEC), options.overrides)
    if not options.store.exists():
        return None
    pilot = options.pilot if options.pilot is not None else spec.settings.pilot
    target = options.target if options.target is not None else pilot
    wanted = {
        "spec_sha256": spec.sha256,
        "model": source.name,
        "seed": spec.settings.seed if options.seed is None else options.seed,
        "pilot": min(pilot, target),
        "target": target,
    }
    changed = _text(spec.overrides)
    with Store.open(options.store) as store, store.reader() as reader:
        runs = [
            run
            for run in reader.runs()
            if all(run[name] == value for name, value in wanted.items()) and _text(run["overrides"]) == changed
        ]
    return next((run for run in runs if _has_work_left(run, options)), next(iter(runs), None))


def _text(overrides: Mapping[str, Any]) -> str:
    return json.dumps(overrides, sort_keys=True)


def _has_work_left(run: Mapping[str, Any], options: RunOptions) -> bool:
    if run["state"] in RESUMABLE:
        return True
    # It ended where it was told to end; now it is to go further.
    last = len(PHASES) - 1
    reached = PHASES.index(run["until"]) if run["until"] in PHASES else last
    asked = PHASES.index(options.until) if options.until in PHASES else last
    return run["state"] == "done" and reached < asked


class EndedRun:
    """Stands in for the engine where nothing is left to do: tells how the run ended, and reads its store."""

    def __init__(self, options: RunOptions, run: Mapping[str, Any], emit: Emit) -> None:
        from store.db import Store

        self.run_id = str(run["run_id"])
        self.store: Store = Store.open(options.store)
        self.outcome: RunFinished | None = None
        self._run = run
        self._emit = emit

    def start(self) -> None:
        from engine.core.events import Noted, RunFinished, RunStarted

        run = self._run
        state = str(run["state"]) if run["state"] in FINISHED else "done"
        self.outcome = RunFinished(self.run_id, state, str(run["reason"]), int(run["accepted"]), run["elapsed_s"])
        told = f"Run {self.run_id} with these settings has ended already; --new begins another"
        self._emit(RunStarted(self.run_id, run["spec"], run["model"], run["seed"], run["target"], True))
        self._emit(Noted(self.run_id, "info", told))
        self._emit(self.outcome)

    def pause(self) -> None:
        """There is nothing to pause."""

    def resume(self) -> None:
        """There is nothing to go on with."""

    def stop(self) -> None:
        """There is nothing to stop."""

    def answer(self, question_id: str, answer: str, reason: str) -> None:
        """No question is open."""

    def join(self, timeout: float | None = None) -> bool:
        return True

    def close(self) -> None:
        self.store.close()
