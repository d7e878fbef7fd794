"""The connection drops: the screen is given up, the run goes on in this process until it ends or needs a person.

The signal is kept off all threads and taken by one that waits for it. So it takes effect even while another thread is
stuck in a write to the dead terminal, and children inherit that it is kept off: they live on with the run.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from tui.host.terminal import Terminal

if TYPE_CHECKING:
    from engine.core.events import Emit, Event
    from engine.run.engine import Engine
    from engine.run.orders import Order
    from engine.run.same import EndedRun, OpenEngine

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

        def open_and_listen(order: Order, emit: Emit) -> Engine | EndedRun:
            def tell(event: Event) -> None:
                self.note(event)
                emit(event)

            return open_engine(order, tell)

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

    def why_stop(self, *, followed: bool) -> str:
        """Why the run cannot go on with nobody here, and `followed` from no other process; nothing where it can."""
        if self.stop.is_set():
            return "A signal asked for it"
        if followed:
            return ""
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
