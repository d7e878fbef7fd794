"""The two lines at the bottom: the rooms with their keys, and the keys that do something here now."""

from __future__ import annotations

from textual import events
from textual.content import Content
from textual.dom import DOMNode
from textual.screen import Screen
from textual.widgets import Static

from tui.widgets.marks import QUIET, row
from tui.words.places import PLACES


class RoomBar(Static):
    """Names every room where there is room for that, and shortens all names where there is not."""

    _WAYS = (" {0.key} {0.title}", "{0.key} {0.short}", "{0.key}{0.short}")  # widest first

    def __init__(self) -> None:
        super().__init__(id="bar", markup=False)
        self._drawn: tuple[object, ...] = ()
        self._spans: list[tuple[int, int, str]] = []
        self._current, self._asking = "", False

    def on_resize(self) -> None:
        if self._drawn:
            self.show(self._current, asking=self._asking)

    def show(self, current: str, *, asking: bool) -> None:
        self._current, self._asking = current, asking
        width = self.size.width or self.app.size.width
        if (current, asking, width) == self._drawn:
            return
        self._drawn = (current, asking, width)
        ways = (way for way in self._WAYS if sum(len(way.format(place)) + 1 for place in PLACES) <= width)
        way = next(ways, self._WAYS[-1])
        pieces, self._spans, at = [], [], 0
        for place in PLACES:
            mark = "!" if asking and place.name == "questions" else " "
            text = f"{way.format(place)}{mark}"
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
    """One line of keys; Textual's Footer makes widgets anew at every change and keeps the old ones in memory.

    Where it is narrow, whole keys are left out from the right, Help and Quit last.
    """

    _KEPT = ("help", "leave")

    def __init__(self) -> None:
        super().__init__(id="keys", markup=False)
        self._drawn: tuple[object, ...] = ()
        self._spans: list[tuple[int, int, str, DOMNode]] = []

    def on_mount(self) -> None:
        self.screen.bindings_updated_signal.subscribe(self, self.show)

    def on_resize(self) -> None:
        self.show(self.screen)

    def show(self, screen: Screen[object]) -> None:
        if not screen.is_mounted or not self.app.is_running:
            return
        found: dict[str, tuple[str, str, str, DOMNode]] = {}
        for active in screen.active_bindings.values():
            binding = active.binding
            if active.enabled and binding.show and binding.description:
                key = self.app.get_key_display(binding)
                found.setdefault(binding.action, (key, binding.description, binding.action, active.node))
        width = self.size.width or self.app.size.width
        keys = (width, *((key, name) for key, name, _, _ in found.values()))
        if keys == self._drawn:
            return
        self._drawn, self._spans, at, pieces = keys, [], 0, []
        shown, left_out = fitting(list(found.values()), width, self._KEPT)
        for key, name, action, node in shown:
            text = f" {key} {name} "
            self._spans.append((at, at + len(text), action, node))
            pieces.append(row((f" {key}", "bold $accent"), f" {name} "))
            at += len(text)
        self.update(Content.assemble(*pieces, *([(" …", QUIET)] if left_out else [])))

    async def on_click(self, event: events.Click) -> None:
        for start, end, action, node in self._spans:
            if start <= event.x < end:
                await self.app.run_action(action, node)


Key = tuple[str, str, str, DOMNode]  # key, name, action, where it is bound


def fitting(keys: list[Key], width: int, kept: tuple[str, ...]) -> tuple[list[Key], bool]:
    """The keys that stand whole on a line, with room for "…" where some are left out; those of `kept` go last."""

    def cells(some: list[Key]) -> int:
        return sum(len(key) + len(name) + 3 for key, name, _, _ in some)

    shown = list(keys)
    while cells(shown) + (2 if len(shown) < len(keys) else 0) > width:
        others = [key for key in shown if key[2] not in kept]
        shown.remove(others[-1] if others else shown[-1])
    return shown, len(shown) < len(keys)
