"""`cai run` a second time: an unfinished run of the same settings goes on, a finished one is shown as it ended."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tui.wording import FINISHED, RESUMABLE

if TYPE_CHECKING:
    from engine import Engine, RunOptions
    from engine.events import Emit, RunFinished
    from store import Store

SMALL_MODEL_SPEC = "stage_1_small_model"
SPEC = "stage_1_explicit_instructions"
_OF_THEIR_OWN = ("pilot", "target", "seed")  # columns of a run, compared as such


def with_defaults(options: RunOptions) -> RunOptions:
    """The spec that goes with the model where none was named, and the embedded model where none was named."""
    from engine.models.embedded import GEMMA

    spec = options.spec or (SMALL_MODEL_SPEC if options.model in (None, GEMMA) else SPEC)
    return replace(options, spec=spec, model=options.model or GEMMA)


def opener(*, new: bool) -> Callable[[RunOptions, Emit], Engine]:
    """An `open_engine` that goes on with the same run where the store has one; with `new` it begins another.

    Nothing is imported before it is called, so that the first frame does not wait for it.
    """

    def open_same(options: RunOptions, emit: Emit) -> Any:
        import engine

        if options.resume is not None:
            return engine.open_engine(options, emit)
        options = with_defaults(options)
        found = None if new else same_run(options)
        if found is None:
            return engine.open_engine(options, emit)
        run_id, state = str(found["run_id"]), str(found["state"])
        if state not in RESUMABLE:
            return EndedRun(options, found, emit)
        from engine.events import Noted

        again = replace(options, resume=run_id)
        emit(Noted(run_id, "info", f"Going on with run {run_id} of the same settings ({state}); --new begins another"))
        return engine.open_engine(again, emit)

    return open_same


def same_run(options: RunOptions) -> dict[str, Any] | None:
    """The newest run in the store that these options describe. An unfinished one comes before one that ended.

    Raises CaiError for a spec or a store that cannot be read.
    """
    from engine.spec import load_spec

    spec = load_spec(options.spec or SPEC, options.overrides)
    if not options.store.exists():
        return None
    from store import Store

    with Store.open(options.store) as store, store.reader() as reader:
        runs = [run for run in reader.runs() if _same(run, options, spec)]
    ended = (run for run in runs if run["state"] not in RESUMABLE and _reached(run, options))
    return next((run for run in runs if run["state"] in RESUMABLE), None) or next(ended, None)


def _same(run: Mapping[str, Any], options: RunOptions, spec: Any) -> bool:
    settings = spec.settings
    if options.pilot is not None:
        right_size = run["pilot"] == options.pilot
    elif options.target is not None:
        right_size = run["target"] == options.target
    else:
        right_size = run["pilot"] == settings.pilot and run["target"] in (settings.pilot, settings.target)
    return (
        run["spec_sha256"] == spec.sha256
        and run["seed"] == (settings.seed if options.seed is None else options.seed)
        and run["model"] == options.model
        and right_size
        and _changed(run["overrides"]) == _changed(spec.overrides)
    )


def _reached(run: Mapping[str, Any], options: RunOptions) -> bool:
    """Whether the run went as far as is asked for now."""
    return run["until"] is None or run["until"] == options.until


def _changed(overrides: Mapping[str, Any]) -> str:
    kept = {key: value for key, value in overrides.items() if key not in _OF_THEIR_OWN}
    return json.dumps(kept, sort_keys=True)


class EndedRun:
    """Stands in for the engine where nothing is left to do: tells how the run ended, and reads its store."""

    def __init__(self, options: RunOptions, run: Mapping[str, Any], emit: Emit) -> None:
        from store import Store

        self.run_id = str(run["run_id"])
        self.store: Store = Store.open(options.store)
        self.outcome: RunFinished | None = None
        self._run = run
        self._emit = emit

    def start(self) -> None:
        from engine.events import Noted, RunFinished, RunStarted

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
