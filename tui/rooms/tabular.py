"""What rooms around one table have in common."""

from __future__ import annotations

from tui.rooms import Room
from tui.widgets.tables import PlainTable


class TableRoom(Room):
    """Base of such rooms, for the vi keys of their table."""

    @property
    def table(self) -> PlainTable:
        return self.query_one(PlainTable)

    def home(self) -> None:
        self.screen.set_focus(self.table)

    def action_cursor(self, step: int) -> None:
        self.table.step(step)
