"""What a person may do to a run under way: pause, go on, stop, answer. Looked at between answers of the model."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass

from engine.core.errors import Interrupted


@dataclass(frozen=True, slots=True)
class Reply:
    """A person's answer and the reason given; `through` names the process whose screen it came through, if another."""

    answer: str
    reason: str
    through: str = ""


class Control:
    """Shared by the engine's thread, which waits, and the screen's, which asks.

    `watched` says whether somebody follows the run from another process, who can answer.
    """

    def __init__(self, watched: Callable[[], bool] = lambda: False) -> None:
        self.watched = watched
        self._stop = threading.Event()
        self._go = threading.Event()
        self._go.set()
        self._questions: dict[str, Future[Reply]] = {}
        self._at_stop: list[Callable[[], None]] = []
        self._lock = threading.Lock()

    @property
    def stopping(self) -> bool:
        return self._stop.is_set()

    @property
    def paused(self) -> bool:
        return not self._go.is_set()

    def pause(self) -> None:
        """Hold the run at its next commit."""
        if not self.stopping:
            self._go.clear()

    def resume(self) -> None:
        """Let a paused run go on."""
        self._go.set()

    def stop(self) -> None:
        """End the run at its next commit; questions that wait are withdrawn."""
        self._stop.set()
        self._go.set()
        with self._lock:
            for question in self._questions.values():
                question.cancel()
            told = list(self._at_stop)
        for tell in told:
            tell()

    def at_stop(self, tell: Callable[[], None]) -> None:
        """Call something when the run is told to stop, from the thread that says so; now where it was told already."""
        with self._lock:
            self._at_stop.append(tell)
        if self.stopping:
            tell()

    def check(self) -> None:
        """Raise Interrupted where the run is to stop."""
        if self.stopping:
            raise Interrupted("the run was stopped", "Everything committed is kept: `cai resume` goes on from there.")

    def wait_while_paused(self) -> None:
        """Block until the run may go on; raises Interrupted where it is stopped instead."""
        self._go.wait()
        self.check()

    def ask(self, question_id: str) -> Future[Reply]:
        """Open a question; the future is resolved once, by `answer`, or cancelled by `stop`."""
        with self._lock:
            return self._questions.setdefault(question_id, Future())

    def answer(self, question_id: str, answer: str, reason: str, through: str = "") -> bool:
        """Answer an open question; False where there is none of that id or it has its answer."""
        with self._lock:
            question = self._questions.get(question_id)
            if question is None or question.done():
                return False
            question.set_result(Reply(answer, reason, through))
            return True

    def withdraw(self, question_id: str) -> bool:
        """Take an open question back; False where there is none of that id or it has its answer."""
        with self._lock:
            question = self._questions.get(question_id)
            return question is not None and question.cancel()
