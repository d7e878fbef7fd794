"""The engine: one run, worked on by one thread, told what to do from others."""

from __future__ import annotations

import json
import secrets
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from engine import events, provenance
from engine.control import Control
from engine.errors import Interrupted, Locked, SpecError
from engine.spec import StageSpec, change, load_spec, validate
from engine.throughput import Throughput
from engine.workplace import begin_session, constitution_facts, work_on
from store import PHASES, CaiError, Reader, Store

SMALL_SPEC = "stage_1_small_model"
LARGE_SPEC = "stage_1_explicit_instructions"
# Kept in the store as well as shown; figures that overwrite each other are not.
RECORDED = (
    events.RunStarted,
    events.ModelLoaded,
    events.PhaseStarted,
    events.PhaseProgressed,
    events.PhaseFinished,
    events.GuardChecked,
    events.CriticAudited,
    events.ForecastUpdated,
    events.GateDecided,
    events.QuestionAsked,
    events.QuestionAnswered,
    events.Noted,
    events.TrainingStarted,
    events.CheckpointSaved,
    events.TrainingFinished,
    events.RunPaused,
    events.RunResumed,
    events.RunFinished,
)


@dataclass(frozen=True)
class RunOptions:
    """What a person asked for. `resume` is a run's id or its beginning, "" the latest run; None starts a new one."""

    store: Path
    spec: str | None = None
    model: str | None = None
    seed: int | None = None
    pilot: int | None = None
    target: int | None = None
    until: str | None = None
    overrides: Mapping[str, str] = field(default_factory=dict)
    resume: str | None = None
    round_of: str | None = None  # a new run: the next round of this one, see engine.refresh
    batch_size: int | None = None  # what fits the device; no part of a run's identity
    train: tuple[str, ...] = ()  # sft, dpo: train a run that is there, with `overrides`, instead of going on with it
    accelerate: str | None = None  # a configuration of accelerate, by name or path, for training on many devices
    report_to: tuple[str, ...] = ()  # trackers that training also reports to
    evaluate: bool = False  # ask a run that is there the held-out items, instead of going on with it

    @property
    def aside(self) -> bool:
        """Whether this is work on a run that is there, which leaves the state of its data as it was."""
        return bool(self.train) or self.evaluate


def open_engine(options: RunOptions, emit: events.Emit) -> Engine:
    """Open the store and make or find the run, without loading a model. Raises CaiError."""
    if options.until is not None and options.until not in PHASES:
        raise SpecError(f"no phase {options.until!r}", f"Phases: {', '.join(PHASES)}. No run was started.")
    # Everything that can be wrong is found before a store is created.
    new = None if options.resume is not None or options.round_of is not None else _new_run(options)
    store = Store.open(options.store)
    try:
        if options.round_of is not None:
            from engine.refresh import round_row

            with store.reader() as reader:
                new = round_row(reader, options.round_of, _fresh())
        if new is not None:
            store.append({"runs": [new]})
            run_id = new["run_id"]
        else:
            run_id = _reopened(store, options)
        return Engine(store, run_id, emit, resumed=new is None, options=options)
    except BaseException:
        store.close()
        raise


def _new_run(options: RunOptions) -> dict[str, Any]:
    from engine.models import resolve

    source = resolve(options.model)
    loaded = load_spec(options.spec or (SMALL_SPEC if source.embedded else LARGE_SPEC), options.overrides)
    settings = loaded.settings
    pilot = options.pilot if options.pilot is not None else settings.pilot
    target = options.target if options.target is not None else pilot
    if pilot <= 0 or target <= 0:
        raise SpecError("--pilot and --target must be at least 1", "No run was started.")
    return {
        **_fresh(),
        "spec": loaded.name,
        "spec_sha256": loaded.sha256,
        "settings": settings.model_dump(),
        "overrides": {key: list(values) for key, values in loaded.overrides.items()},
        "seed": settings.seed if options.seed is None else options.seed,
        "model": source.name,
        "pilot": min(pilot, target),
        "target": target,
        "until": options.until,
        "manifest": {
            **provenance.manifest(),
            **({"constitution": constitution_facts()} if settings.pairs is not None else {}),
            "parent": settings.parent,
            "model_license": source.license,
            "model_notice": source.notice,
            "spec_text": loaded.path.read_text(),
        },
    }


