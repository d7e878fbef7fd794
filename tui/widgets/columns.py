"""Texts beside each other that fill what is left of a room; below each other where it is too narrow for that."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from textual import events
from textual.app import ComposeResult
from textual.containers import Container, VerticalScroll
from textual.content import Content
from textual.widgets import Static

from tui.widgets.marks import QUIET, lines, row

_NO_RUN = "There is no run yet. 1, then Enter, starts a pilot."

Draw = Callable[[int, int], list[Content]]


class Columns(Container):
    """`titles` by name; each says that there is no run, or `waiting`, until it is given what draws it by its size.

    They stand beside each other from a width of `beside` cells.
    """

    DEFAULT_CSS = """
    Columns { layout: horizontal; height: 1fr; }
    Columns > VerticalScroll { width: 1fr; height: 1fr; border-top: solid $foreground 20%; padding: 0 1 0 0;
                               border-title-color: $text-accent; border-title-style: bold;
                               scrollbar-size-vertical: 1; scrollbar-color: $primary 50%;
                               scrollbar-background: $background; }
    Columns > VerticalScroll > Static { height: auto; }
    """

    def __init__(self, titles: Mapping[str, str], waiting: str, *, id: str, beside: int) -> None:
        super().__init__(id=id)
        self._titles, self._waiting, self._beside = titles, waiting, beside
        self._draw: dict[str, Draw] = {}

    def compose(self) -> ComposeResult:
        for name, title in self._titles.items():
            with VerticalScroll(id=f"column-{name}", can_focus=False) as box:
                box.border_title = title
                yield Static(row((_NO_RUN, QUIET)), markup=False)

    def wait(self) -> None:
        """Say that what stands here is being worked out."""
        for name in self._titles:
            self.show(name, lambda *_: [row((self._waiting, QUIET))])

    def show(self, name: str, draw: Draw) -> None:
        self._draw[name] = draw
        self._paint(name)

    def _paint(self, name: str) -> None:
        box = self.query_one(f"#column-{name}", VerticalScroll)
        width = box.size.width - 2 - (0 if box.show_vertical_scrollbar else 1)  # without a scrollbar that may come
        box.query_one(Static).update(lines(self._draw[name](max(20, width), box.size.height)))

    def on_resize(self, event: events.Resize) -> None:
        self.styles.layout = "horizontal" if event.size.width >= self._beside else "vertical"
        for name in self._draw:
            self.call_after_refresh(self._paint, name)

    def scroll(self, by: int) -> None:
        for box in self.query(VerticalScroll):
            box.scroll_relative(y=by, animate=False)
