"""What a key did or could not do, in lines of its own between the room and the bars: they cover nothing."""

from __future__ import annotations

from textual.timer import Timer
from textual.widgets import Static

from tui.widgets.marks import TONES, lines, row
from tui.words.text import make_visible

LEAST_S = 4.0  # that a message stays
CHARACTERS_A_S = 15.0  # that are read in a second beyond that
LINES = 2  # messages that are told at once

_SHAPES = {"information": ("·", "quiet"), "warning": ("!", "warn"), "error": ("✗", "bad")}


class MessageLines(Static):
    """Goes by itself, but not while something lies over it."""

    def __init__(self) -> None:
        super().__init__(id="told", markup=False)
        self.display = False
        self._said: list[tuple[str, str]] = []  # text, severity
        self._timer: Timer | None = None

    def tell(self, text: str, severity: str) -> None:
        """Show a message below one that is still there."""
        self._said = [*self._said, (make_visible(text, limit=600), severity)][-LINES:]
        rows = []
        for said, how in self._said:
            shape, tone = _SHAPES[how]
            first, *rest = said.split("\n")
            rows += [row((f"{shape} ", TONES[tone]), first), *(row("  ", line) for line in rest)]
        self.update(lines(rows))
        self.display = True
        self._wait(LEAST_S + sum(len(said) for said, _ in self._said) / CHARACTERS_A_S)

    def _wait(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.stop()
        self._timer = self.set_timer(seconds, self._go)

    def _go(self) -> None:
        if len(self.app.screen_stack) > 1:
            self._wait(LEAST_S)
            return
        self._said = []
        self.display = False
