"""What the rooms ask for, done in threads and handed back to them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from textual.events import Event, Key
from textual.message_pump import MessagePump
from textual.widgets import Input

from engine.run.orders import Evaluate, Refit, Train
from store.errors import OwnerGone
from store.names import EVALUATION, READING, REFIT
from tui.app import asking
from tui.app.background import Working
from tui.host.outside import Outside
from tui.live.state import beside
from tui.messages import AskWanted, GoTo, ReadWanted, RunWanted, WorkWanted, WriteWanted
from tui.reads.library import ChangedHands
from tui.reads.run import review_of
from tui.words.wording import outcome_words

if TYPE_CHECKING:
    from tui.reads.library import Library
    from tui.words.questions import DockedQuestion

AWAY_S = 60.0  # without a key, after which a person is taken to be away
CLOSES_S = 0.5  # after which keys wait no longer for a typed line to close
GOES_ON_S = 2.0  # behind a gate or a training, after which the run goes on without a person
IDLE_S = 3.0  # without a key, after which a question may take the keys
_LATE = object()  # what a read gives that came after the store was let go
_GONE = object()  # the same where the process has let go of it that it was read through
_COMMANDS = {  # that do what is asked for, where that is called otherwise
    "keeping a label": "label",
    "taking a label back": "label",
    "refit": "label",
    "registering": "preregister",
    "start": "run",
}


class Serving(Working):
    """The part of the app that answers its rooms."""

    _key_at = float("-inf")

    def on_descendant_blur(self) -> None:
        """Something let the keys go: those that wait come now."""
        behind, self._behind = self._behind, None
        for key in behind or ():
            self.post_message(key)

    _behind: list[Key] | None = None  # pressed behind the Enter of a line that is still open
    began_at = float("-inf")  # when the person opened the screen
    asked_at = float("-inf")  # when a question took the keys

    def take_keys(self) -> None:
        """Give the question the keys, those too that are typed behind the one that asked for it."""
        self.screen_stack[0].set_focus(self.dock)  # at once: what is typed next is meant for it
        self.asked_at = time.monotonic()

    async def on_event(self, event: Event) -> None:
        """As Textual has it, and when a key was pressed last.

        A key goes first to what had the focus when it was pressed. One that comes back from there although a question
        has taken the keys since was pressed behind the key that asked: it is given to the question. What is pressed
        behind the Enter that ends a typed line waits until everything above that line has seen what was typed.
        """
        if not isinstance(event, Key):
            await super().on_event(event)
            return
        line, came_back = self.focused, event.is_forwarded
        if not came_back:
            self._key_at = time.monotonic()
            if self._behind is not None:
                self._behind.append(event)
                return
            if event.key == "enter" and isinstance(line, Input):
                self._behind = []
                self.set_timer(CLOSES_S, self.on_descendant_blur)  # should the line go before that
        elif event.time < self.asked_at and self.dock.has_focus_within:
            if self.focused is not None:
                self.focused._forward_event(Key(event.key, event.character))
            return
        await super().on_event(event)
        if came_back and event.key == "enter" and self._behind is not None:
            self._climb(line)

    def _climb(self, node: MessagePump | None) -> None:
        """Come back behind all that was posted below: each takes its messages in order."""
        if node is None or node is self:
            self.on_descendant_blur()
        else:
            node.call_later(self._climb, node._parent)

    _offers = False  # whether the run has just ended, so that what may be read of it is offered

    def offer_readings(self) -> None:
        """Offer the candidates that are to be read blind, once behind the end of a run that has a gate."""
        found, offers = self.state.readings, self._offers
        self._offers = False
        if not offers or not found.left or self.state.aside:
            return
        question = asking.read(self.state.run_id, found)
        self._answers[question.question_id] = lambda answer, _: (
            self.open_room("samples", READING) if answer == "read" else None
        )
        self.dock.ask(question)  # without the keys: somebody may be in the middle of something

    _answers: dict[str, Callable[[str, str], None]]
    _held: dict[object, Callable[[], None]]  # reads that wait for a store, by group: the newest of each

    def consult(
        self, what: str, read: Callable[[Library], Any], then: Callable[[Any], object], group: str = ""
    ) -> None:
        """Run `read` in a thread on the library that is open, or on the next one where the store changes hands."""
        library = self.session.library
        again: Callable[[], None] = lambda: self.consult(what, read, then, group)  # noqa: E731
        if library is None:
            self._held[group or object()] = again
            return

        def found_or_late() -> Any:
            try:
                return read(library)
            except ChangedHands:
                return _LATE
            except OwnerGone:
                return _GONE

        def arrived(found: Any) -> None:
            if found is _GONE:  # it is asked again when there is another owner, or the store is opened here
                self._held[group or object()] = again
            elif found is _LATE:
                again()
            else:
                then(found)

        self.background(what, found_or_late, arrived, group=group)

    def consult_again(self) -> None:
        """A library is open: read what could not be read before."""
        held, self._held = self._held, {}
        for again in held.values():
            again()

    def on_read_wanted(self, event: ReadWanted) -> None:
        self.consult(event.what, event.read, event.then, event.group)

    def on_work_wanted(self, event: WorkWanted) -> None:
        self.background(event.what, event.work, event.then, group=event.what)

    def put_question(self, run_id: str, payload: Mapping[str, Any]) -> None:
        """Put a question of the engine's into the dock, with what a reviewer said of it."""
        question_id = str(payload["question_id"])

        def put(review: Mapping[str, Any] | None) -> None:
            if question_id in self.state.questions:  # it was not answered elsewhere meanwhile
                self.dock.ask(asking.decide(question_id, payload["topic"], payload["question"], review))
                # In the middle of typing, or where keys mean something else, the next one would answer by accident.
                if time.monotonic() - self._key_at > IDLE_S and self.room.id == "run":
                    self.dock.focus()
                self.bell()
                self.tell_if_away(outcome_words("waiting", self.state.aside), ring=False)
                self.paint()

        read = partial(review_of, run_id=run_id, question_id=question_id)
        self.consult("reading a question", lambda library: library.reading(read), put, group=f"question {question_id}")

    def tell_if_away(self, outcome: str, *, ring: bool = True, outside: bool = True) -> None:
        """Ring once, and tell the person where they want to be told, if no key was pressed for a while."""
        if time.monotonic() - max(self._key_at, self.began_at) < AWAY_S:
            return
        if ring:
            self.bell()
        way, run_id = Outside.of(self.config), self.state.run_id
        if outside and way.wanted:
            self.background("telling you outside the terminal", lambda: way.tell(run_id, outcome))

    def tell_of(self, kind: str, payload: Mapping[str, Any]) -> None:
        """Tell how the run ended, and of a gate or a training that ended and behind which it goes on."""
        self._offers = self._offers or (kind == "RunFinished" and payload["state"] == "done")
        if kind == "RunFinished" and payload["state"] != "stopped":
            # The process that works on a run tells its end; without a screen that is all that it tells outside.
            self.tell_if_away(outcome_words(payload["state"], self.state.aside), outside=not self.state.owner)
        elif kind in ("GateDecided", "TrainingFinished"):
            told = (
                f"gate {payload['gate']} {'passed' if payload['passed'] else 'failed'}" if kind == "GateDecided" else ""
            )
            told = told or f"{payload['method']} training {payload['state']}"
            self.set_timer(GOES_ON_S, lambda: self._tell_if_it_goes_on(told))  # what ends or asks tells of itself

    def _tell_if_it_goes_on(self, outcome: str) -> None:
        if self.standing and self.state.active and self.dock.current is None:
            self.tell_if_away(outcome)

    def on_write_wanted(self, event: WriteWanted) -> None:
        if not self.done_elsewhere(_COMMANDS.get(event.what, "")):
            self.background(event.what, lambda: self.session.write(event.write), event.then)

    def on_ask_wanted(self, event: AskWanted) -> None:
        self.ask(event.question, event.then)

    def ask(self, question: DockedQuestion, then: Callable[[str, str], None]) -> None:
        """Ask the person in the dock; `then(answer, typed text)` is called once."""
        self._answers[question.question_id] = then
        self.ask_here(question)

    def on_run_wanted(self, event: RunWanted) -> None:
        if event.how == "look":
            self.load_history(event.run_id)
            return
        if event.how != "show" and self.done_elsewhere(_COMMANDS.get(event.how, event.how)):
            return
        if self.state.active:  # one run at a time: it would be closed under the person's hands
            self.notify(f"Run {self.state.run_id} is going on. Stop it first (s).", markup=False)
            return
        session, store, run_id = self.session, self.session.store_path, event.run_id
        match event.how:
            case "show":
                self.show_run(run_id)
            case "resume":
                self.begin(lambda: session.begin_again(run_id))
            case "start":
                self.begin(lambda: session.begin_new(**event.options))
            case "train":
                kind, changed = str(event.options["kind"]), dict(event.options["changed"])
                about = beside(run_id, (kind,), changed)
                self.begin(lambda: session.begin(Train(store, run_id, (kind,), changed)), about)
            case "evaluate":
                about = beside(run_id, (EVALUATION,))
                self.begin(lambda: session.begin(Evaluate(store, run_id)), about)
            case "refit":
                reason = str(event.options["reason"])
                self.begin(lambda: session.begin(Refit(store, run_id, reason)), beside(run_id, (REFIT,)))

    def on_go_to(self, event: GoTo) -> None:
        self.open_room(event.room, event.subject)

    def answered(self, question_id: str, answer: str, text: str) -> None:
        """Hand the answer to the room that asked, if one did."""
        then: Callable[[str, str], None] | None = self._answers.pop(question_id, None)
        if then is not None:
            then(answer, text)
