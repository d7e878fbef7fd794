"""Runs."""

from __future__ import annotations

from tui.rooms import Room


class RunsRoom(Room, can_focus=True):
    def __init__(self) -> None:
        super().__init__(id="runs", classes="panel")
        self.border_title = "Runs"
