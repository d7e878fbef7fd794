"""A table of as many rows as there are: it holds the pages that were looked at and asks for the others.

Only lines that change are drawn again: a step of the cursor sends two lines to the terminal.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.geometry import Region, Size
from textual.message import Message
from textual.reactive import var
from textual.scroll_view import ScrollView
from textual.strip import Strip

PAGE = 100
PAGES_HELD = 30
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class GridColumn:
    """`name` is what sorting by it is called, "" where that makes no sense; `width` in cells."""

    name: str
    label: str
    width: int
    right: bool = False


class EndlessTable(ScrollView, can_focus=True):
    """Subclasses say in `cells` how a row reads."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"endless--head", "endless--cursor", "endless--quiet"}
    DEFAULT_CSS = """
    EndlessTable { height: 1fr; background: $background; scrollbar-size-vertical: 1; scrollbar-size-horizontal: 0;
                   scrollbar-color: $primary 50%; scrollbar-background: $background; }
    EndlessTable .endless--head { color: $foreground-muted; }
    EndlessTable .endless--cursor { background: $surface; text-style: bold; }
    EndlessTable:focus .endless--cursor { background: $primary 40%; text-style: bold; }
    EndlessTable .endless--quiet { color: $foreground-muted; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down,j", "step(1)", "Down", id="table.down", show=False, tooltip="One row down"),
        Binding("up,k", "step(-1)", "Up", id="table.up", show=False, tooltip="One row up"),
        Binding("pagedown,ctrl+f,right_square_bracket", "leaf(1)", "Page down", id="table.next", show=False,
                tooltip="A screen further"),
        Binding("pageup,ctrl+b,left_square_bracket", "leaf(-1)", "Page up", id="table.previous", show=False,
                tooltip="A screen back"),
        Binding("home", "end(-1)", "First", id="table.first", show=False, tooltip="The first row"),
        Binding("end,G", "end(1)", "Last", id="table.last", show=False, tooltip="The last row"),
    ]  # fmt: skip

    cursor = var(0)

    @dataclass
    class PageWanted(Message):
        """The rows from `offset` on are about to be looked at; give them to `keep`."""

        offset: int
        limit: int

    @dataclass
    class Highlighted(Message):
        """The cursor is on that row, which is held."""

        index: int
        row: Row

    class Chosen(Highlighted):
        """Enter, or a second click, on a row."""

    @dataclass
    class HeadClicked(Message):
        column: str

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self.columns: tuple[GridColumn, ...] = ()
        self.count = 0
        self.order: tuple[str, bool] = ("", False)  # the column that is sorted by, and whether downwards
        self._pages: dict[int, list[Row]] = {}
        self._asked: set[int] = set()
        self._told: Any = None

    # -- what is shown -----------------------------------------------------------------------------------------------

    def cells(self, row: Row) -> Sequence[tuple[str, str]]:
        """(text, theme variable of its colour or "") for each column; the text is plain and inert."""
        raise NotImplementedError

    def begin(self, count: int, *, cursor: int = 0, pages: Mapping[int, Sequence[Row]] | None = None) -> None:
        """Show another list of `count` rows; `pages` are rows that are known already, by their first index."""
        self.count = count
        self._pages = {offset // PAGE: list(rows) for offset, rows in (pages or {}).items()}
        self._asked.clear()
        self.virtual_size = Size(self.size.width, count + 1)
        self.cursor = max(0, min(count - 1, cursor))
        self._told = None
        self._follow()
        self.refresh()
        self._tell()

    def keep(self, offset: int, rows: Sequence[Row]) -> None:
        """Take the rows of a page."""
        number = offset // PAGE
        self._pages[number] = list(rows)
        self._asked.discard(number)
        here = self.cursor // PAGE
        for far in sorted(self._pages, key=lambda page: -abs(page - here))[: max(0, len(self._pages) - PAGES_HELD)]:
            del self._pages[far]
        self.refresh()
        self._tell()

    def row_at(self, index: int) -> Row | None:
        rows = self._pages.get(index // PAGE)
        at = index % PAGE
        return rows[at] if rows is not None and at < len(rows) else None

    def forget_line(self, index: int) -> None:
        """Draw the row again after it was changed in place."""
        self.refresh(self._line_of(index))

    def fit(self, columns: Sequence[GridColumn]) -> None:
        if tuple(columns) != self.columns:
            self.columns = tuple(columns)
            self.refresh()

    # -- drawing -----------------------------------------------------------------------------------------------------

    def render_line(self, y: int) -> Strip:
        width = self.size.width
        base = self.rich_style
        if y == 0:
            return self._strip(self._head(), base + self.get_component_rich_style("endless--head"), width)
        index = y - 1 + self.scroll_offset.y
        if index >= self.count:
            return Strip.blank(width, base)
        here = index == self.cursor
        style = base + self.get_component_rich_style("endless--cursor") if here else base
        row = self.row_at(index)
        mark = "▌" if here else " "
        if row is None:
            self._want(index)
            quiet = style + self.get_component_rich_style("endless--quiet", partial=True)
            return self._strip([(f"{mark}…", "")], quiet, width)
        cells = [(mark, "$accent" if here else "")]
        for column, (text, tone) in zip(self.columns, self.cells(row), strict=False):
            cells.append((fit_cell(text, column.width, right=column.right) + " ", tone))
        return self._strip(cells, style, width)

    def _head(self) -> list[tuple[str, str]]:
        cells = [(" ", "")]
        for column in self.columns:
            arrow = ("▼" if self.order[1] else "▲") if column.name and column.name == self.order[0] else ""
            cells.append((fit_cell(column.label + arrow, column.width, right=column.right) + " ", ""))
        return cells

    def _strip(self, cells: Sequence[tuple[str, str]], style: Style, width: int) -> Strip:
        colours = self.app.theme_variables
        segments = []
        for text, tone in cells:
            colour = colours.get(tone.removeprefix("$"), "") if tone else ""
            segments.append(Segment(text, style + _coloured(colour) if colour else style))
        return Strip(segments).adjust_cell_length(width, style)

    def on_resize(self) -> None:
        self.virtual_size = Size(self.size.width, self.count + 1)
        self._follow()

    def watch_cursor(self, old: int, new: int) -> None:
        for index in (old, new):
            self.refresh(self._line_of(index))
        self._follow()
        self._tell()

    def _line_of(self, index: int) -> Region:
        return Region(0, index + 1 - self.scroll_offset.y, self.size.width, 1)

    def _follow(self) -> None:
        """Keep the cursor's row on the screen; the head covers the first line."""
        top, height = self.scroll_offset.y, self.size.height - 1
        if height <= 0:
            return
        if self.cursor < top:
            self.scroll_to(y=self.cursor, animate=False, force=True)
        elif self.cursor >= top + height:
            self.scroll_to(y=self.cursor - height + 1, animate=False, force=True)

    def _want(self, index: int) -> None:
        number = index // PAGE
        if number not in self._asked:
            self._asked.add(number)
            self.post_message(self.PageWanted(number * PAGE, PAGE))

    def _tell(self) -> None:
        row = self.row_at(self.cursor) if self.count else None
        if row is None:
            if self.count:
                self._want(self.cursor)
        elif row is not self._told:
            self._told = row
            for near in (self.cursor - PAGE // 2, self.cursor + PAGE // 2):
                if 0 <= near < self.count and near // PAGE not in self._pages:
                    self._want(near)  # read ahead, so that the next key need not wait
            self.post_message(self.Highlighted(self.cursor, row))

    # -- keys and mouse ----------------------------------------------------------------------------------------------

    def action_step(self, by: int) -> None:
        self.cursor = max(0, min(self.count - 1, self.cursor + by))

    def action_leaf(self, by: int) -> None:
        self.action_step(by * max(1, self.size.height - 2))

    def action_end(self, which: int) -> None:
        self.cursor = 0 if which < 0 else max(0, self.count - 1)

    def on_key(self, event: events.Key) -> None:
        if event.key == "enter" and (row := self.row_at(self.cursor)) is not None:
            event.stop()
            self.post_message(self.Chosen(self.cursor, row))

    def on_click(self, event: events.Click) -> None:
        if event.y == 0:
            at = 1
            for column in self.columns:
                if at <= event.x <= at + column.width and column.name:
                    self.post_message(self.HeadClicked(column.name))
                at += column.width + 1
            return
        index = event.y - 1 + self.scroll_offset.y
        if index < self.count:
            again = index == self.cursor
            self.cursor = index
            if again and event.chain > 1 and (row := self.row_at(index)) is not None:
                self.post_message(self.Chosen(index, row))


def fit_cell(text: str, width: int, *, right: bool = False) -> str:
    """The text in exactly `width` cells, cut with an ellipsis; wide characters count as they are drawn."""
    if text.isascii():
        cut = text if len(text) <= width else text[: max(0, width - 1)] + "…"
        return cut.rjust(width) if right else cut.ljust(width)
    content = Content(text)
    if content.cell_length > width:
        content = content.truncate(width, ellipsis=True)
    gap = " " * max(0, width - content.cell_length)
    return gap + content.plain if right else content.plain + gap


@cache
def _coloured(colour: str) -> Style:
    try:
        return Style(color=colour.removeprefix("ansi_"))
    except Exception:
        return Style()
