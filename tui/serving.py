"""What the rooms ask for, done in threads and handed back to them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from tui.rooms import Room
from tui.working import Working

if TYPE_CHECKING:
    from tui.session import Session
    from tui.state import RunState
    from tui.widgets.dock import DockedQuestion


class Serving(Working):
    """The part of the app that answers its rooms; it is mixed into the app, which has what is named here."""

    if TYPE_CHECKING:
        session: Session
        state: RunState

        def ask_here(self, question: DockedQuestion) -> None: ...
        def begin(self, how: Callable[[], str]) -> None: ...
        def show_run(self, run_id: str) -> None: ...
        def open_room(self, name: str, subject: str = "") -> None: ...

    _answers: dict[str, Callable[[str, str], None]]

    def on_room_wanted(self, event: Room.Wanted) -> None:
        library = self.session.library
        if library is not None:
            self.background(event.what, lambda: event.read(library), event.then, group=event.group)

    def on_room_work_wanted(self, event: Room.WorkWanted) -> None:
        self.background(event.what, event.work, event.then, group=event.what)

    def on_room_write_wanted(self, event: Room.WriteWanted) -> None:
        self.background(event.what, lambda: self.session.write(event.write), event.then)

    def on_room_ask_wanted(self, event: Room.AskWanted) -> None:
        self._answers[event.question.question_id] = event.then
        self.ask_here(event.question)

    def on_room_run_wanted(self, event: Room.RunWanted) -> None:
        if self.state.active:  # one run at a time: it would be closed under the person's hands
            self.notify(f"Run {self.state.run_id} is going on. Stop it first (s).", markup=False)
            return
        match event.how:
            case "show":
                self.show_run(event.run_id)
            case "resume":
                self.begin(lambda: self.session.begin_again(event.run_id))
            case "start":
                self.begin(lambda: self.session.begin_new(**event.options))

    def on_room_go_to(self, event: Room.GoTo) -> None:
        self.open_room(event.room, event.subject)

    def answered(self, question_id: str, answer: str, text: str) -> bool:
        """Hand the answer to the room that asked; False where none of them did."""
        then: Callable[[str, str], None] | None = self._answers.pop(question_id, None)
        if then is None:
            return False
        then(answer, text)
        return True
