"""The rooms of the control center, one file each, and how a room speaks with the app.

A room shows what it is given and asks for the rest by message; it decides nothing and opens nothing. Reads and writes
are functions of a `Library` or a `Store` that the app runs in a thread, so that no room ever blocks the screen.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar, cast

from textual.containers import Container

from tui.messages import ReadWanted

if TYPE_CHECKING:
    from store.read import Reader
    from tui.live.state import RunState
    from tui.reads.library import Library, RunHistory
    from tui.words.questions import DockedQuestion

Found = TypeVar("Found")


def busy(state: RunState | None) -> str:
    """Why nothing else can be started now, "" where something can."""
    if state is not None and state.owner:
        return f"Process {state.owner} writes to this store: begin it there, or when that process has ended."
    if state is None or not state.active:
        return ""
    return f"{state.doing} is going on. Stop it first: Esc, then s."


def or_wrong(work: Callable[[], Found]) -> Found | str:
    """What the work gives, or in words what is wrong with what it was asked."""
    from store.errors import CaiError

    try:
        return work()
    except CaiError as error:
        return f"{error.title}. {error.hint}"


class Host(Protocol):
    """What a room has the app do at once."""

    def action_question(self) -> None: ...
    def ask(self, question: DockedQuestion, then: Callable[[str, str], None]) -> None: ...
    def copy_text(self, text: str, what: str) -> None: ...
    def done_elsewhere(self, command: str) -> bool: ...
    def open_in_pager(self, text: str) -> None: ...


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
        """Put the focus where a person wants it on opening the room, at once: what is asked next takes it over."""
        self.screen.set_focus(self)

    def find(self) -> None:
        """Open the search, in rooms that have one."""

    def left_at(self) -> dict[str, Any]:
        """Where a person is in this room, as plain values; given to `come_back` the next time."""
        return {}

    def come_back(self, left: Mapping[str, Any]) -> None:
        """Begin where the person left; called before the run is shown. What cannot be used is left out."""

    # -- what a room asks of the app ---------------------------------------------------------------------------------

    @property
    def host(self) -> Host:
        return cast(Host, self.app)

    @property
    def price_per_hour(self) -> float | None:
        """Of a GPU, as far as the person set one."""
        price: float | None = getattr(getattr(self.app, "config", None), "price_per_gpu_hour", None)
        return price

    @property
    def reads_as(self) -> str:
        """The name that labels carry which the person gives."""
        name: str = getattr(getattr(self.app, "config", None), "reads_as", "person")
        return name

    def read(
        self, what: str, read: Callable[[Library], Any], then: Callable[[Any], object], group: str | None = None
    ) -> None:
        """Post `ReadWanted`; without a `group` the newest read of this `what` wins."""
        self.post_message(ReadWanted(what, read, then, what if group is None else group))

    def look_up(
        self, what: str, query: Callable[[Reader], Any], then: Callable[[Any], object], group: str | None = None
    ) -> None:
        """Read with a reader of the open store."""
        self.read(what, lambda library: library.reading(query), then, group)

    def work_out(self, what: str, query: Callable[[Reader], Found], then: Callable[[Found | str], object]) -> None:
        """Ask a reader of its own what may take long; where something is wrong with that, `then` gets it in words."""

        def work(library: Library) -> Found:
            with library.own_reader() as reader:
                return query(reader)

        self.read(what, lambda library: or_wrong(lambda: work(library)), then)

    def visit(self, subject: str) -> None:
        """Show the subject that another room named; see `GoTo`."""
