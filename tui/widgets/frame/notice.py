"""An error panel: what happened, what is safe, what to do next."""

from __future__ import annotations

from textual.content import Content
from textual.widgets import Static

from tui.widgets.marks import QUIET, TONES, lines, row
from tui.words.text import make_visible, one_line

SMALL_ROWS = 24  # below this many rows of the terminal the box gives up its frame and takes three rows
ROWS_WHEN_SMALL = 3


class Notice(Static):
    """Escape closes it, wherever the focus is: the app has the key (tui/app/keys.py)."""

    def __init__(self) -> None:
        super().__init__(id="notice", markup=False)
        self.display = False
        self._title, self._hint = "", ""
        self._lasting = False

    def tell(self, title: str, hint: str, *, lasting: bool = False) -> None:
        """Show it until it is closed, or until another run is shown; a `lasting` one is not about a run."""
        self.border_title, self.border_subtitle = "Problem", "Esc closes"
        self._title, self._hint, self._lasting = title, hint, lasting
        self.display = True
        self._paint()

    def close(self) -> None:
        self.display = False

    def give_way(self) -> None:
        """Another run is shown: what was told of the last one goes."""
        if not self._lasting:
            self.close()

    def on_resize(self) -> None:
        self._paint()

    def _paint(self) -> None:
        if not self.display:
            return
        small = self.app.size.height < SMALL_ROWS
        self.set_class(small, "-small")
        self.update(self._in_three_rows() if small else self._whole())

    def _whole(self) -> Content:
        rows = [row(("✗ ", TONES["bad"]), (make_visible(self._title, limit=1000), "bold"))]
        if self._hint:
            rows.append(row((make_visible(self._hint, limit=2000), "")))
        return lines(rows)

    def _in_three_rows(self) -> Content:
        """What happened is cut before what to do about it is."""
        width = max(20, self.app.size.width - 2)
        hint = one_line(self._hint, width * (ROWS_WHEN_SMALL - 1) - 4)
        used = -(-len(hint) // (width - 8)) if hint else 0  # words are wrapped whole
        title = one_line(self._title, width * max(1, ROWS_WHEN_SMALL - used) - 16)
        return lines(
            [row(("✗ ", TONES["bad"]), (title, "bold"), ("  Esc closes", QUIET)), *([row(hint)] if hint else [])]
        )
