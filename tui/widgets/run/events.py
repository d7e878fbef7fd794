"""The last events, newest at the bottom."""

from __future__ import annotations

from datetime import datetime

from textual.content import Content
from textual.widgets import Static

from tui.live.state import RunState
from tui.widgets.marks import QUIET, TONES, lines, row
from tui.words.facts import Moment
from tui.words.text import one_line

_SHAPES = {"info": ("·", "quiet"), "warning": ("!", "warn"), "error": ("✗", "bad")}


class EventsList(Static):
    def __init__(self) -> None:
        super().__init__(id="events", classes="panel", markup=False)
        self.border_title = "Events"

    def show(self, state: RunState) -> None:
        width, height = max(20, self.content_size.width), max(1, self.content_size.height)
        if not state.events:
            self.update(row(("What happens is listed here: phases, gates, questions, warnings.", QUIET)))
            return
        self.update(lines([_event_line(moment, width) for moment in list(state.events)[-height:]]))


def _event_line(moment: Moment, width: int) -> Content:
    shape, tone = _SHAPES.get(moment.level, ("·", "quiet"))
    stamp = datetime.fromtimestamp(moment.at).strftime("%H:%M:%S" if width >= 50 else "%H:%M")
    return row((f"{stamp} ", QUIET), (f"{shape} ", TONES[tone]), one_line(moment.text, width - len(stamp) - 3))
