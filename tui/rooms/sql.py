"""SQL."""

from __future__ import annotations

from tui.rooms import Room


class SqlRoom(Room, can_focus=True):
    def __init__(self) -> None:
        super().__init__(id="sql", classes="panel")
        self.border_title = "SQL"