def _fresh() -> dict[str, Any]:
    """What every run has in common when it begins."""
    now = datetime.now(UTC)
    return {
        "run_id": f"{now:%Y%m%d-%H%M%S}-{secrets.token_hex(2)}",
        "created_at": now,
        "updated_at": now,
        "fingerprint": None,
        "until": None,
        "state": "stopped",
        "reason": "not started yet",
        "elapsed_s": 0.0,
    }


def _reopened(store: Store, options: RunOptions) -> str:
    reader = store.reader()
    try:
        wanted = options.resume or reader.latest_run_id()
        if not wanted:
            raise SpecError(f"there is no run in {options.store} to resume", "Start one with `cai run`.")
        run = reader.run(wanted)
    finally:
        reader.close()
    if options.aside:
        return str(run["run_id"])
    fields: dict[str, Any] = {"until": options.until}
    if options.target is not None:
        fields["target"] = max(options.target, run["pilot"])
    store.update_run(run["run_id"], **fields)
    return str(run["run_id"])


def new_session_id() -> str:
    """The name of one process's work on a run."""
    return f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(4)}"


def settings_of(run: Mapping[str, Any], overrides: Mapping[str, str] | None = None) -> StageSpec:
    """A run's stored settings, with overrides applied."""
    settings = run["settings"]
    if isinstance(settings, str):
        settings = json.loads(settings)
    return change(settings, overrides) if overrides else validate(settings, f"run {run['run_id']}")


