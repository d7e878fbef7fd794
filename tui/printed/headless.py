"""A run without the control center: the same engine, its progress printed, its end as an exit code."""

from __future__ import annotations

import os
import queue
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.text import Text

from engine.core.figures import format_seconds
from engine.quality.remedies import helps, reading_offer
from engine.run.orders import Evaluate, Order, Refit, Train
from store.headline import told_in_green
from store.outcomes import FAILING
from tui.host.outside import NOWHERE, NotTold, Outside
from tui.host.terminal import Terminal
from tui.live.state import RunState, beside
from tui.printed.evaluation import evaluation_outcome
from tui.printed.progress import View, view_on
from tui.printed.suites import suites_outcome
from tui.printed.tables import (
    console_on,
    counts_text,
    fact,
    gate_facts,
    gate_table,
    good_facts,
    outcome,
    preference_facts,
    spec_facts,
    state_text,
)
from tui.printed.training import training_outcome
from tui.reads.evaluation import evaluation_account
from tui.reads.training import training_accounts
from tui.words.wording import again_with, outcome_words

if TYPE_CHECKING:
    from types import FrameType

    from engine.core.events import Event
    from engine.run.engine import Engine
    from engine.run.same import EndedRun, OpenEngine

EXIT_CODES = {
    "done": 0, "failed": 1, "waiting": 3, "gate_failed": 4, "locked": 4, "refused": 4, "budget_reached": 5,
    "stopped": 130,
}  # fmt: skip
LOOK_S = 0.2
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def run_headless(
    open_engine: OpenEngine, order: Order, terminal: Terminal, *, as_json: bool, outside: Outside = NOWHERE
) -> tuple[int, dict[str, Any]]:
    """Run to the end, or until a signal. Returns the exit code and the run's status.

    With `as_json` everything that is printed goes to stderr. The first signal stops the run at its next commit, the
    second one ends the process at once. Raises CaiError when the run cannot be opened. The status of a run that was
    trained has its `trainings`. How it ended is told `outside`, too, unless somebody stopped it.
    """
    console = console_on(terminal.stderr if as_json else terminal.stdout)
    inbox: queue.SimpleQueue[Event] = queue.SimpleQueue()
    state = beside("", order.aside, order.overrides) if isinstance(order, Train | Evaluate | Refit) else RunState()
    state.suites = order.suites if isinstance(order, Evaluate) else ()
    with Signals(terminal) as signals:
        engine = open_engine(order, inbox.put)
        go_on = f"cai {again_with(engine.run_id, state.aside, state.changed, state.suites)}"
        signals.resume = go_on
        try:
            signals.run_id = engine.run_id
            view = view_on(console, state)
            try:
                code = _watch(engine, inbox, state, view, signals)
            finally:
                view.close()
            with engine.store.reader() as reader:
                status, checks = reader.status(engine.run_id), reader.gates(engine.run_id)
                if state.evaluates:
                    status["evaluation"] = evaluation_account(reader, engine.run_id)
                if state.trains:
                    status["trainings"] = training_accounts(reader, engine.run_id, state.trainings.ids)
        finally:
            engine.close()
    report: Any
    ended, reason = (engine.outcome.state, engine.outcome.reason) if engine.outcome is not None else ("failed", "")
    if state.aside:
        status["outcome"] = {"state": ended, "reason": reason}
    if state.evaluates:
        account = status["evaluation"]
        told = suites_outcome if state.suites else evaluation_outcome
        report = told(status, account, code, reason, order.store, terminal.log, go_on)
    elif state.trains:
        report = training_outcome(status, state.trains, code, reason, order.store, terminal.log, go_on)
    elif state.refits:
        then = [reason, "" if code == 0 else f"go on with: {go_on}"]
        report = outcome([fact("run", Text(str(status["run"]), style="bold"))], order.store, terminal.log, then)
    else:
        report = outcome_report(status, checks, code, order.store, terminal.log)
    console.print(report)
    console.file.flush()
    if code != EXIT_CODES["stopped"]:
        tell_outside(outside, engine.run_id, outcome_words("waiting" if code == 3 else ended, state.aside), terminal)
    return code, status


def tell_outside(outside: Outside, run_id: str, outcome: str, terminal: Terminal) -> None:
    """Tell a person where they want to be told; that it did not work is said on stderr."""
    if outside.wanted:
        try:
            outside.tell(run_id, outcome)
        except NotTold as error:
            terminal.stderr.say(f"warning: {error.title}. {error.hint}")


