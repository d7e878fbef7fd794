"""The rooms with their keys, on one line; a click opens one."""

from __future__ import annotations

from textual import events
from textual.content import Content
from textual.widgets import Static

from tui.rooms import PLACES
from tui.widgets.marks import QUIET, row


class RoomBar(Static):
    """Names every room where there is room for that, and shortens all names where there is not."""

    def __init__(self) -> None:
        super().__init__(id="bar", markup=False)
        self._drawn: tuple[object, ...] = ()
        self._spans: list[tuple[int, int, str]] = []

    def show(self, current: str, *, asking: bool) -> None:
        width = self.size.width or self.app.size.width
        if (current, asking, width) == self._drawn:
            return
        self._drawn = (current, asking, width)
        full = sum(len(place.title) + 4 for place in PLACES) <= width
        pieces, self._spans, at = [], [], 0
        for place in PLACES:
            mark = "!" if asking and place.name == "questions" else " "
            name = place.title if full else place.short
            text = f" {place.key} {name}{mark}" if full else f"{place.key} {name}{mark}"
            style = "bold reverse" if place.name == current else "bold $text-warning" if mark == "!" else QUIET
            pieces.append(row((text, style)))
            self._spans.append((at, at + len(text), place.name))
            at += len(text)
        self.update(Content.assemble(*pieces))

    async def on_click(self, event: events.Click) -> None:
        for start, end, name in self._spans:
            if start <= event.x < end:
                await self.run_action(f"app.room('{name}')")