class Engine:
    """One run and the thread that works on it."""

    def __init__(self, store: Store, run_id: str, emit: events.Emit, *, resumed: bool, options: RunOptions) -> None:
        self.run_id = run_id
        self.store = store
        self.outcome: events.RunFinished | None = None
        self.error: BaseException | None = None
        self._resumed = resumed
        self._options = options
        self.training_command: list[str] | None = None  # what starts the training process, where not the usual
        self._listener = emit
        self._control = Control()
        self._session_id = new_session_id()
        self._sequence = 0
        self._emit_lock = threading.Lock()
        self._throughput = Throughput()
        self._began = time.monotonic()
        self._before_s = 0.0
        self._thread = threading.Thread(target=self._main, name="engine", daemon=True)

    def start(self) -> None:
        """Begin work in a thread of its own; returns at once."""
        self._thread.start()

    def pause(self) -> None:
        """Hold at the next commit; the model stays loaded."""
        if not self._control.paused and self._thread.is_alive():
            self._control.pause()
            self._emit(events.RunPaused(self.run_id))
            if not self._options.aside:
                self.store.update_run(self.run_id, state="paused", reason="paused by a person")

    def resume(self) -> None:
        """Go on after a pause."""
        if self._control.paused:
            if not self._options.aside:
                self.store.update_run(self.run_id, state="running", reason="")
            self._emit(events.RunResumed(self.run_id))
            self._control.resume()

    def stop(self) -> None:
        """End at the next commit; `join` waits for it."""
        self._control.stop()

    def answer(self, question_id: str, answer: str, reason: str) -> bool:
        """Answer an open question; False where it has its answer."""
        return self._control.answer(question_id, answer, reason)

    def join(self, timeout: float | None = None) -> bool:
        """Wait for the end of the run; True where it has ended."""
        if self._thread.ident is not None:
            self._thread.join(timeout)
        return not self._thread.is_alive()

    def close(self) -> None:
        """Stop, wait, and close the store."""
        self.stop()
        self.join()
        self.store.close()

    def _main(self) -> None:
        try:
            state, reason = self._work()
        except Interrupted as error:
            state, reason = "stopped", error.title
        except Locked as error:
            state, reason = "gate_failed", f"{error.title}. {error.hint}"
        except CaiError as error:
            self.error = error
            state, reason = "failed", f"{error.title}. {error.hint}".strip()
        except BaseException as error:
            self.error = error
            state, reason = "failed", f"{type(error).__name__}: {error}"
            import traceback

            traceback.print_exc()  # to the run's log, where descriptor 2 leads
        elapsed = self._before_s + time.monotonic() - self._began
        accepted = self._accepted()
        outcome = events.RunFinished(self.run_id, state, reason, accepted, elapsed)
        try:
            if not self._options.aside:  # a training has a state of its own, and leaves the run's as it was
                self.store.update_run(self.run_id, state=state, reason=reason, elapsed_s=elapsed)
        except CaiError as error:
            # The store refuses even this: say so on the screen; the next start reads the state from the rows.
            outcome = events.RunFinished(self.run_id, "failed", f"{error.title}. {error.hint}", accepted, elapsed)
        self.outcome = outcome
        self._emit(outcome)

    def _work(self) -> tuple[str, str]:
        reader = self.store.reader()
        run = reader.run(self.run_id)
        spec = settings_of(run)
        self._before_s = float(run["elapsed_s"])
        # Of a run whose process was killed the state is known by its dead session: it is written down before the next.
        left = (run["state"], run["reason"]) if self._options.aside else ("running", "")
        self.store.update_run(self.run_id, state=left[0], reason=left[1])
        begin_session(self.store, self.run_id, self._session_id)
        self._emit(events.RunStarted(self.run_id, run["spec"], run["model"], run["seed"], run["target"], self._resumed))
        if self._options.train:
            return "done", self._trained(reader, run)
        if self._options.evaluate:
            return self._evaluated(reader, run)
        from engine.runner import Runner

        with work_on(
            self.store,
            reader,
            run,
            spec,
            session_id=self._session_id,
            control=self._control,
            emit=self._emit,
            on_work=self._measure,
            batch_size=self._options.batch_size,
        ) as work:
            state, reason = Runner(work, run["pilot"], run["target"], run["until"]).run()
            self._record_calls(work.answers.computed, work.answers.reused)
            return state, reason

    def _trained(self, reader: Reader, run: Mapping[str, Any]) -> str:
        """Train what was asked for, one after the other; returns what came out of the last."""
        from engine.phases.training import Trainer
        from engine.training.plan import plan
        from engine.training.worker import command_for

        options = self._options
        spec, text = settings_of(run, options.overrides), ""
        trainer = Trainer(
            self.store,
            reader,
            run,
            self._session_id,
            self._control,
            self._emit,
            command=self.training_command or command_for(options.accelerate),
            report_to=options.report_to,
        )
        for kind in options.train:
            self._control.check()
            text = trainer.train(plan(reader, run, spec, kind))
        return text

    def _evaluated(self, reader: Reader, run: Mapping[str, Any]) -> tuple[str, str]:
        """Ask the run's models the held-out items; returns a state and what came out."""
        from engine.phases.evaluation import Evaluator

        options = self._options
        evaluator = Evaluator(
            self.store,
            reader,
            run,
            settings_of(run, options.overrides),
            self._session_id,
            self._control,
            self._emit,
            self._measure,
            options.batch_size,
        )
        return evaluator.evaluate()

    def _record_calls(self, computed: int, reused: int) -> None:
        now = datetime.now(UTC)
        self.store.append(
            {
                "metrics": [
                    {
                        "run_id": self.run_id,
                        "phase": "all",
                        "name": name,
                        "value": float(value),
                        "session_id": self._session_id,
                        "at": now,
                    }
                    for name, value in (("model_calls_computed", computed), ("model_calls_reused", reused))
                ]
            }
        )

    def _accepted(self) -> int:
        try:
            reader = self.store.reader()
            row = reader.query(
                "SELECT count(*) AS n FROM verdicts WHERE run_id = ? AND subject_kind = 'sample' "
                "AND verdict = 'accepted'",
                [self.run_id],
            )[0]
            reader.close()
            return int(row["n"])
        except CaiError:
            return 0

    _phase = ""

    def _measure(self, tokens: int, items: int) -> None:
        rates = self._throughput.add(tokens, items)
        if rates is not None:
            self._emit(events.ThroughputMeasured(self.run_id, self._phase, *rates))

    def _emit(self, event: events.Event) -> None:
        if isinstance(event, events.PhaseStarted):
            self._phase = event.phase
        if isinstance(event, events.PhaseStarted | events.RunResumed):
            self._throughput.begin()
        if isinstance(event, RECORDED):
            with self._emit_lock:
                self._sequence += 1
                row = {
                    "run_id": self.run_id,
                    "session_id": self._session_id,
                    "seq": self._sequence,
                    "at": datetime.now(UTC),
                    "kind": event.kind,
                    "payload": event.payload(),
                }
            try:
                self.store.append({"events": [row]})
            except CaiError:
                if not isinstance(event, events.RunFinished):
                    raise
        self._listener(event)