def _watch(
    engine: Engine | EndedRun, inbox: queue.SimpleQueue[Event], state: RunState, view: View, signals: Signals
) -> int:
    asked_a_person = False

    def take() -> None:
        nonlocal asked_a_person
        while not inbox.empty():
            event = inbox.get()
            state.apply(event)
            view.tell(event)
            if event.kind == "QuestionAsked" and not asked_a_person and not engine.store.channel.watched():
                asked_a_person = True
                view.say("warning", "Nobody is here to answer: the run stops and waits. Answer it in: cai resume")
                engine.stop()

    engine.start()
    while not engine.join(LOOK_S):
        take()
        view.tick()
        if signals.fresh:
            signals.fresh = False
            what = "after this step, which is kept" if state.trains else "at the next commit"
            view.say("warning", f"Stopping {what}; a second interrupt quits at once.")
            state.ask_state("stopping")
            engine.stop()
    take()
    view.tick()
    outcome = engine.outcome
    if asked_a_person and (outcome is None or outcome.state in ("stopped", "waiting")):
        return EXIT_CODES["waiting"]
    if outcome is None:
        view.say("error", "The engine ended without saying how; the log may say more.")
        return EXIT_CODES["failed"]
    return EXIT_CODES.get(outcome.state, 1)


class Signals:
    """While inside: the first signal is noted, a SIGINT after it ends the process (other programs repeat a SIGTERM).

    Before there is a run, a signal is a KeyboardInterrupt.
    """

    def __init__(self, terminal: Terminal) -> None:
        self.run_id = ""
        self.resume = ""  # the command that goes on
        self.fresh = False
        self._asked = False
        self._interrupted = False
        self._terminal = terminal
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Signals:
        for number in SIGNALS:
            self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if self._interrupted and isinstance(error, Exception):  # DuckDB makes an error of its own of the interrupt
            raise KeyboardInterrupt from error

    def _note(self, number: int, _frame: FrameType | None) -> None:
        if not self.run_id:
            self._interrupted = True
            raise KeyboardInterrupt
        if self._asked and number == signal.SIGINT:
            self._quit()
        if not self._asked:
            self.fresh = self._asked = True

    def _quit(self) -> None:
        # Straight to the descriptor: the interrupted code may be in the middle of a write of the same stream.
        text = f"\nquit at once; what was committed is safe. resume with: {self.resume}\n"
        show_cursor = "\x1b[?25h" if self._terminal.stderr.isatty() else ""
        try:
            os.write(self._terminal.stderr.fileno(), (show_cursor + text).encode())
        finally:
            os._exit(EXIT_CODES["stopped"])


def outcome_report(
    status: dict[str, Any], checks: list[dict[str, Any]], code: int, store: Path, log: Path | None
) -> Group:
    """How the run ended, under which spec, why, and what to do next."""
    head = [
        fact(
            "run",
            Text(str(status["run"]), style="bold"),
            "  ",
            state_text(str(status["state"]), audited=told_in_green(status)),
        ),
        *spec_facts(status),
        fact("accepted", counts_text(status)),
        *good_facts(status),
        *preference_facts(status),
        *gate_facts(status["gates"]),
        fact("time", format_seconds(status["elapsed_s"])),
    ]
    gates: list[RenderableType] = [Text(), gate_table(checks)] if checks else []
    return outcome(head, store, log, what_next(status, checks, code), gates)


def what_next(status: dict[str, Any], checks: list[dict[str, Any]], code: int) -> list[str]:
    """What a person does now, by how the run ended."""
    run_id = status["run"]
    reason = [f"reason: {status['reason']}"] if status.get("reason") and code else []
    match code:
        case 0:
            pairs = [
                f"its pairs:       cai export {run_id} --what pairs --format jsonl --out DIR",
                f"its principles:  cai principles {run_id}",
            ]
            return [
                f"look at it with: cai samples {run_id}",
                f"export it with:  cai export {run_id} --what sft --format jsonl --out DIR",
                *(pairs if status.get("preferences") else []),
                *([f"not done yet:    {offer}"] if (offer := reading_offer(checks, run_id)) else []),
            ]
        case 4 if not checks:  # no gate was reached: the guard failed, and nothing was generated
            return [
                *reason,
                "Nothing is lost, and no samples exist yet.",
                "see what the guard found:      cai   (room Run, 1: each prompt with its answer)",
                "use another base model:        cai run --model NAME_OR_PATH",
                "change what the guard allows:  cai run SPEC --set guard.KEY=VALUE   (docs/BASE_MODEL_TRUTH.md)",
            ]
        case 4:
            failed = ", ".join(dict.fromkeys(item["check_name"] for item in checks if item["result"] in FAILING))
            return [
                *reason,
                f"A gate failed{f' ({failed})' if failed else ''}. Nothing is lost, and nothing was accepted past it.",
                *(f"would help: {line}" for line in helps(checks)),
                f"see the samples against it:    cai samples {run_id} --rejected",
                f"try other thresholds:          cai recheck {run_id} --set gate.KEY=VALUE   (generates nothing)",
                "run under other settings:      cai run SPEC --set KEY=VALUE, or with a spec written for this model",
            ]
        case 3 if "cai answer" in str(status["reason"]):  # another machine is to compute what the run asks
            return reason
        case 3:
            return [*reason, f"The run waits for a decision. Answer it in the control center: cai resume {run_id}"]
        case 5:
            return [*reason, f"The budget is used up. Everything is stored; see: cai status {run_id}"]
        case 130:
            return [f"resume with: cai resume {run_id}"]
    return [*reason, f"What was committed is safe. After the cause is removed, resume with: cai resume {run_id}"]
