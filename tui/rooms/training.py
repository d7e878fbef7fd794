"""Training."""

from __future__ import annotations

from tui.rooms import Room


class TrainingRoom(Room, can_focus=True):
    def __init__(self) -> None:
        super().__init__(id="training", classes="panel")
        self.border_title = "Training"
