"""The run's log: everything that libraries printed, which may not reach the terminal."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widgets import Input, RichLog

from tui.host.terminal import Tail
from tui.messages import WorkWanted
from tui.rooms import Room
from tui.words.text import Leveller, one_line

LINES_KEPT = 2_000
LINE_WIDTH = 1_000
_LEAST = (
    ("all", ("info", "warning", "error", "part")),
    ("warnings and errors", ("warning", "error")),
    ("errors", ("error",)),
)
_SHAPES = {"info": ("·", ""), "warning": ("!", "warning"), "error": ("✗", "error"), "part": ("─", "accent")}


class LogRoom(Room):
    SEARCHES = True
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j", "line(1)", "Down", id="log.down", show=False, tooltip="One line down"),
        Binding("k", "line(-1)", "Up", id="log.up", show=False, tooltip="One line up"),
        Binding("v", "level", "Level", id="log.level", tooltip="All lines, warnings and errors, or errors only"),
        Binding("G", "follow", "Follow", id="log.follow", tooltip="Go to the end and follow it"),
        Binding("escape", "clear_search", "Clear search", id="log.clear", show=False, tooltip="Show every line again"),
    ]

    def __init__(self, log: Path | None = None) -> None:
        super().__init__(id="log", classes="panel")
        self.border_title = "Log"
        self.border_subtitle = Content(one_line(str(log) if log else "no log file", 100))
        self._tail = Tail(log) if log else None
        self._lines: deque[tuple[str, str]] = deque(maxlen=LINES_KEPT)  # (level, text)
        self._leveller = Leveller()
        self._least = 0
        self._search = ""
        self._width = 0

    def compose(self) -> ComposeResult:
        yield Input(placeholder="lines that contain …, Enter keeps, Esc clears", id="log-search")
        yield RichLog(id="log-lines", max_lines=LINES_KEPT, markup=False, highlight=False, wrap=False)

    def on_mount(self) -> None:
        self.query_one("#log-search").display = False
        self._rewrite()

    def on_resize(self) -> None:
        width = self.query_one(RichLog).scrollable_content_region.width
        if width != self._width:
            self._width = width
            self.call_after_refresh(self._rewrite)

    def look(self) -> None:
        if (tail := self._tail) is not None:
            self.post_message(WorkWanted("reading the log", tail.new_lines, self.add))

    def add(self, lines: Sequence[str]) -> None:
        """Append lines of the log; each was written by some library and is treated as hostile."""
        if not self._lines:
            self.query_one(RichLog).clear()
        for line in lines:
            # A progress bar redraws itself after a carriage return: the last state is the one to keep.
            last = line.rstrip("\r\n").rpartition("\r")[2]
            entry = (self._leveller.level(last), one_line(last, LINE_WIDTH))
            self._lines.append(entry)
            if self._fits(entry):
                self._write(entry)
        if lines:
            self._count()

    def find(self) -> None:
        box = self.query_one("#log-search", Input)
        box.display = True
        box.focus()

    def home(self) -> None:
        self.screen.set_focus(self.query_one(RichLog))

    def action_line(self, step: int) -> None:
        self.query_one(RichLog).scroll_relative(y=step, animate=False)

    def action_follow(self) -> None:
        self.query_one(RichLog).scroll_end(animate=False)

    def action_level(self) -> None:
        self._least = (self._least + 1) % len(_LEAST)
        self._rewrite()

    def _fits(self, entry: tuple[str, str]) -> bool:
        return entry[0] in _LEAST[self._least][1] and self._search in entry[1].casefold()

    def _count(self) -> None:
        fits = sum(self._fits(entry) for entry in self._lines)
        errors = sum(level == "error" for level, _ in self._lines)
        warnings = sum(level == "warning" for level, _ in self._lines)
        told = f"{fits:,} of {len(self._lines):,} lines" if fits < len(self._lines) else f"{fits:,} lines"
        self.border_title = f"Log · {_LEAST[self._least][0]} · {told} · ✗ {errors} ! {warnings}"

    def action_clear_search(self) -> None:
        box = self.query_one("#log-search", Input)
        box.value, box.display = "", False
        self.home()

    @on(Input.Changed, "#log-search")
    def search(self, event: Input.Changed) -> None:
        self._search = event.value.casefold()
        self._rewrite()

    @on(Input.Submitted, "#log-search")
    def keep_search(self) -> None:
        self.home()

    def _rewrite(self) -> None:
        log = self.query_one(RichLog)
        log.clear()
        found = [entry for entry in self._lines if self._fits(entry)]
        for entry in found:
            self._write(entry)
        self._count()
        if not found:
            hint = "No line is like that." if self._lines else "What libraries print while a run goes on appears here."
            log.write(Text(hint, style="dim"))

    def _write(self, entry: tuple[str, str]) -> None:
        """Write a line on as many rows as it needs; what goes on stands under its beginning."""
        level, line = entry
        shape, colour = _SHAPES[level]
        log = self.query_one(RichLog)
        text = Text(line, style="" if level != "part" else "bold")
        if self._search:
            text.highlight_words([self._search], style="reverse", case_sensitive=False)
        # Two cells for the shape, one for the scrollbar, which may not be there yet.
        rows = text.wrap(self.app.console, max(20, log.scrollable_content_region.width - 3), overflow="fold")
        told = Text(f"{shape} ", style=self.app.theme_variables.get(colour, ""), no_wrap=True)
        told.append_text(Text("\n  ").join(rows) if rows else Text())
        log.write(told, scroll_end=log.is_vertical_scroll_end)
