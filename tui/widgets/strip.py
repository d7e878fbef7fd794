"""One line of choices: what is chosen stands out, a click is the same as its key."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from textual import events
from textual.content import Content
from textual.message import Message
from textual.widgets import Static

from tui.widgets.marks import QUIET, row


class Strip(Static):
    """Draws choices, and knows which of them was clicked."""

    @dataclass
    class Pressed(Message):
        """The part with that action was clicked."""

        action: str

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id, markup=False)
        self._spans: list[tuple[int, int, str]] = []

    def draw(self, parts: Sequence[tuple[str, bool, str]]) -> Content:
        """`parts` are (text, whether it is chosen, action), from left to right; the text is inert."""
        pieces, self._spans, at = [], [], 0
        for text, chosen, action in parts:
            pieces.append(row((f" {text} ", "bold reverse" if chosen else QUIET)))
            self._spans.append((at, at + len(text) + 2, action))
            at += len(text) + 2
        return Content.assemble(*pieces)

    def on_click(self, event: events.Click) -> None:
        for start, end, action in self._spans:
            if event.y == 0 and start <= event.x < end and action:
                self.post_message(self.Pressed(action))


class ChoiceStrip(Strip):
    def show(self, parts: Sequence[tuple[str, bool, str]]) -> None:
        self.update(self.draw(parts))
