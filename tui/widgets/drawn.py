"""A widget of plain pieces of text, which sends only the lines that changed to the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.segment import Segment
from rich.style import Style
from textual.geometry import Region
from textual.strip import Strip
from textual.style import Style as VisualStyle
from textual.widget import Widget

Cell = tuple[str, str]  # text, and its style as marks have it


class Plot(Widget):
    """Textual's own way from styled text to a line takes five times as long."""

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._rows: Sequence[list[Cell]] = []
        self._known: dict[Cell, Style] = {}

    @property
    def text(self) -> str:
        return "\n".join("".join(text for text, _ in cells) for cells in self._rows)

    def put(self, rows: Sequence[list[Cell]]) -> None:
        """Show these lines."""
        before, self._rows = self._rows, rows
        many = max(len(before), len(rows))
        changed = [at for at in range(many) if before[at : at + 1] != rows[at : at + 1]]
        if changed:
            self.refresh(*(Region(0, at, self.size.width, 1) for at in changed))

    def render_line(self, y: int) -> Strip:
        cells = self._rows[y] if y < len(self._rows) else []
        found = Strip([Segment(text, self._style(tone)) for text, tone in cells])
        return found.adjust_cell_length(self.size.width, self._style(""))

    def _style(self, tone: str) -> Style:
        key = (self.app.theme, tone)
        if key not in self._known:
            self._known[key] = (self.visual_style + VisualStyle.parse(tone, self.app.theme_variables)).rich_style
        return self._known[key]
