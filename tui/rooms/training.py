"""Training: says what will be here; no phase writes rows for it yet."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.widgets import Static

from tui.rooms import Room
from tui.widgets.marks import QUIET, row

_EMPTY = (
    "Curves of loss, learning rate and gradient norm, for DPO reward margin and accuracy too, appear here "
    "while a model is trained: after the data gate has passed, with SFT first. Nothing is trained in this run yet."
)


class TrainingRoom(Room, can_focus=True):
    def __init__(self) -> None:
        super().__init__(id="training", classes="panel")
        self.border_title = "Training"

    def compose(self) -> ComposeResult:
        yield Static(row((_EMPTY, QUIET)), markup=False)
