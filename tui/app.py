"""The control center: composes the screens and routes between engine, store and widgets, nothing else.

Neither the engine nor the store is imported here: the first frame is painted before either is touched.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.widgets import ContentSwitcher, Footer
from textual.worker import Worker, WorkerState

from tui.bridge import Bridge, EventsArrived
from tui.session import OpenEngine, Session
from tui.state import RunState
from tui.widgets.audit import AuditPanel
from tui.widgets.dock import Choice, DockedQuestion, QuestionDock, engine_question
from tui.widgets.events import EventsList
from tui.widgets.figures import LiveFigures
from tui.widgets.header import RunHeader
from tui.widgets.histogram import MarginHistogram
from tui.widgets.notice import Notice
from tui.widgets.rail import PhaseRail

if TYPE_CHECKING:
    from engine import RunOptions
    from engine.events import Event
    from tui.widgets.gate import GatePanel
    from tui.widgets.log import LogPane
    from tui.widgets.samples import SamplesPane

REPAINT_S = 0.2
SLOW_TICK_S = 1.0
ROOMS = ("run", "samples", "gate", "log")


class ControlCenter(App[str]):
    """Returns the state in which the run was left ("" where none was started)."""

    CSS_PATH = "app.tcss"
    TITLE = "cai"
    AUTO_FOCUS = None
    HORIZONTAL_BREAKPOINTS: ClassVar[list[tuple[int, str]]] = [(0, "-narrow"), (110, "-normal"), (170, "-wide")]
    VERTICAL_BREAKPOINTS: ClassVar[list[tuple[int, str]]] = [(0, "-short"), (30, "-tall")]
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("1", "room('run')", "Run", id="room.run", tooltip="Phases, acceptance, margins, guard, events"),
        Binding("2", "room('samples')", "Samples", id="room.samples", tooltip="Every sample and what made it"),
        Binding("3", "room('gate')", "Gate", id="room.gate", tooltip="The QC checks with their evidence"),
        Binding("4", "room('log')", "Log", id="room.log", tooltip="What libraries printed"),
        Binding("enter", "start", "Start", id="run.start", tooltip="Start a pilot with the default spec"),
        Binding("p", "pause", "Pause", id="run.pause", tooltip="Pause after the batch under way"),
        Binding("p", "resume", "Resume", id="run.resume", tooltip="Go on with the paused run"),
        Binding("s", "stop", "Stop", id="run.stop", tooltip="Finish the batch and stop; asks first"),
        Binding("c", "critic", "Critic", id="run.critic", tooltip="Show the margins of the next critic"),
        Binding("g", "question", "Answer", id="question.focus", tooltip="Go to the open question"),
        Binding("slash", "search", "Search", key_display="/", id="search", tooltip="Search in the samples or the log"),
        Binding("question_mark", "help", "Help", key_display="?", id="help", tooltip="The keys that work here"),
        Binding("q", "leave", "Quit", id="quit", tooltip="Leave; asks while a run is going on"),
        Binding("ctrl+c", "leave", "Quit", id="interrupt", show=False, priority=True, tooltip="Leave; asks first"),
    ]

    def __init__(
        self, store_path: Path, options: RunOptions | None, open_engine: OpenEngine, log_path: Path | None = None
    ) -> None:
        super().__init__()
        if os.environ.get("SSH_CONNECTION"):
            self.animation_level = "none"
        self.state = RunState()
        self.bridge = Bridge(self.post_message)
        self.session = Session(store_path, open_engine, self.bridge.emit)
        self._options = options
        self._log_path = log_path
        self._tail: Any = None
        self._after: dict[Worker[Any], Callable[[Any], None]] = {}
        self._painted: tuple[object, ...] = ()
        self._critic = 0
        self._can_start = False
        self._leaving = False
        self._thresholds: dict[str, float] = {}
        self._counted = -1

    def compose(self) -> ComposeResult:
        yield RunHeader()
        with ContentSwitcher(initial="run", id="rooms"), Container(id="run"):
            yield PhaseRail()
            yield LiveFigures()
            yield MarginHistogram()
            yield AuditPanel()
            yield EventsList()
        yield Notice()
        yield QuestionDock()
        yield Footer(compact=True)

    def on_mount(self) -> None:
        self.call_after_refresh(self.begin_after_first_paint)

    async def begin_after_first_paint(self) -> None:
        from tui.tail import Tail
        from tui.widgets.gate import GatePanel
        from tui.widgets.log import LogPane
        from tui.widgets.samples import SamplesPane

        where = str(self._log_path) if self._log_path else "no log file"
        rooms = (SamplesPane(), GatePanel(), LogPane(where))
        for room in rooms:
            room.display = False
        await self.query_one("#rooms").mount(*rooms)
        self._tail = Tail(self._log_path) if self._log_path else None
        self.set_interval(REPAINT_S, self.drain)
        self.set_interval(SLOW_TICK_S, self.refresh_room)
        self.paint()
        if self._options is not None:
            self.begin(lambda: self.session.begin(self._options))  # type: ignore[arg-type]
        else:
            self.state.state = "opening"
            self.background("opening the store", self.session.look, self.show_what_is_there)

    # -- work in threads, and its one failure handler ---------------------------------------------------------------

    def background(
        self, what: str, work: Callable[[], Any], then: Callable[[Any], None] | None = None, group: str = ""
    ) -> None:
        """Run blocking `work` in a thread, `then` with its result here; a newer work of the same group replaces it."""
        worker = self.run_worker(
            work, name=what, group=group or what, exclusive=bool(group), thread=True, exit_on_error=False
        )
        if then is not None:
            self._after[worker] = then

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        if event.state not in (WorkerState.SUCCESS, WorkerState.ERROR, WorkerState.CANCELLED):
            return
        then = self._after.pop(event.worker, None)
        if event.state is WorkerState.SUCCESS and then is not None:
            then(event.worker.result)
        elif event.state is WorkerState.ERROR and event.worker.error is not None:
            self.show_failure(event.worker.name, event.worker.error)

    def show_failure(self, what: str, error: BaseException) -> None:
        title = getattr(error, "title", None) or f"{what} failed: {type(error).__name__}: {error}"
        hint = getattr(error, "hint", None)
        if hint is None:
            hint = "What was committed to the store is safe. The log (4) may say more."
        if what in ("opening the run", "opening the store") and not self.state.active:
            self.state.state, self.state.reason = "failed", str(title)
        self.state.note("error", str(title))
        self.query_one(Notice).tell(str(title), str(hint))
        self.paint()

    # -- a run begins ------------------------------------------------------------------------------------------------

    def begin(self, how: Callable[[], str]) -> None:
        self._can_start = False
        self.state.state = "opening"
        self.query("#start").remove()
        self.query_one("#run").remove_class("-empty")
        self.background("opening the run", how, self.show_begun)
        self.paint()

    def show_begun(self, run_id: str) -> None:
        self.state.run_id = self.state.run_id or run_id
        self.load_history(run_id)

    def show_what_is_there(self, found: tuple[str | None, dict[str, Any] | None]) -> None:
        run_id, unfinished = found
        if run_id is None:
            from tui.widgets.start import StartPanel

            self._can_start = True
            self.state.state = "idle"
            self.query_one("#run").add_class("-empty").mount(StartPanel(str(self.session.store_path)), before=0)
            self.paint()
            self.refresh_bindings()
            return
        self.load_history(run_id)
        if unfinished is not None:
            figures = f"{unfinished['accepted']} of {unfinished['target']} accepted"
            text = f"Run {run_id} is unfinished: {figures}. Go on with it?"
            choices = (Choice("enter", "resume it", "resume"), Choice("escape", "only look", "look"))
            self.ask_here(DockedQuestion(f"resume:{run_id}", "Unfinished run", text, choices, on_escape="look"))

    def load_history(self, run_id: str) -> None:
        library = self.session.library
        if library is not None:
            self.background("reading the run", lambda: library.history(run_id), self.show_history, group="history")

    def show_history(self, history: Any) -> None:
        self.state.load(
            history.status,
            guard=history.guard,
            audits=history.audits,
            margins=history.margins,
            events=history.events,
        )
        self.query_one(AuditPanel).keep_checks(history.guard)
        self.query_one("#gate", expect_type=self._gate_type()).show(history.gates)
        self._painted = ()
        self.paint()
        self.refresh_room()

    @staticmethod
    def _gate_type() -> type[GatePanel]:
        from tui.widgets.gate import GatePanel

        return GatePanel

    # -- events of the engine ----------------------------------------------------------------------------------------

    def on_events_arrived(self, _: EventsArrived) -> None:
        self.drain()

    def drain(self) -> None:
        """Fold in what the engine told since the last time, then repaint what changed."""
        for event in self.bridge.drain():
            self.state.apply(event)
            self.route(event)
        self.paint()

    def route(self, event: Event) -> None:
        """What an event means beyond the figures."""
        payload = event.payload()
        match event.kind:
            case "QuestionAsked":
                self.query_one(QuestionDock).ask(
                    engine_question(payload["question_id"], payload["topic"], payload["question"])
                )
                self.bell()
            case "QuestionAnswered":
                self.query_one(QuestionDock).withdraw(payload["question_id"])
            case "GuardChecked" | "CriticAudited" | "GateDecided":
                self.load_history(event.run_id)
            case "RunFinished":
                self.query_one(QuestionDock).withdraw_all()
                self.load_history(event.run_id)
                if payload["state"] in ("failed", "gate_failed"):
                    self.show_end(payload["state"], payload["reason"])
                if self._leaving:
                    self.leave_now()
        self.refresh_bindings()

    def show_end(self, state: str, reason: str) -> None:
        if state == "gate_failed":
            hint = "Nothing is lost. 3 shows each check and the samples against it; cai recheck tries other thresholds."
            self.query_one(Notice).tell(f"A gate failed: {reason}", hint)
        else:
            hint = "What was committed is safe, and the run can be resumed with cai resume. 4 shows the log."
            self.query_one(Notice).tell(reason or "The run failed", hint)

    # -- painting ----------------------------------------------------------------------------------------------------

    def paint(self) -> None:
        """Show the state where it is visible and only if it changed; the clock ticks once a second."""
        room = self.room
        now = (self.state.revision, self.state.state, int(self.state.elapsed_s), room, self._critic, self.size)
        if now == self._painted or not self.is_running:
            return
        if now[1] != (self._painted[1] if self._painted else None):
            self.refresh_bindings()
        self._painted = now
        self.query_one(RunHeader).show(self.state)
        if room == "run":
            self.query_one(PhaseRail).show(self.state)
            self.query_one(LiveFigures).show(self.state)
            self.query_one(MarginHistogram).show(self.state, self.critic)
            self.query_one(AuditPanel).show(self.state)
            self.query_one(EventsList).show(self.state)

    def on_resize(self) -> None:
        self._painted = ()
        self.call_after_refresh(self.paint)

    @property
    def room(self) -> str:
        return str(self.query_one("#rooms", ContentSwitcher).current)

    @property
    def critic(self) -> tuple[str, str] | None:
        """The critic whose margins are shown: those that may filter come first, pairs before instructions."""
        keys = sorted(
            self.state.critics, key=lambda key: (self.state.threshold(*key) is None, key[1] != "sample", key[0])
        )
        return keys[self._critic % len(keys)] if keys else None

    def refresh_room(self) -> None:
        """Read again what the open room shows, as far as it can have changed."""
        if self.room == "samples":
            counted = self.state.phase("responses").done + self.state.phase("response_judgements").done
            if counted != self._counted:
                self._counted = counted
                self.samples.want()
        elif self.room == "log" and self._tail is not None:
            tail = self._tail
            self.background("reading the log", tail.new_lines, self.log_pane.add, group="log")

    @property
    def samples(self) -> SamplesPane:
        from tui.widgets.samples import SamplesPane

        return self.query_one(SamplesPane)

    @property
    def log_pane(self) -> LogPane:
        from tui.widgets.log import LogPane

        return self.query_one(LogPane)

    # -- what panes ask for ------------------------------------------------------------------------------------------

    def on_samples_pane_page_wanted(self, event: SamplesPane.PageWanted) -> None:
        from tui.library import PAGE

        library, run_id = self.session.library, self.state.run_id
        if library is None or not run_id:
            return
        critic = self.critic[0] if self.critic and self.critic[1] == "sample" else None
        self.background(
            "reading samples",
            lambda: library.samples(run_id, event.verdict, event.page * PAGE),
            lambda rows: self.samples.show_page(rows, critic, PAGE),
            group="samples",
        )

    def on_samples_pane_sample_wanted(self, event: SamplesPane.SampleWanted) -> None:
        from tui.widgets.detail import SampleDetail

        library, run_id = self.session.library, self.state.run_id
        if library is None or not run_id:
            return
        known = {audit.critic: audit.threshold for audit in self.state.audits.values() if audit.may_filter}
        thresholds = {critic: value for critic, value in known.items() if value is not None}
        self.background(
            "reading a sample",
            lambda: library.sample(run_id, event.sample_id),
            lambda sample: self.query_one(SampleDetail).show(sample, thresholds),
            group="sample",
        )

    def on_gate_panel_offenders_wanted(self, event: GatePanel.OffendersWanted) -> None:
        library, run_id = self.session.library, self.state.run_id
        if library is None:
            return
        panel = self.query_one("#gate", expect_type=self._gate_type())
        self.background(
            "reading a gate's evidence",
            lambda: library.offenders(run_id, event.subject_ids),
            lambda found: panel.show_offenders(event.check, found),
            group="offenders",
        )

    # -- questions ---------------------------------------------------------------------------------------------------

    def ask_here(self, question: DockedQuestion) -> None:
        """Ask something of the screen's own: in front of the engine's questions, and with the focus."""
        dock = self.query_one(QuestionDock)
        dock.reuse(question.question_id)
        dock.ask(question, first=True)
        dock.focus()

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
            self.leave_now()
        elif name not in ("resume", "stop", "quit"):
            question_id, answer = event.question.question_id, event.answer
            engine = self.session.engine
            if engine is not None:
                self.background("answering", lambda: engine.answer(question_id, answer, "answered on the screen"))
        if self.query_one(QuestionDock).current is None:
            self.focus_room()
        self.refresh_bindings()

    def ask_engine(self, what: str) -> None:
        """Pause, resume or stop, off the screen's thread; the engine's event says when it took effect."""
        engine = self.session.engine
        if engine is None:
            return
        self.state.ask_state({"pause": "pausing", "stop": "stopping"}.get(what, self.state.state))
        self.background(f"asking the engine to {what}", getattr(engine, what))
        self.paint()

    # -- actions -----------------------------------------------------------------------------------------------------

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        state = self.state.state
        match action:
            case "start":
                return self._can_start
            case "pause":
                return state in ("running", "loading")
            case "resume":
                return state in ("paused", "pausing")
            case "stop":
                return self.state.active and state != "stopping"
            case "search":
                return self.room in ("samples", "log")
            case "critic":
                return self.room == "run" and len(self.state.critics) > 1
            case "question":
                dock = self.query(QuestionDock)
                return bool(dock) and dock.first().current is not None and not dock.first().has_focus
        return True

    def action_room(self, room: str) -> None:
        if not self.query(f"#{room}"):
            return
        self.query_one("#rooms", ContentSwitcher).current = room
        if room == "samples":
            self._counted = -1
        self.focus_room()
        self.paint()
        self.refresh_room()
        self.refresh_bindings()

    def focus_room(self) -> None:
        match self.room:
            case "samples":
                self.samples.focus_table()
            case "gate":
                self.query_one("#gate", expect_type=self._gate_type()).focus_table()
            case "log":
                self.log_pane.focus_lines()
            case _:
                self.query_one(AuditPanel).focus()

    def action_start(self) -> None:
        self.begin(self.session.begin_new)

    def action_pause(self) -> None:
        self.ask_engine("pause")

    def action_resume(self) -> None:
        self.ask_engine("resume")

    def action_critic(self) -> None:
        self._critic += 1
        self.paint()

    def action_question(self) -> None:
        self.query_one(QuestionDock).focus()

    def action_search(self) -> None:
        (self.samples if self.room == "samples" else self.log_pane).open_search()

    def action_help(self) -> None:
        from tui.widgets.help import HelpScreen

        keys = [
            (self.get_key_display(active.binding), active.binding.description, active.tooltip or "")
            for active in self.screen.active_bindings.values()
            if active.enabled and active.binding.description
        ]
        self.push_screen(HelpScreen(keys))

    def action_stop(self) -> None:
        text = "Stop the run? The batch under way is finished and stored; the run can be resumed later."
        choices = (Choice("y", "finish the batch and stop", "stop"), Choice("n", "keep running", "keep"))
        self.ask_here(DockedQuestion("stop", "Stop", text, choices, on_escape="keep"))

    def action_leave(self) -> None:
        if not self.state.active:
            self.leave_now()
            return
        if self._leaving:
            text = "The run is finishing its batch. What is committed is safe; leaving now loses the batch under way."
            choices = (Choice("w", "wait for the batch", "keep"), Choice("n", "leave now", "now"))
        else:
            text = "A run is going on. It can be resumed: cai offers it next time. Stop it and leave?"
            choices = (Choice("y", "finish the batch, stop and leave", "stop"), Choice("n", "keep running", "keep"))
        self.ask_here(DockedQuestion("quit", "Leave", text, choices, on_escape="keep"))

    async def action_quit(self) -> None:
        self.action_leave()

    def leave_now(self) -> None:
        """Close engine and store off this thread, then leave."""
        self.background("closing the store", self.session.let_go, lambda _: self.exit(self.state.state))
