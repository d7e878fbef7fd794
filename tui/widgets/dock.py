"""The question dock: a question sits under what it is about, is answered by its id, and only once."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from textual import events
from textual.content import Content
from textual.message import Message
from textual.widgets import Static

from tui.text import make_visible
from tui.widgets.marks import lines, row

ARMING_S = 0.6  # a doubled Enter comes within 0.3 s; a person who read the question takes longer


@dataclass(frozen=True, slots=True)
class Choice:
    """`key` answers with `value`; the first choice is also what Enter means."""

    key: str
    label: str
    value: str


@dataclass(frozen=True, slots=True)
class DockedQuestion:
    question_id: str
    title: str
    text: str
    choices: tuple[Choice, ...]
    on_escape: str | None = None


class QuestionDock(Static, can_focus=True):
    """Shows one question at a time, the others wait in line. Keys count only while it has the focus."""

    class Answered(Message):
        def __init__(self, question: DockedQuestion, answer: str) -> None:
            super().__init__()
            self.question, self.answer = question, answer

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(id="dock", markup=False)
        self.display = False
        self._clock = clock
        self._waiting: deque[DockedQuestion] = deque()
        self._answered: set[str] = set()
        self._shown_at = 0.0
        self._doubled = False

    @property
    def current(self) -> DockedQuestion | None:
        return self._waiting[0] if self._waiting else None

    def ask(self, question: DockedQuestion, *, first: bool = False) -> None:
        """Put a question in line, or in front of it. One that is already there or was answered is left alone."""
        ids = {item.question_id for item in self._waiting}
        if question.question_id in ids or question.question_id in self._answered:
            return
        if first:
            self._waiting.appendleft(question)
        else:
            self._waiting.append(question)
        if self.current is question:
            self._show()

    def withdraw(self, question_id: str) -> None:
        """Take a question away that was answered elsewhere or no longer stands."""
        shown = self.current
        self._waiting = deque(item for item in self._waiting if item.question_id != question_id)
        if self.current is not shown:
            self._show()

    def withdraw_all(self) -> None:
        """The run ended: nothing that was asked about it stands any more."""
        self._waiting.clear()
        self._show()

    def reuse(self, question_id: str) -> None:
        """Let a question of the screen's own (stop, quit) be asked again."""
        self._answered.discard(question_id)

    def on_key(self, event: events.Key) -> None:
        question = self.current
        if question is None:
            return
        choice = next((item for item in question.choices if item.key == event.key), None)
        value = choice.value if choice else None
        if event.key == "enter" and value is None:
            value = question.choices[0].value
        elif event.key == "escape":
            value = question.on_escape
        if value is None:
            return
        event.stop()
        event.prevent_default()
        if self._doubled and self._clock() - self._shown_at < ARMING_S:
            return
        self._answer(question, value)

    def _answer(self, question: DockedQuestion, value: str) -> None:
        if question.question_id in self._answered:
            return
        self._answered.add(question.question_id)
        self._waiting.popleft()
        self.post_message(self.Answered(question, value))
        self._show(after_answer=True)

    def _show(self, *, after_answer: bool = False) -> None:
        question = self.current
        self.display = question is not None
        self._shown_at = self._clock()
        self._doubled = after_answer  # a question that replaces another one is not answered by the same keystroke
        if question is None:
            return
        self.border_title = Content(question.title)
        self.border_subtitle = f"{len(self._waiting) - 1} more waiting" if len(self._waiting) > 1 else ""
        keys = []
        for at, choice in enumerate(question.choices):
            name = f"{choice.key} / Enter" if at == 0 and choice.key != "enter" else choice.key.capitalize()
            keys += [(f" {name} ", "bold reverse"), f" {choice.label}   "]
        self.update(lines([row(make_visible(question.text, limit=2000)), row(*keys)]))
        self.refresh(layout=True)
