"""The connection drops: the screen is given up, the run goes on in this process until it ends or needs a person.

The signal is kept off all threads and taken by one that waits for it. So it takes effect even while another thread is
stuck in a write to the dead terminal, and children inherit that it is kept off: they live on with the run.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tui.terminal import Terminal
from tui.wording import again_with

if TYPE_CHECKING:
    from engine import Engine, RunOptions
    from engine.events import Emit, Event
    from tui.bridge import Bridge
    from tui.session import OpenEngine, Session
    from tui.state import RunState

LOOK_S = 0.2
SIGNAL_S = 0.2
JOIN_S = 1.0


class Watch:
    """Waits for the end of the connection, and knows of the run what matters when nobody looks.

    `stop` is set by whoever wants the run to end at its next commit.
    """

    def __init__(self, terminal: Terminal) -> None:
        self.happened = threading.Event()
        self.stop = threading.Event()
        self.paused = False
        self._questions: set[str] = set()
        self._terminal = terminal
        self._over = threading.Event()
        self._waiting: threading.Thread | None = None

    def begin(self, then: Callable[[], object]) -> None:
        """Keep SIGHUP off this thread and those it starts; call `then` once, from any thread, when it came."""
        # Threads that a library started before are not kept from it: the handler is for them.
        signal.signal(signal.SIGHUP, lambda *_: self._came(then))
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
        self._waiting = threading.Thread(target=self._wait, args=(then,), name="hangup", daemon=True)
        self._waiting.start()

    def end(self) -> bool:
        """The screen is closed. Whether that is because the connection is gone."""
        self._over.set()
        if self._waiting is not None:
            self._waiting.join(JOIN_S)  # a thread that outlives the interpreter keeps all that it knows, the store too
        screen = self._terminal.screen
        if not self.happened.is_set() and screen is not None and not screen.isatty():
            self._give_up()  # its threads saw the end before the signal came
        return self.happened.is_set()

    def listening(self, open_engine: OpenEngine) -> OpenEngine:
        """The same `open_engine`, with what the engine tells noted here as well."""

        def open_and_listen(options: RunOptions, emit: Emit) -> Engine:
            def tell(event: Event) -> None:
                self.note(event)
                emit(event)

            return open_engine(options, tell)

        return open_and_listen

    def note(self, event: Event) -> None:
        match event.kind:
            case "QuestionAsked":
                self._questions.add(event.payload()["question_id"])
            case "QuestionAnswered":
                self._questions.discard(event.payload()["question_id"])
            case "RunPaused":
                self.paused = True
            case "RunResumed":
                self.paused = False

    def why_stop(self) -> str:
        """Why the run cannot go on with nobody here; nothing where it can."""
        if self.stop.is_set():
            return "A signal asked for it"
        if self._questions:
            return "The run waits for a decision and nobody is here"
        return "The run was paused and nobody is here to go on with it" if self.paused else ""

    def _wait(self, then: Callable[[], object]) -> None:
        while not self._over.is_set():
            came = signal.sigtimedwait({signal.SIGHUP}, SIGNAL_S)
            screen = self._terminal.screen
            # The signal may have gone to a library's thread while this program's first one waits for a child.
            if came is not None or (screen is not None and not screen.isatty()):
                self._came(then)
                return

    def _came(self, then: Callable[[], object]) -> None:
        if not self.happened.is_set():
            self._give_up()
            then()

    def _give_up(self) -> None:
        self._terminal.give_up()
        self.happened.set()


def only_continue_on_a_terminal() -> None:
    """Keep the driver from starting again when the terminal hangs up; call it once the driver is there.

    The kernel sends SIGCONT behind SIGHUP. Textual takes it for the end of a Ctrl+Z and starts threads anew (8.2.8,
    drivers/linux_driver.py), of which it then forgets one, and the process never ends.
    """
    before = signal.getsignal(signal.SIGCONT)
    if not callable(before):
        return

    def go_on(number: int, frame: Any) -> None:
        if sys.__stdout__ is not None and sys.__stdout__.isatty():
            before(number, frame)

    signal.signal(signal.SIGCONT, go_on)


@dataclass(frozen=True, slots=True)
class Left:
    """A run that goes on without a screen, as the file beside the store tells it."""

    pid: int
    run_id: str
    since: datetime


def marker_path(store: Path) -> Path:
    return store.with_name(f"{store.name}.left")


def left_run(store: Path) -> Left | None:
    """What was noted beside the store; it may be stale, so compare `pid` with who holds the store."""
    try:
        found = json.loads(marker_path(store).read_text())
        return Left(int(found["pid"]), str(found["run"]), datetime.fromisoformat(found["since"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def go_on(session: Session, bridge: Bridge, state: RunState, watch: Watch) -> str:
    """See the run to its end without a screen, telling the log how far it is; then close the store.

    Returns the state that the run ended in. The run is stopped at its next commit where it needs a person, where it
    is paused, and where a signal asks for it.
    """
    engine = session.engine
    if engine is None:
        session.let_go()
        return ""
    _mark(session.store_path, engine.run_id)
    try:
        _see_to_the_end(engine, bridge, state, watch)
        outcome = engine.outcome
        return "" if outcome is None else outcome.state
    finally:
        session.let_go()
        with contextlib.suppress(OSError):
            marker_path(session.store_path).unlink()


def _see_to_the_end(engine: Engine, bridge: Bridge, state: RunState, watch: Watch) -> None:
    from tui.progress import PlainView
    from tui.report import console_on

    view = PlainView(console_on(sys.stdout), state)
    view.say("warning", f"The connection dropped. The run goes on in process {os.getpid()}; kill it to stop the run.")
    stopping = False

    def tell() -> None:
        for event in bridge.drain():
            state.apply(event)
            view.tell(event)
        view.tick()

    while not engine.join(LOOK_S):
        tell()
        if not stopping and (reason := watch.why_stop()):
            stopping = True
            go_on = f"cai {again_with(engine.run_id, state.aside, state.changed)}"
            view.say("warning", f"{reason}: stopping at the next commit. Go on with: {go_on}")
            engine.stop()
    tell()


def _mark(store: Path, run_id: str) -> None:
    """Note beside the store who goes on with which run. Nothing depends on it but what the next cai says."""
    told: dict[str, Any] = {"pid": os.getpid(), "run": run_id, "since": datetime.now(UTC).isoformat()}
    path = marker_path(store)
    aside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        aside.write_text(json.dumps(told))
        aside.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            aside.unlink()
