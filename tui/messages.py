"""What a room or a widget asks of the app, and what the engine tells it, as messages that need no screen."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from textual.message import Message

from tui.words.questions import DockedQuestion

if TYPE_CHECKING:
    from store.db import Store
    from tui.live.far import FarEngine
    from tui.reads.library import Library


class ReadWanted(Message):
    """Run `read(library)` in a thread, then `then(result)` on the screen; a newer read of a `group` replaces it.

    Nothing is run while no store is open.
    """

    def __init__(self, what: str, read: Callable[[Library], Any], then: Callable[[Any], object], group: str) -> None:
        super().__init__()
        self.what, self.read, self.then, self.group = what, read, then, group


class WorkWanted(Message):
    """Run `work()`, which needs no store, in a thread, then `then(result)` on the screen; the newest wins."""

    def __init__(self, what: str, work: Callable[[], Any], then: Callable[[Any], object]) -> None:
        super().__init__()
        self.what, self.work, self.then = what, work, then


class WriteWanted(Message):
    """Run `write(store)` in a thread on a store that may be written, then `then(result)` on the screen."""

    def __init__(self, what: str, write: Callable[[Store], Any], then: Callable[[Any], object]) -> None:
        super().__init__()
        self.what, self.write, self.then = what, write, then


class AskWanted(Message):
    """Ask the person in the dock; `then(answer, typed text)` is called once."""

    def __init__(self, question: DockedQuestion, then: Callable[[str, str], None]) -> None:
        super().__init__()
        self.question, self.then = question, then


class RunWanted(Message):
    """Show a run (`how` "show"), read again what the store has of it ("look"), go on with it ("resume"), start one with
    `options` ("start"), train ("train"), evaluate ("evaluate") or fit its probe anew ("refit").

    Training takes the options `kind`, sft or dpo, and `changed`, settings in place of the spec's; a refit a `reason`.
    """

    def __init__(self, how: str, run_id: str = "", options: dict[str, Any] | None = None) -> None:
        super().__init__()
        self.how, self.run_id, self.options = how, run_id, options or {}


class GoTo(Message):
    """Open a room, and there the subject named, e.g. ("samples", sample_id)."""

    def __init__(self, room: str, subject: str = "") -> None:
        super().__init__()
        self.room, self.subject = room, subject


class EventsArrived(Message):
    """The engine told something that a person should see at once: drain the bridge."""


class OwnerLeft(Message):
    """The process that was followed has let go of the store; `owner` is what followed it."""

    def __init__(self, owner: FarEngine) -> None:
        super().__init__()
        self.owner = owner
