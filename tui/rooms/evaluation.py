"""Evaluation: says what will be here; no phase writes rows for it yet."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.widgets import Static

from tui.rooms import Room
from tui.widgets.marks import QUIET, row

_EMPTY = (
    "Paired results of the base and the tuned model, with intervals, tests, effect sizes and the items that "
    "changed sides, appear here once held-out items were answered by both. Nothing is evaluated in this run yet."
)


class EvaluationRoom(Room, can_focus=True):
    def __init__(self) -> None:
        super().__init__(id="evaluation", classes="panel")
        self.border_title = "Evaluation"

    def compose(self) -> ComposeResult:
        yield Static(row((_EMPTY, QUIET)), markup=False)
