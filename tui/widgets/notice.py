"""An error panel: what happened, what is safe, what to do next."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.widgets import Static

from tui.text import make_visible
from tui.widgets.marks import TONES, lines, row


class Notice(Static, can_focus=True):
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss", "Close", id="notice.close", tooltip="Close this notice"),
    ]

    def __init__(self) -> None:
        super().__init__(id="notice", markup=False)
        self.display = False

    def tell(self, title: str, hint: str) -> None:
        self.border_title, self.border_subtitle = "Problem", "Esc closes"
        rows = [row(("✗ ", TONES["bad"]), (make_visible(title, limit=1000), "bold"))]
        if hint:
            rows.append(row((make_visible(hint, limit=2000), "")))
        self.update(lines(rows))
        self.display = True

    def action_dismiss(self) -> None:
        self.display = False
