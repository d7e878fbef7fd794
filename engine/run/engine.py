"""The engine: one run, worked on by one thread, told what to do from others."""

from __future__ import annotations

import contextlib
import threading
import time
import traceback
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

from engine.budget.ledger import money_left
from engine.budget.spending import OPENING, Spending
from engine.core import events
from engine.core.control import Control
from engine.core.errors import (
    AnsweredElsewhere,
    BudgetReached,
    Interrupted,
    Locked,
    NotApproved,
    SettingsModified,
    SpecError,
)
from engine.core.memory import share_arenas
from engine.phases.evaluation import Evaluator
from engine.phases.judging import Judging
from engine.phases.refit import refit, require_refit
from engine.phases.suites import SuiteEvaluator
from engine.phases.training import Trainer
from engine.phases.work import Work, begin_session, loaded_work
from engine.planning.plan import forecast_section
from engine.review.consultant import Consultant
from engine.review.options import ReviewOptions
from engine.run.gauge import GpuGauge
from engine.run.opening import fresh, modify, new_run, reopened
from engine.run.orders import Evaluate, NewRun, Order, Refit, Resume, Round, Train
from engine.run.refresh import round_row
from engine.run.runner import Runner
from engine.run.throughput import Throughput
from engine.spec.provenance import new_session_id
from engine.spec.stage import StageSpec, settings_of
from engine.training.locks import require_open
from engine.training.plan import plan
from engine.training.trackers import require_trackers
from engine.training.worker import command_for, shards_of
from store import progress
from store.db import Store
from store.errors import CaiError
from store.names import PHASES
from store.read import Reader
from store.salvage.clock import behind_s, utc_now

MEMORY = "256MB"  # for DuckDB, which would take most of the machine's for its cache, beside a model that needs it
CLOCK_TOLD_S = 60.0  # what a clock is set right by now and then is no news

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
    events.StopAsked,
    events.RunFinished,
)


def open_engine(order: Order, emit: events.Emit) -> Engine:
    """Open the store and make or find the run, without loading a model. Raises CaiError."""
    # Everything that can be wrong is found before a store is created.
    if isinstance(order, NewRun | Resume) and order.until is not None and order.until not in PHASES:
        raise SpecError(f"no phase {order.until!r}", f"Phases: {', '.join(PHASES)}. No run was started.")
    if isinstance(order, Refit) and not order.reason.strip():
        raise SpecError("fitting a probe anew needs a reason", "It is stored with the decision. Nothing was changed.")
    if isinstance(order, Train):
        require_trackers(order.report_to)
    new = new_run(order) if isinstance(order, NewRun) else None
    share_arenas()
    store = Store.open(order.store, memory=MEMORY)
    try:
        match order:
            case Resume() | Train() | Evaluate() | Refit():
                return Engine(store, reopened(store, order), emit, order)
            case Round():
                with store.reader() as reader:
                    new = round_row(reader, order.round_of, fresh())
        assert new is not None
        store.append({"runs": [new]})
        return Engine(store, new["run_id"], emit, order)
    except BaseException:
        store.close()
        raise


