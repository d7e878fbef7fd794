"""The control center: composes the screens and routes between engine, store and widgets, nothing else.

Neither the engine nor the store is imported here: the first frame is painted before either is touched.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from textual.app import ComposeResult, SystemCommand
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.widgets import ContentSwitcher

from engine.run.orders import Evaluate, Train
from tui.app import asking
from tui.app.asking import Telling
from tui.app.attaching import Attaching
from tui.app.keys import KEYS, PERSONAL_KEYS, applies, commands_of, shown_key
from tui.app.personal import Personal
from tui.app.returning import Returning
from tui.app.serving import Serving
from tui.host import priority
from tui.live.bridge import Bridge
from tui.live.conductor import Session
from tui.live.state import RunState, beside
from tui.messages import EventsArrived
from tui.rooms import Room
from tui.rooms.run import RunRoom
from tui.widgets.frame.bar import KeyBar, RoomBar
from tui.widgets.frame.dock import QuestionDock
from tui.widgets.frame.header import RunHeader
from tui.widgets.frame.help import HelpScreen
from tui.widgets.frame.notice import Notice
from tui.widgets.frame.told import MessageLines
from tui.widgets.run.start import StartPanel
from tui.words.places import PLACES
from tui.words.questions import DockedQuestion

if TYPE_CHECKING:
    from engine.core.events import Event
    from engine.run.orders import Order
    from engine.run.same import OpenEngine
    from tui.reads.library import RunHistory

REPAINT_S = 0.2
SLOW_TICK_S = 1.0


class ControlCenter(Personal, Serving, Attaching, Telling, Returning):
    """Returns the state in which the run was left ("" where none was started)."""

    CSS_PATH = "app.tcss"
    TITLE = "cai"
    AUTO_FOCUS = None
    # Textual writes `ClassVar[...] | None`, which a checker takes for an attribute of instances.
    HORIZONTAL_BREAKPOINTS: ClassVar = [(0, "-narrow"), (110, "-normal"), (170, "-wide")]  # type: ignore[misc]
    VERTICAL_BREAKPOINTS: ClassVar = [(0, "-short"), (30, "-tall")]  # type: ignore[misc]
    BINDINGS: ClassVar[list[BindingType]] = [*KEYS, *PERSONAL_KEYS]

    def __init__(
        self, store_path: Path, order: Order | None, open_engine: OpenEngine, log_path: Path | None = None
    ) -> None:
        super().__init__()
        self._after = {}
        self._answers = {}
        self._held = {}
        self.state = RunState()
        self.bridge = Bridge(lambda _: self.post_message(EventsArrived()))
        self.session = Session(store_path, open_engine, self.bridge.emit, self.owner_gone)
        self._order = order
        self._log_path = log_path
        self._run_shown = ""  # the run whose history is asked for; what comes of another one is late
        self._opened_anew = False
        self._painted: tuple[object, ...] = ()
        self._applies: tuple[object, ...] = ()
        self._can_start = False
        self._leaving = False
        self.abandoned = False

    def compose(self) -> ComposeResult:
        # Kept by name: looking a widget up walks the whole tree, and keys ask for them all the time.
        self.header, self.notice, self.dock, self.bar = RunHeader(), Notice(), QuestionDock(), RoomBar()
        self.told = MessageLines()
        self.rooms: dict[str, Room] = {"run": RunRoom()}
        yield self.header
        self.switcher = ContentSwitcher(*self.rooms.values(), initial="run", id="rooms")
        yield self.switcher
        yield self.notice
        yield self.dock
        yield self.told
        yield self.bar
        yield KeyBar()

    def on_mount(self) -> None:
        super().on_mount()
        self.began_at = time.monotonic()
        self.call_after_refresh(self.begin_after_first_paint)

    async def begin_after_first_paint(self) -> None:
        for place in PLACES[1:]:
            if self.session.left:
                return
            room = furnish(place.where, self._log_path)
            room.display = False
            await self.switcher.mount(room)
            self.rooms[place.name] = room
        self.room.home()
        self.set_interval(REPAINT_S, self.drain)
        self.set_interval(SLOW_TICK_S, self.refresh_room)
        self.paint()
        if (order := self._order) is not None:
            about = beside("", order.aside, order.overrides) if isinstance(order, Train | Evaluate) else RunState()
            about.suites = order.suites if isinstance(order, Evaluate) else ()
            self.begin(lambda: self.session.begin(order), about)
            if about.aside:
                self.open_room("training" if about.trains else "evaluation")
        else:
            self.state.state = "opening"
            self.background("opening the store", self.session.look, self.show_what_is_there)

    # -- a run begins ------------------------------------------------------------------------------------------------

    def begin(self, how: Callable[[], str], about: RunState | None = None) -> None:
        self._can_start = False
        self._run_shown, self._opened_anew = "", False
        self.state = about or RunState()
        self.state.state = "opening"
        self.notice.give_way()
        priority.prefer_the_screen()
        self.desk.query("#start").remove()
        self.rooms["run"].remove_class("-empty")
        self.background("opening the run", how, self.show_begun)
        self.paint()

    def show_begun(self, run_id: str) -> None:
        self.state.run_id = self.state.run_id or run_id
        self.load_history(run_id)
        self.consult_again()

    def show_what_is_there(self, found: tuple[str | None, dict[str, Any] | None]) -> None:
        run_id, unfinished = found
        if (owner := self.session.owner) is not None:
            self.show_attached(owner, run_id)
            return
        self.consult_again()
        if run_id is None:
            self._can_start = True
            self.state.state = "idle"
            self.rooms["run"].add_class("-empty").mount(StartPanel(str(self.session.store_path)), before=0)
            self.paint()
            self.refresh_bindings()
            return
        self._opened_anew = True
        self.come_back(run_id)
        self.load_history(run_id)
        if unfinished is not None:
            self.ask_here(asking.resume(run_id, unfinished["accepted"], unfinished["target"]))

    def show_run(self, run_id: str) -> None:
        """Show a run of the store anew."""
        (state := RunState()).owner = self.state.owner
        self.state = state
        self.notice.give_way()
        self._opened_anew = True
        self.load_history(run_id)

    def load_history(self, run_id: str) -> None:
        self._run_shown = run_id
        self.consult("reading the run", lambda library: library.history(run_id), self.show_history, group="history")

    def show_history(self, history: RunHistory) -> None:
        if history.status["run"] != self._run_shown:
            return
        self.state.load(
            history.status, guard=history.guard, audits=history.audits, margins=history.margins,
            events=history.events, progress=history.progress,
        )  # fmt: skip
        if self._opened_anew and self.state.state == "gate_failed":
            self.show_end("gate_failed", self.state.reason)
        self._opened_anew = False
        for room in self.rooms.values():
            room.know(history)
        self._painted = ()
        self.paint()
        self.refresh_room()
        if not self.state.active:
            for room in self.rooms.values():
                room.prepare(self.state)
            self.offer_readings()

    # -- events of the engine ----------------------------------------------------------------------------------------

    def on_events_arrived(self, _: EventsArrived) -> None:
        self.drain()

    def drain(self) -> None:
        """Fold in what the engine told since the last time, then repaint what changed."""
        if not self.standing:
            return
        for event in self.bridge.drain():
            self.state.apply(event)
            self.route(event)
        self.paint()

    def route(self, event: Event) -> None:
        """What an event means beyond the figures."""
        payload = event.payload()
        self.tell_of(event.kind, payload)
        if event.kind in ("ModelLoaded", "PhaseStarted"):
            priority.settle()
        match event.kind:
            case "QuestionAsked":
                self.put_question(event.run_id, payload)
            case "QuestionAnswered":
                self.dock.withdraw(f"engine:{payload['question_id']}")
            case "GuardChecked" | "CriticAudited" | "GateDecided":
                self.load_history(event.run_id)
            case "RunFinished":
                self.dock.withdraw_all()
                self.load_history(event.run_id)
                if self.state.state in ("failed", "gate_failed", "locked", "refused"):
                    self.show_end(self.state.state, payload["reason"])
                if self._leaving:
                    self.leave_now()

    # -- painting ----------------------------------------------------------------------------------------------------

    def paint(self) -> None:
        """Show the state where it is visible and only if it changed; the clock ticks once a second."""
        if not self.standing:
            return
        room = self.room
        now = (self.state.revision, self.state.state, int(self.state.elapsed_s), room, self.size, self.dock.current)
        if now == self._painted:
            return
        applies = (self.state.state, room, len(self.state.critics) > 1, self.dock.current)
        if applies != self._applies:  # the footer is composed anew each time: far too slow for every event
            self._applies = applies
            self.refresh_bindings()
        self._painted = now
        self.header.show(self.state)
        self.bar.show(room.id or "", asking=self.dock.current is not None)
        room.show(self.state)

    def on_resize(self) -> None:
        self._painted = ()
        self.call_after_refresh(self.paint)

    @property
    def desk(self) -> Screen[object]:
        """The screen under any help or palette: it is kept up to date while they are open."""
        return self.screen_stack[0]

    @property
    def standing(self) -> bool:
        """Whether the widgets are there; timers still fire for a moment while the app is taken down."""
        return bool(self.screen_stack) and hasattr(self, "dock") and self.dock.is_attached

    @property
    def room(self) -> Room:
        return self.rooms[str(self.switcher.current)]

    def refresh_room(self) -> None:
        """Let the open room read again what can have changed."""
        if self.standing:
            self.room.look()

    # -- questions ---------------------------------------------------------------------------------------------------

    def ask_here(self, question: DockedQuestion) -> None:
        """Ask something of the screen's own: in front of the engine's questions, and with the focus."""
        self.dock.reuse(question.question_id)
        self.dock.ask(question, first=True)
        self.take_keys()

    def on_question_dock_answered(self, event: QuestionDock.Answered) -> None:
        name, _, rest = event.question.question_id.partition(":")
        if name == "resume" and event.answer == "resume":
            self.begin(lambda: self.session.begin_again(rest))
        elif name == "stop" and event.answer == "stop":
            self.ask_engine("stop")
        elif name == "quit" and event.answer == "stop":
            self._leaving = True
            self.ask_engine("stop")
        elif name == "quit" and event.answer == "now":
            self.abandon()
        elif name == "engine" and event.answer == "defer":
            self.ask_engine("stop")
        elif name == "engine" and (engine := self.session.conducted) is not None:
            answer, reason = event.answer, event.text or "answered on the screen"
            if answer == "modify":
                answer, reason = f"modify {event.text}", "changed on the screen"
            self.background("answering", lambda: engine.answer(rest, answer, reason), self.answer_taken)
        else:
            self.answered(event.question.question_id, event.answer, event.text)
        if self.dock.current is None:
            self.room.home()
        self.paint()

    def on_question_dock_more_wanted(self, event: QuestionDock.MoreWanted) -> None:
        self.open_room(event.room)

    # -- actions -----------------------------------------------------------------------------------------------------

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if not self.standing:
            return True
        if action == "close_notice":
            return self.notice.display and len(self.screen_stack) == 1
        open_question = self.dock.current is not None and not self.dock.has_focus_within
        searches = self.room.SEARCHES
        return applies(action, self.state, searches=searches, can_start=self._can_start, open_question=open_question)

    def open_room(self, name: str, subject: str = "") -> None:
        if name not in self.rooms:
            return  # it is still being furnished
        self.switcher.current = name
        room = self.room
        self.paint()  # first, so that the room knows what there is when it chooses where to begin
        room.home()
        if subject:
            room.visit(subject)
        room.look()

    def action_room(self, room: str) -> None:
        self.open_room(room)

    def action_start(self) -> None:
        self.begin(self.session.begin_new)

    def action_pause(self) -> None:
        self.ask_engine("pause")

    def action_resume(self) -> None:
        self.ask_engine("resume")

    def action_question(self) -> None:
        self.take_keys()

    def action_search(self) -> None:
        self.room.find()

    def action_help(self) -> None:
        found = commands_of(self.screen.active_bindings.values())
        self.push_screen(HelpScreen([(one.purpose, one.keys, one.name, one.about) for one in found]))

    def get_key_display(self, binding: Binding) -> str:
        return shown_key(binding)

    def action_stop(self) -> None:
        self.ask_here(asking.stop(self.state.aside))

    def action_leave(self) -> None:
        if not self.state.active or self.state.owner:
            self.leave_now()
            return
        self._leaving = self._leaving or self.state.state == "stopping"  # it ends by itself, and then leaves
        self.ask_here(asking.leave(self.state.aside, already=self._leaving))

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """Every room, every key that does something here now, and what Textual has beyond that; each once."""
        told = {"Keys"}  # Textual's own list of keys, which is Help
        for place in PLACES:
            told.add(place.title)
            yield SystemCommand(f"{place.title} ({place.key})", place.about, partial(self.open_room, place.name))
        for one in commands_of(screen.active_bindings.values()):
            if one.name not in told:
                told.add(one.name)
                run = partial(self.call_later, self.run_action, one.action, one.node)
                yield SystemCommand(f"{one.name} ({one.keys})", one.about, run)
        yield from (command for command in super().get_system_commands(screen) if command.title not in told)

    async def action_quit(self) -> None:
        self.action_leave()

    def abandon(self) -> None:
        """Leave without waiting for the batch under way; what is committed stays, as after a kill."""
        self.abandoned = True
        self.exit(self.state.state)

    def leave_now(self) -> None:
        """Close engine and store off this thread, then leave."""
        self.background("closing the store", self.session.leave, lambda _: self.exit(self.state.state))


def furnish(where: tuple[str, str], log_path: Path | None) -> Room:
    """A room, its module imported now."""
    module, name = where
    kind: Callable[..., Room] = getattr(import_module(module), name)
    return kind(log_path) if name == "LogRoom" else kind()
