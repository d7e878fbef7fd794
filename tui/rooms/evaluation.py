"""Evaluation."""

from __future__ import annotations

from tui.rooms import Room


class EvaluationRoom(Room, can_focus=True):
    def __init__(self) -> None:
        super().__init__(id="evaluation", classes="panel")
        self.border_title = "Evaluation"