class Engine:
    """One run and the thread that works on it."""

    def __init__(self, store: Store, run_id: str, emit: events.Emit, order: Order) -> None:
        self.run_id = run_id
        self.store = store
        self.outcome: events.RunFinished | None = None
        self.error: BaseException | None = None
        self._order = order
        self.training_command: list[str] | None = None  # what starts the training process, where not the usual
        self._listener = emit
        self._control = Control(watched=store.channel.watched)
        self._session_id = new_session_id()
        self._sequence = 0
        self._emit_lock = threading.Lock()
        self._hold_lock = threading.Lock()  # several processes may ask for a pause and its end
        self._behind_s = 0.0  # the machine's clock, as far as it was told
        self._under_way: dict[str, None] = {}
        self._phase = ""  # the phases under way, or the last that were
        self._found = ""  # what an evaluation came to, while its judge is asked
        self._throughput = Throughput()
        self._spending: Spending | None = None
        self._began = time.monotonic()
        self._before_s = 0.0
        self._thread = threading.Thread(target=self._main, name="engine", daemon=True)

    def start(self) -> None:
        """Begin work in a thread of its own; returns at once."""
        self._thread.start()

    def pause(self, through: str = "") -> None:
        """Hold at the next commit; the model stays loaded. `through` names another process whose screen asks."""
        with self._hold_lock:
            if not self._control.paused and self._thread.is_alive():
                self._control.pause()
                self._emit(events.RunPaused(self.run_id, through))
                if not self._order.aside:
                    self.store.update_run(self.run_id, state="paused", reason="paused by a person")

    def resume(self, through: str = "") -> None:
        """Go on after a pause."""
        with self._hold_lock:
            if self._control.paused:
                if not self._order.aside:
                    self.store.update_run(self.run_id, state="running", reason="")
                self._emit(events.RunResumed(self.run_id, through))
                self._control.resume()

    def stop(self, through: str = "") -> None:
        """End at the next commit; `join` waits for it."""
        asked = self._control.stopping
        self._control.stop()
        if not asked and self._thread.is_alive():
            with contextlib.suppress(CaiError):  # a store that takes no event is stopped and closed all the same
                self._emit(events.StopAsked(self.run_id, through))

    def answer(self, question_id: str, answer: str, reason: str, through: str = "") -> bool:
        """Answer an open question; False where it has its answer."""
        return self._control.answer(question_id, answer, reason, through)

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
            state, reason = self._carry_out()
        except Interrupted as error:
            state, reason = "stopped", error.title
            if self._spending is not None and (reached := self._spending.reached) is not None:
                state, reason = "budget_reached", f"{reached.title}. {reached.hint}"
        except BudgetReached as error:
            state, reason = "budget_reached", f"{error.title}. {error.hint}"
        except (NotApproved, AnsweredElsewhere) as error:
            state, reason = "waiting", f"{error.title}. {error.hint}"
        except Locked as error:
            state, reason = "gate_failed", f"{error.title}. {error.hint}"
        except CaiError as error:
            self.error = error
            state, reason = "failed", f"{error.title}. {error.hint}".strip()
        except BaseException as error:
            self.error = error
            state, reason = "failed", f"{type(error).__name__}: {error}"
            traceback.print_exc()  # to the run's log, where descriptor 2 leads
        reason = "; ".join(filter(None, (self._found, reason)))
        elapsed = self._before_s + time.monotonic() - self._began
        accepted = self._accepted()
        outcome = events.RunFinished(self.run_id, state, reason, accepted, elapsed)
        try:
            if not self._order.aside:  # a training has a state of its own, and leaves the run's as it was
                self.store.update_run(self.run_id, state=state, reason=reason, elapsed_s=elapsed)
        except CaiError as error:
            # The store refuses even this: say so on the screen; the next start reads the state from the rows.
            outcome = events.RunFinished(self.run_id, "failed", f"{error.title}. {error.hint}", accepted, elapsed)
        self.outcome = outcome
        self._emit(outcome)

    def _carry_out(self) -> tuple[str, str]:
        """Do what was ordered in a session of its own, again with each change of settings that an answer makes."""
        reader, order = self.store.reader(), self._order
        run = reader.run(self.run_id)
        self._before_s = float(run["elapsed_s"])
        # Of a run whose process was killed the state is known by its dead session: it is written down before the next.
        left = (run["state"], run["reason"]) if order.aside else ("running", "")
        self.store.update_run(self.run_id, state=left[0], reason=left[1])
        begin_session(self.store, self.run_id, self._session_id)
        about = (run["spec"], run["model"], run["seed"], run["target"], order.resume is not None)
        self._emit(events.RunStarted(self.run_id, *about))
        spending = Spending(
            self.store,
            run,
            settings_of(run),
            self._session_id,
            order.price_per_gpu_hour,
            order.price_per_gib_month,
            self._warn,
            self._control.stop,
        )
        gauge = GpuGauge(self.store, self.run_id, self._session_id, lambda: self._phase or OPENING, self._listener)
        with spending, gauge:
            self._spending = spending
            self._consultant = Consultant(
                self.store,
                self.run_id,
                order.review or ReviewOptions(),
                self._control,
                self._emit,
                ledger=spending.ledger,
                sections=lambda reader: (forecast_section(reader, self.run_id, order.price_per_gpu_hour),),
            )
            while True:
                try:
                    return self._obey(reader, run)
                except SettingsModified as changed:
                    run = modify(self.store, reader, self.run_id, changed)
                    self._warn(changed.title)

    def _obey(self, reader: Reader, run: Mapping[str, Any]) -> tuple[str, str]:
        """Do the ordered kind of work; returns a state and what came out."""
        spec = settings_of(run)
        if run["overrides"]:
            self._consultant.consult(spec, "override")
        match self._order:
            case Train() as order:
                return "done", self._train(order, reader, run)
            case Evaluate() as order:
                return self._evaluate(order, reader, run)
            case Refit() as order:
                require_refit(reader, run, spec)
                with self._loaded(reader, run, spec) as work:
                    return "done", refit(work, order.reason)
            case _:
                return self._generate(reader, run, spec)

    def _generate(self, reader: Reader, run: Mapping[str, Any], spec: StageSpec) -> tuple[str, str]:
        """Take the run through the phases of its stage."""
        with self._loaded(reader, run, spec) as work:
            work = replace(work, consult=lambda decision: self._consultant.consult(spec, decision))
            return Runner(work, run["pilot"], run["target"], run["until"]).run()

    def _loaded(self, reader: Reader, run: Mapping[str, Any], spec: StageSpec) -> AbstractContextManager[Work]:
        return loaded_work(
            self.store,
            reader,
            run,
            spec,
            session_id=self._session_id,
            control=self._control,
            emit=self._emit,
            on_work=self._measure,
            batch_size=self._order.batch_size,
        )

    def _train(self, order: Train, reader: Reader, run: Mapping[str, Any]) -> str:
        """Train what was asked for, one after the other; returns what came out of the last."""
        spec, text = settings_of(run, order.overrides), ""
        trainer = Trainer(
            self.store,
            reader,
            run,
            self._session_id,
            self._control,
            self._emit,
            command=self.training_command or command_for(order.accelerate),
            report_to=order.report_to,
        )
        for kind in order.train:
            self._control.check()
            left = money_left(reader, spec)
            price, shards = order.price_per_gpu_hour, shards_of(trainer.command)
            wanted = plan(reader, run, spec, kind, price_per_hour=price, money_left=left, shards=shards)
            if not wanted.done:
                require_open(wanted.locks)
                self._consultant.consult(spec, "sft" if wanted.section == "sft" else "dpo")
            text = trainer.train(wanted)
        return text

    def _evaluate(self, order: Evaluate, reader: Reader, run: Mapping[str, Any]) -> tuple[str, str]:
        """Ask the run's models the held-out items, and a judge where there is one and no gate failed; or benchmarks."""
        spec, self._found = settings_of(run, order.overrides), ""
        about = (self.store, reader, run, spec, self._session_id, self._control, self._emit)
        how = (self._measure, order.batch_size)
        if order.suites:
            return "done", SuiteEvaluator(*about, *how).evaluate(order.suites)
        evaluator = Evaluator(*about, *how)
        state, reason = evaluator.evaluate()
        if state != "done":
            return state, reason
        self._consultant.consult(spec, "claim" if evaluator.claims else "gap")
        judging = Judging(*about, self._consultant, *how)
        self._found = reason
        return state, judging.judge()

    def _warn(self, text: str) -> None:
        self._emit(events.Noted(self.run_id, "warning", text))

    def _tell_clock(self) -> None:
        """Say it where the clock of the machine was set back, once each time."""
        behind = behind_s()
        if behind > self._behind_s + CLOCK_TOLD_S:
            text = f"the machine's clock is {behind / 60:,.0f} min behind the last rows of this store: "
            self._warn(f"{text}their times are counted on from there until it is past them")
        self._behind_s = behind

    def _accepted(self) -> int:
        try:
            with self.store.reader() as reader:
                return progress.verdicts(reader, self.run_id, "sample").get("accepted", 0)
        except CaiError:
            return 0

    def _measure(self, tokens: int, items: int) -> None:
        rates = self._throughput.add(tokens, items)
        if rates is not None:
            self._emit(events.ThroughputMeasured(self.run_id, self._phase, *rates))

    def _emit(self, event: events.Event) -> None:
        if isinstance(event, events.PhaseStarted):
            self._under_way[event.phase] = None
            self._tell_clock()
        elif isinstance(event, events.PhaseFinished):
            self._under_way.pop(event.phase, None)
        if self._under_way:
            self._phase = "+".join(sorted(self._under_way, key=_place))
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
                    "at": utc_now(),
                    "kind": event.kind,
                    "payload": event.payload(),
                }
            try:
                self.store.append({"events": [row]})
            except CaiError:
                if not isinstance(event, events.RunFinished):
                    raise
        if isinstance(event, events.PhaseFinished | events.RunFinished):
            self.store.merge_soon()
        self._listener(event)


def _place(phase: str) -> int:
    return PHASES.index(phase) if phase in PHASES else len(PHASES)
