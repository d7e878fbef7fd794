"""The screen of a run in another process: it follows, pauses, stops and answers through that one, and writes nothing.

When that process lets go of the store, nothing is opened by itself: a store that a screen reads could not be written by
whoever goes on with the run, such as a supervisor that starts it again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tui.app.background import Working
from tui.host.busy import there
from tui.host.left import left_run
from tui.live.state import RunState
from tui.messages import OwnerLeft
from tui.words.questions import Choice, DockedQuestion

if TYPE_CHECKING:
    from collections.abc import Callable

    from tui.live.far import FarEngine

LOOK_AGAIN_S = 1.0
_QUESTION = "owner"

Found = tuple[str | None, dict[str, Any] | None]


class Attaching(Working):
    """The part of the app that asks the engine, here or in the process that has the store, and attaches to that one."""

    def ask_engine(self, what: str) -> None:
        """Pause, resume or stop, off the screen's thread; the engine's event says when it took effect."""
        engine = self.session.conducted
        if engine is None:
            return
        self.state.ask_state({"pause": "pausing", "stop": "stopping"}.get(what, self.state.state))
        self.background(f"asking the engine to {what}", getattr(engine, what))
        self.paint()

    def show_attached(self, owner: FarEngine, run_id: str | None) -> None:
        """Show what the owner works on, or else what it has stored, and follow it from here."""
        self.dock.withdraw_all()
        self.state = owner.state()
        self._opened_anew = not self.state.active
        for question in self.state.questions.values():
            self.dock.reuse(f"engine:{question.question_id}")
            self.put_question(question.run_id, question.payload())
        owner.start()
        self.consult_again()
        self.notify(self._greeting(owner))
        if run_id is None:
            self.state.state = "idle"
            self.paint()
        else:
            self.load_history(run_id)

    def _greeting(self, owner: FarEngine) -> str:
        told = f"Attached to process {owner.process}"
        left = left_run(self.session.store_path)
        if left is not None and left.pid == owner.process:
            told += f", which goes on since its connection dropped at {left.since.astimezone():%H:%M}"
        return f"{told}: what you do here it does, q leaves it alone."

    def done_elsewhere(self, command: str) -> bool:
        """Say, where another process has the store, that `command` is for that one; whether it is so."""
        owner = self.session.owner
        if owner is None:
            return False
        where = there(command) or "It can be done there, or when that process has ended."
        self.notify(f"Process {owner.process} writes to this store. {where}", severity="warning")
        return True

    def answer_taken(self, taken: object) -> None:
        """Say that an answer came too late."""
        if taken is False:
            self.notify("This question is answered already: your answer was not taken.", severity="warning")

    # -- the owner lets go of the store ------------------------------------------------------------------------------

    def owner_gone(self, owner: FarEngine) -> None:
        """Called from another thread."""
        self.post_message(OwnerLeft(owner))

    def on_owner_left(self, event: OwnerLeft) -> None:
        if event.owner is self.session.owner:
            self._look_again(lambda found: self._attached_or_not(found, event.owner), self.session.let_go)

    def _look_again(self, then: Callable[[Found | None], object], first: Callable[[], None] = lambda: None) -> None:
        def look() -> Found | None:
            first()
            return self.session.attach_again()

        self.background("attaching to the store's owner", look, then, group="attaching")

    def _attached_or_not(self, found: Found | None, owner: FarEngine) -> None:
        """Follow the next owner, or the same, or ask what to do without one.

        The same is followed again where this screen was too slow, or where it has begun to work on a run since.
        """
        if self._attached(found):
            return
        if not owner.run_id:  # it wrote something, and has done so
            self._open_here()
        else:
            self.state.owner = 0
            self.state.worked.halt()
            self.state.ask_state("interrupted")
            self.dock.withdraw_all()
            self.dock.reuse(_QUESTION)
            self.ask(_without_owner(owner.process), self._answered_without_owner)
            self.paint()
            self.set_timer(LOOK_AGAIN_S, self._wait_for_owner)

    def _attached(self, found: Found | None) -> bool:
        owner = self.session.owner
        if found is None or owner is None:
            return False
        self.show_attached(owner, found[0])
        return True

    def _wait_for_owner(self) -> None:
        """Look for the next owner each second, until there is one or the store is opened here."""
        if self.session.library is not None or self.session.engine is not None:
            self.dock.withdraw(_QUESTION)
        elif self.standing:
            self._look_again(lambda found: self._attached(found) or self.set_timer(LOOK_AGAIN_S, self._wait_for_owner))

    def _answered_without_owner(self, answer: str, _: str) -> None:
        if answer == "open":
            self._open_here()

    def _open_here(self) -> None:
        self.state = RunState()
        self.state.state = "opening"
        self.background("opening the store", self.session.look, self.show_what_is_there)
        self.paint()


def _without_owner(process: int) -> DockedQuestion:
    text = (
        f"Process {process} has let go of the store. What it committed is safe. Until the store is opened here, this "
        "screen shows what it knew last, and attaches to the next process that opens it."
    )
    choices = (Choice("enter", "open the store here", "open"), Choice("escape", "only watch", "watch"))
    return DockedQuestion(_QUESTION, "Nobody has the store", text, choices, on_escape="watch")
