"""The rooms of the control center, one file each, and how a room speaks with the app.

A room shows what it is given and asks for the rest by message; it decides nothing and opens nothing. Reads and writes
are functions of a `Library` or a `Store` that the app runs in a thread, so that no room ever blocks the screen.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

from textual.containers import Container
from textual.message import Message

if TYPE_CHECKING:
    from store.db import Store
    from tui.live.state import RunState
    from tui.reads.library import Library, RunHistory
    from tui.widgets.dock import DockedQuestion


class Room(Container):
    """Base of all rooms. Every method below may be left as it is."""

    SEARCHES: ClassVar[bool] = False  # whether `/` opens a search here

    # -- what the app tells a room -----------------------------------------------------------------------------------

    def know(self, history: RunHistory) -> None:
        """The store's account of the run that is shown; told again after each stage, also while the room is closed."""

    def prepare(self, state: RunState) -> None:
        """The run that is shown is not under way: read ahead what opening the room would show."""

    def show(self, state: RunState) -> None:
        """Paint; called while the room is open, at most five times a second and only when `state` changed."""

    def look(self) -> None:
        """The room was opened, or a second went by while it is open: ask again for what may have changed."""

    def home(self) -> None:
        """Put the focus where a person wants it on opening the room."""
        self.focus()

    def find(self) -> None:
        """Open the search, in rooms that have one."""

    # -- what a room asks of the app ---------------------------------------------------------------------------------

    class Wanted(Message):
        """Run `read(library)` in a thread, then `then(result)` on the screen; a newer read of a `group` replaces it.

        Nothing is run while no store is open.
        """

        def __init__(self, what: str, read: Callable[[Library], Any], then: Callable[[Any], None], group: str) -> None:
            super().__init__()
            self.what, self.read, self.then, self.group = what, read, then, group

    class WorkWanted(Message):
        """Run `work()`, which needs no store, in a thread, then `then(result)` on the screen; the newest wins."""

        def __init__(self, what: str, work: Callable[[], Any], then: Callable[[Any], None]) -> None:
            super().__init__()
            self.what, self.work, self.then = what, work, then

    class WriteWanted(Message):
        """Run `write(store)` in a thread on a store that may be written, then `then(result)` on the screen."""

        def __init__(self, what: str, write: Callable[[Store], Any], then: Callable[[Any], None]) -> None:
            super().__init__()
            self.what, self.write, self.then = what, write, then

    class AskWanted(Message):
        """Ask the person in the dock; `then(answer, typed text)` is called once."""

        def __init__(self, question: DockedQuestion, then: Callable[[str, str], None]) -> None:
            super().__init__()
            self.question, self.then = question, then

    class RunWanted(Message):
        """Show a run (`how` "show"), go on with it ("resume"), start one with `options` ("start"), train ("train")
        or evaluate ("evaluate").

        Training takes the options `kind`, sft or dpo, and `changed`, settings in place of the spec's.
        """

        def __init__(self, how: str, run_id: str = "", options: dict[str, Any] | None = None) -> None:
            super().__init__()
            self.how, self.run_id, self.options = how, run_id, options or {}

    class GoTo(Message):
        """Open a room, and there the subject named, e.g. ("samples", sample_id)."""

        def __init__(self, room: str, subject: str = "") -> None:
            super().__init__()
            self.room, self.subject = room, subject

    def read(
        self, what: str, read: Callable[[Library], Any], then: Callable[[Any], None], group: str | None = None
    ) -> None:
        """Post `Wanted`; without a `group` the newest read of this `what` wins."""
        self.post_message(self.Wanted(what, read, then, what if group is None else group))

    def visit(self, subject: str) -> None:
        """Show the subject that another room named; see `GoTo`."""
