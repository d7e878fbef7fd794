"""A person comes back: the screen opens in the room, with the filters and on the row where they left it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tui.app.background import Working
from tui.host.place import load_place, save_place

if TYPE_CHECKING:
    from tui.rooms import Room


class Returning(Working):
    """The part of the app that keeps where a person is, and goes back there."""

    rooms: dict[str, Room]

    def come_back(self, run_id: str) -> None:
        """Begin where the person left this run in this store, unless they have gone somewhere already."""
        place = load_place(self.session.store_path)
        known = place.get("rooms")
        if place.get("run") != run_id or not isinstance(known, dict):
            return
        for name, room in self.rooms.items():
            if isinstance(left := known.get(name), dict):
                room.come_back(left)
        if self.room.id == "run" and isinstance(last := place.get("room"), str):
            self.open_room(last)

    def exit(self, *args: Any, **options: Any) -> None:
        """As Textual has it; where the person is, is kept."""
        if self.standing and self.state.run_id:
            left = {name: room.left_at() for name, room in self.rooms.items()}
            place = {"run": self.state.run_id, "room": self.room.id, "rooms": left}
            save_place(self.session.store_path, place)
        super().exit(*args, **options)
