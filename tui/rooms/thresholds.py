"""Thresholds."""

from __future__ import annotations

from tui.rooms import Room


class ThresholdsRoom(Room, can_focus=True):
    def __init__(self) -> None:
        super().__init__(id="thresholds", classes="panel")
        self.border_title = "Thresholds"
