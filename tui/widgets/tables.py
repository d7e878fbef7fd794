"""A table for text that others wrote: cells are never read as markup, the cursor stays on its row."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from textual.binding import Binding
from textual.widgets import DataTable

FAR = 1_000_000_000


class PlainTable(DataTable[object]):
    """Give it `rich.text.Text` cells only: a plain string would be parsed as markup."""

    DEFAULT_CSS = """
    PlainTable { overflow-x: hidden; }
    """

    def __init__(self, title: str = "", *, id: str) -> None:
        super().__init__(
            id=id, classes="panel", cursor_type="row", zebra_stripes=False, header_height=1, cell_padding=1
        )
        self.border_title = title

    @contextmanager
    def keep_cursor(self) -> Iterator[None]:
        """Clear the rows, let them be added anew, then put the cursor back on the row it was on."""
        key = self.under_cursor
        self.clear()
        yield
        self.styles.overflow_x = "auto" if self.row_count else "hidden"  # a bar below nothing looks like a row
        if key in self.rows:
            self.move_cursor(row=self.get_row_index(key), animate=False)

    @property
    def under_cursor(self) -> str:
        """The key of the cursor's row, "" where there is none."""
        if not self.is_valid_row_index(self.cursor_row):
            return ""
        return str(self.coordinate_to_cell_key(self.cursor_coordinate).row_key.value)

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
