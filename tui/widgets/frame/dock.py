"""The question dock: a question sits under what it is about, is answered by its id, and only once."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from textual import events, on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.widgets import Input, Static

from tui.widgets.marks import QUIET, lines, row
from tui.words.keys import key_name
from tui.words.questions import Choice, DockedQuestion
from tui.words.text import make_visible

ARMING_S = 0.6  # a doubled Enter comes within 0.3 s; a person who read the question takes longer


class QuestionDock(Vertical, can_focus=True):
    """Shows one question at a time, the others wait in line. Keys count only while it has the focus."""

    @dataclass
    class Answered(Message):
        """`text` is what was typed with the answer."""

        question: DockedQuestion
        answer: str
        text: str = ""

    @dataclass
    class MoreWanted(Message):
        room: str

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(id="dock")
        self.display = False
        self._clock = clock
        self._waiting: deque[DockedQuestion] = deque()
        self._answered: set[str] = set()
        self._shown_at = 0.0
        self._doubled = False
        self._typing: Choice | None = None
        self._drafts: dict[tuple[str, str], str] = {}

    def compose(self) -> ComposeResult:
        yield Static(id="dock-text", markup=False)
        yield Input(id="dock-reason")

    def on_mount(self) -> None:
        self.query_one(Input).display = False

    @property
    def current(self) -> DockedQuestion | None:
        return self._waiting[0] if self._waiting else None

    @property
    def waiting(self) -> tuple[DockedQuestion, ...]:
        return tuple(self._waiting)

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
        if self._typing is not None:
            if event.key == "escape":
                event.stop()
                self._stop_typing()
            elif event.is_printable and event.character:  # pressed before the line had the focus
                event.stop()
                event.prevent_default()
                self.query_one(Input).insert_text_at_cursor(event.character)
            return
        first = question.choices[0]
        choice = next((item for item in question.choices if item.key == event.key), None)
        if event.key == "enter" and choice is None:
            choice = first
        elif event.key == "escape" and question.on_escape is not None:
            choice = next((item for item in question.choices if item.value == question.on_escape), None)
            choice = choice or Choice("escape", "", question.on_escape)
        more = event.key == "r" and bool(question.more)
        if choice is None and not more:
            return
        event.stop()
        event.prevent_default()
        if self._doubled and self._clock() - self._shown_at < ARMING_S:
            return
        if choice is None:
            self.post_message(self.MoreWanted(question.more))
        elif choice.asks:
            self._start_typing(choice)
        else:
            self._answer(question, choice.value)

    @on(Input.Submitted, "#dock-reason")
    def give_reason(self, event: Input.Submitted) -> None:
        event.stop()
        question, choice, text = self.current, self._typing, event.value.strip()
        if question is None or choice is None:
            return
        if not text:
            self.query_one(Input).placeholder = f"{choice.asks} (it cannot be empty; Esc goes back)"
            return
        self._drafts.pop((question.question_id, choice.value), None)
        self._stop_typing()
        self._answer(question, choice.value, text)

    def _start_typing(self, choice: Choice) -> None:
        assert self.current is not None
        self._typing = choice
        box = self.query_one(Input)
        box.placeholder = f"{choice.asks}; Enter sends, Esc goes back"
        box.value = self._drafts.get((self.current.question_id, choice.value), "")
        box.display = True
        self.screen.set_focus(box)  # at once: the next key may be here already

    def _stop_typing(self) -> None:
        box = self.query_one(Input)
        if self._typing is not None and self.current is not None:
            self._drafts[self.current.question_id, self._typing.value] = box.value
        self._typing = None
        had_focus = box.has_focus
        box.display = False
        if had_focus:
            self.screen.set_focus(self)

    def _answer(self, question: DockedQuestion, value: str, text: str = "") -> None:
        if question.question_id in self._answered:
            return
        self._answered.add(question.question_id)
        self._waiting.popleft()
        self.post_message(self.Answered(question, value, text))
        self._show(after_answer=True)

    def on_descendant_focus(self) -> None:
        self._subtitle()

    def on_descendant_blur(self) -> None:
        self._subtitle()

    def on_focus(self) -> None:
        self._subtitle()

    def on_blur(self) -> None:
        self._subtitle()

    def _subtitle(self) -> None:
        """How many wait behind it, and the key that goes to the question while its own keys count for the room."""
        more = f"{len(self._waiting) - 1} more waiting" if len(self._waiting) > 1 else ""
        away = "" if self.has_focus_within else "g, then its keys"
        self.border_subtitle = " · ".join(filter(None, (more, away)))

    def _show(self, *, after_answer: bool = False) -> None:
        question = self.current
        if self._typing is not None:
            self._typing = None
            self.query_one(Input).display = False
        self.display = question is not None
        self._shown_at = self._clock()
        self._doubled = after_answer  # a question that replaces another one is not answered by the same keystroke
        if question is None:
            return
        self.border_title = Content(question.title)
        self._subtitle()
        keys: list[tuple[str, str] | str] = []
        for at, choice in enumerate(question.choices):
            name = key_name(choice.key)
            name = f"{name} / Enter" if at == 0 and choice.key != "enter" else name
            keys += [(f" {name} ", "bold reverse"), f" {choice.label}   "]
        if question.more:
            keys += [(" r ", "bold reverse"), (" read more", QUIET)]
        self.query_one("#dock-text", Static).update(lines([row(make_visible(question.text, limit=2000)), row(*keys)]))
        self.refresh(layout=True)
