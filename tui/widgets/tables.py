"""A table for text that others wrote: cells are never read as markup, the cursor stays on its row."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from textual.binding import Binding
from textual.widgets import DataTable

FAR = 1_000_000_000


class PlainTable(DataTable[object]):
    """Give it `rich.text.Text` cells only: a plain string would be parsed as markup."""

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id, cursor_type="row", zebra_stripes=False, header_height=1, cell_padding=1)

    @contextmanager
    def keep_cursor(self, *, cleared: bool) -> Iterator[None]:
        """Clear the rows if asked to, let them be added anew, then put the cursor back on the row it was on."""
        key = None
        if cleared:
            if self.is_valid_row_index(self.cursor_row):
                key = self.coordinate_to_cell_key(self.cursor_coordinate).row_key.value
            self.clear()
        yield
        if key is not None and key in self.rows:
            self.move_cursor(row=self.get_row_index(key), animate=False)

    def step(self, by: int) -> None:
        self.move_cursor(row=max(0, min(self.row_count - 1, self.cursor_row + by)), animate=False)


def vi_keys(room: str) -> list[Binding]:
    """The vi keys for a pane that has `action_cursor`."""
    return [
        Binding("j", "cursor(1)", "Down", id=f"{room}.down", show=False, tooltip="One row down"),
        Binding("k", "cursor(-1)", "Up", id=f"{room}.up", show=False, tooltip="One row up"),
        Binding("g", f"cursor(-{FAR})", "First", id=f"{room}.first", show=False, tooltip="The first row"),
        Binding("G", f"cursor({FAR})", "Last", id=f"{room}.last", show=False, tooltip="The last row"),
    ]
