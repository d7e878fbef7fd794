"""What rooms with a list, and a detail of what is under its cursor, have in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from textual import on
from textual.binding import Binding, BindingType
from textual.timer import Timer

from tui.rooms import Room
from tui.widgets.endless import EndlessTable
from tui.widgets.strip import Strip

if TYPE_CHECKING:
    from store.read import Reader

REST_S = 0.08  # the cursor rests this long before what is under it is read


def verdict_keys(room: str, accepted: str, rejected: str, unsure: str = "") -> list[BindingType]:
    """Keys that list one verdict only, each with what it does; without words for unsure there is no key for it."""
    keys = (
        ("a", "accepted", "Accepted", accepted),
        ("r", "rejected", "Rejected", rejected),
        ("u", "unsure", "Unsure", unsure),
        ("e", "", "Every", "Every verdict"),
    )
    return [
        Binding(key, f"only('{verdict}')", word, id=f"{room}.{word.lower()}", show=False, tooltip=about)
        for key, verdict, word, about in keys
        if about
    ]


def list_keys(room: str, order: str) -> list[BindingType]:
    """Keys that clear the filters and sort; `order` says by what."""
    return [
        Binding("x", "clear", "Clear", id=f"{room}.clear", show=False, tooltip="Clear every filter"),
        Binding("o", "order", "Sort", id=f"{room}.order", tooltip=order),
    ]


def back_key(room: str) -> Binding:
    return Binding("escape", "back", "Back", id=f"{room}.back", show=False, tooltip="Back to the table")


class ListingRoom(Room):
    """Base of such rooms."""

    _rest: Timer | None = None
    _listing: Any = None  # what the table lists; None before the first listing

    @property
    def table(self) -> EndlessTable:
        raise NotImplementedError

    def page(self, reader: Reader, listing: Any, offset: int, limit: int) -> list[dict[str, Any]]:
        """Rows of a listing, read in a thread."""
        raise NotImplementedError

    @on(EndlessTable.PageWanted)
    def read_page(self, event: EndlessTable.PageWanted) -> None:
        listing = self._listing
        if listing is None:
            return

        def arrived(rows: list[dict[str, Any]]) -> None:
            if listing is self._listing:
                self.table.keep(event.offset, rows)

        what = f"reading {self.id}"
        self.look_up(what, lambda reader: self.page(reader, listing, event.offset, event.limit), arrived, group="")

    @on(Strip.Pressed)
    async def press(self, event: Strip.Pressed) -> None:
        await self.run_action(event.action)

    def open_at_rest(self, read: Callable[[], None], *, at_once: bool) -> None:
        """Read what the cursor is on when it has rested there; `at_once` where nothing is shown yet."""
        if self._rest is not None:
            self._rest.stop()
        if at_once:
            read()
        else:
            self._rest = self.set_timer(REST_S, read)

    def home(self) -> None:
        self.screen.set_focus(self.table)

    def action_back(self) -> None:
        self.home()
