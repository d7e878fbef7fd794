"""The two lines at the bottom: the rooms with their keys, and the keys that do something here now."""

from __future__ import annotations

from textual import events
from textual.content import Content
from textual.dom import DOMNode
from textual.screen import Screen
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


class KeyBar(Static):
    """One line of keys; Textual's Footer makes widgets anew at every change and keeps the old ones in memory."""

    def __init__(self) -> None:
        super().__init__(id="keys", markup=False)
        self._drawn: tuple[tuple[str, str], ...] = ()
        self._spans: list[tuple[int, int, str, DOMNode]] = []

    def on_mount(self) -> None:
        self.screen.bindings_updated_signal.subscribe(self, self.show)

    def show(self, screen: Screen[object]) -> None:
        if not screen.is_mounted or not self.app.is_running:
            return
        shown: dict[str, tuple[str, str, str, DOMNode]] = {}
        for active in screen.active_bindings.values():
            binding = active.binding
            if active.enabled and binding.show and binding.description:
                key = self.app.get_key_display(binding)
                shown.setdefault(binding.action, (key, binding.description, binding.action, active.node))
        keys = tuple((key, name) for key, name, _, _ in shown.values())
        if keys == self._drawn:
            return
        self._drawn, self._spans, at, pieces = keys, [], 0, []
        for key, name, action, node in shown.values():
            text = f" {key} {name} "
            self._spans.append((at, at + len(text), action, node))
            pieces.append(row((f" {key}", "bold $accent"), f" {name} "))
            at += len(text)
        self.update(Content.assemble(*pieces))

    async def on_click(self, event: events.Click) -> None:
        for start, end, action, node in self._spans:
            if start <= event.x < end:
                await self.app.run_action(action, node)
