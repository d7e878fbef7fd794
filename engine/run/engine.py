"""The engine: one run, worked on by one thread, told what to do from others."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from engine.budget.ledger import money_left
from engine.budget.spending import Spending
from engine.core import events
from engine.core.control import Control
from engine.core.errors import BudgetReached, Interrupted, Locked, NotApproved, SettingsModified, SpecError
from engine.phases.work import begin_session, work_on
from engine.planning.plan import forecast_section
from engine.review.consultant import Consultant
from engine.run.options import RunOptions, fresh, modify, new_run, reopened
from engine.spec.provenance import new_session_id
from engine.spec.stage import settings_of
from store import PHASES, CaiError, Reader, Store, progress

MEMORY = "256MB"  # for DuckDB, which would take most of the machine's for its cache, beside a model that needs it

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


def open_engine(options: RunOptions, emit: events.Emit) -> Engine:
    """Open the store and make or find the run, without loading a model. Raises CaiError."""
    if options.until is not None and options.until not in PHASES:
        raise SpecError(f"no phase {options.until!r}", f"Phases: {', '.join(PHASES)}. No run was started.")
    # Everything that can be wrong is found before a store is created.
    new = None if options.resume is not None or options.round_of is not None else new_run(options)
    store = Store.open(options.store, memory=MEMORY)
    try:
        if options.round_of is not None:
            from engine.run.refresh import round_row

            with store.reader() as reader:
                new = round_row(reader, options.round_of, fresh())
        if new is not None:
            store.append({"runs": [new]})
            run_id = new["run_id"]
        else:
            run_id = reopened(store, options)
        return Engine(store, run_id, emit, resumed=new is None, options=options)
    except BaseException:
        store.close()
        raise


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
        self._spending: Spending | None = None
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
            if self._spending is not None and (reached := self._spending.reached) is not None:
                state, reason = "budget_reached", f"{reached.title}. {reached.hint}"
        except BudgetReached as error:
            state, reason = "budget_reached", f"{error.title}. {error.hint}"
        except NotApproved as error:
            state, reason = "waiting", f"{error.title}. {error.hint}"
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
        spending = Spending(
            self.store,
            run,
            spec,
            self._session_id,
            self._options.price_per_gpu_hour,
            self._options.price_per_gib_month,
            self._warn,
            self._control.stop,
        )
        with spending:
            self._spending = spending
            self._consultant = Consultant(
                self.store,
                self.run_id,
                self._options.review,
                self._control,
                self._emit,
                ledger=spending.ledger,
                sections=lambda reader: (forecast_section(reader, self.run_id, self._options.price_per_gpu_hour),),
            )
            while True:
                try:
                    return self._worked(reader, run)
                except SettingsModified as changed:
                    run = modify(self.store, reader, self.run_id, changed)
                    self._emit(events.Noted(self.run_id, "warning", changed.title))

    def _worked(self, reader: Reader, run: Mapping[str, Any]) -> tuple[str, str]:
        spec, options = settings_of(run), self._options
        if run["overrides"]:
            self._consultant.consult(spec, "override")
        if options.train:
            return "done", self._trained(reader, run)
        if options.evaluate:
            return self._evaluated(reader, run)
        from engine.run.runner import Runner

        with work_on(
            self.store,
            reader,
            run,
            spec,
            session_id=self._session_id,
            control=self._control,
            emit=self._emit,
            on_work=self._measure,
            batch_size=options.batch_size,
        ) as work:
            work = replace(work, consult=lambda decision: self._consultant.consult(spec, decision))
            state, reason = Runner(work, run["pilot"], run["target"], run["until"]).run()
            self._record_calls(work.answers.computed, work.answers.reused)
            return state, reason

    def _warn(self, text: str) -> None:
        self._emit(events.Noted(self.run_id, "warning", text))

    def _trained(self, reader: Reader, run: Mapping[str, Any]) -> str:
        """Train what was asked for, one after the other; returns what came out of the last."""
        from engine.phases.training import Trainer
        from engine.training.locks import require_open
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
            wanted = plan(
                reader, run, spec, kind,
                price_per_hour=options.price_per_gpu_hour, money_left=money_left(reader, spec),
            )  # fmt: skip
            if not wanted.done:
                require_open(wanted.locks)
                self._consultant.consult(spec, "sft" if kind == "sft" else "dpo")
            text = trainer.train(wanted)
        return text

    def _evaluated(self, reader: Reader, run: Mapping[str, Any]) -> tuple[str, str]:
        """Ask the run's models the held-out items; returns a state and what came out."""
        from engine.phases.evaluation import Evaluator

        options = self._options
        spec = settings_of(run, options.overrides)
        evaluator = Evaluator(
            self.store,
            reader,
            run,
            spec,
            self._session_id,
            self._control,
            self._emit,
            self._measure,
            options.batch_size,
        )
        state, reason = evaluator.evaluate()
        if state == "done":
            self._consultant.consult(spec, "claim" if evaluator.claims else "gap")
        return state, reason

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
            with self.store.reader() as reader:
                return progress.verdicts(reader, self.run_id, "sample").get("accepted", 0)
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
        if self._spending is not None and not isinstance(event, events.Noted):
            self._spending.look(self._phase or None)
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


WINDOW_S = 10.0
LEAST_S = 1.0  # commits can follow each other within milliseconds, which says nothing about a rate


class Throughput:
    """Rates over the window before each commit; where a commit took longer than the window, over that commit."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._marks: deque[tuple[float, int, int]] = deque()  # when, tokens and items until then

    def begin(self) -> None:
        """Work begins, or goes on after a pause: what was before counts no more."""
        self._marks = deque([(self._clock(), 0, 0)])

    def add(self, tokens: int, items: int) -> tuple[float, float] | None:
        """Count what was committed now. Returns (tokens/s, items/s), None where less than a second was measured."""
        marks = self._marks  # another thread may begin anew meanwhile
        if not marks:
            self.begin()
            return None
        now = self._clock()
        _, tokens_before, items_before = marks[-1]
        tokens, items = tokens_before + tokens, items_before + items
        marks.append((now, tokens, items))
        while marks[1][0] <= now - WINDOW_S:
            marks.popleft()
        since, tokens_before, items_before = marks[0]
        seconds = now - since
        if seconds < LEAST_S:
            return None
        return (tokens - tokens_before) / seconds, (items - items_before) / seconds


OpenEngine = Callable[[RunOptions, events.Emit], Engine]
