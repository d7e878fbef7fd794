"""The run: what needs the person, the weakest figure, acceptance and cost, samples drawn at random, phases, events."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import partial
from secrets import token_hex
from typing import TYPE_CHECKING, Any, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from store.names import COMMON_PHASES, PHASES, PREFERENCE_PHASES
from tui.host.machine import Load, Machine
from tui.live.state import RunState
from tui.messages import GoTo, WorkWanted
from tui.reads.drawn import Drawn, Draws
from tui.reads.run import RunFacts, run_facts
from tui.reads.start import forecast_start
from tui.rooms import Room
from tui.widgets.run.accepted import AcceptedPanel
from tui.widgets.run.events import EventsList
from tui.widgets.run.figures import LiveFigures
from tui.widgets.run.glance import GlancePanel
from tui.widgets.run.phase import JUDGED_THERE, PhasePanel
from tui.widgets.run.rail import PhaseRail
from tui.widgets.run.start import StartPanel

if TYPE_CHECKING:
    from tui.config.settings import Config
    from tui.reads.library import RunHistory

MACHINE_EVERY_S = 2.0
FACTS_EVERY_S = 3.0  # while the model works
DRAWN_EVERY_S = 6.0
TINY = 15  # lines; below that there is room for the glance, the phases and the figures alone
_COUNTED = ("instructions", "responses", *PREFERENCE_PHASES)
_INSTEAD = ("-phase", "-events")  # what stands in the place of the samples where there is no room for both


class RunRoom(Room):
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space", "hold", "Hold", id="run.hold", tooltip="Hold the samples, or let them change"),
        Binding("G", "guard", "Guard", id="run.guard", tooltip="Open or close guard and critics with every check"),
        Binding("c", "critic", "Critic", id="run.critic", tooltip="Show the margins of the next critic"),
        Binding("e", "events", "Events", id="run.events", tooltip="Show the last events, or the samples again"),
        Binding("j", "phase(1)", "Next phase", id="run.phase_next", show=False,
                tooltip="The figures of the next phase"),
        Binding("k", "phase(-1)", "Previous phase", id="run.phase_previous", show=False,
                tooltip="The figures of the phase before"),
        Binding("escape", "follow", "Follow", id="run.follow", show=False,
                tooltip="Close what was opened; the figures of the phase at work"),
    ]  # fmt: skip

    def __init__(self) -> None:
        super().__init__(id="run")
        # Kept by name: rooms are shown and told things also while they are taken down.
        self._glance, self._rail, self._figures = GlancePanel(), PhaseRail(), LiveFigures()
        self._accepted, self._panel, self._events = AcceptedPanel(), PhasePanel(), EventsList()
        self._critic = 0
        self._state = RunState()
        self._phase: str | None = None  # None follows the run
        self._facts = RunFacts()
        self._counted: tuple[object, ...] = ()
        self._counted_at = 0.0
        self._draws = Draws("", "")
        self._drawn = Drawn()
        self._drawn_at = float("-inf")
        self._machine = Machine()
        self._load: Load | None = None
        self._measured_at = 0.0

    def compose(self) -> ComposeResult:
        yield from (self._glance, self._rail, self._figures, self._accepted, self._panel, self._events)

    def on_resize(self) -> None:
        self.call_after_refresh(lambda: self.show(self._state))
        self.refresh_bindings()

    def know(self, history: RunHistory) -> None:
        """What was decided is told anew: figures and samples are read again."""
        self._glance.keep_checks(history.guard, history.gates)
        self._counted = ()
        if self._drawn.run_id == history.status["run"]:
            draws, before = self._draws, self._drawn
            self.look_up("drawing samples", lambda reader: draws.again(reader, before), self._drew)

    def show(self, state: RunState) -> None:
        self._state = state
        if not self._rail.is_attached:
            return  # a read came back while the screen was being taken down
        self.set_class(len(state.phases) > len(COMMON_PHASES), "-pairs")
        self.set_class(len(state.phases) > len(PHASES), "-trained")
        self.set_class(0 < self.size.height < TINY, "-tiny")
        price = self.price_per_hour
        facts = self._facts if self._facts.run_id == state.run_id else RunFacts()
        drawn = self._drawn if self._drawn.run_id == state.run_id else Drawn()
        self._glance.show(state, facts, price)
        self._rail.show(state, self.phase)
        self._figures.show(state, facts, self._load, price)
        self._accepted.show(state, drawn)
        self._panel.show(state, self.phase, self.critic, facts, following=self._phase is None)
        self._events.show(state)

    def left_at(self) -> dict[str, Any]:
        return {"phase": self._phase}

    def come_back(self, left: Mapping[str, Any]) -> None:
        phase = left.get("phase")
        self._phase = phase if isinstance(phase, str) else None

    def look(self) -> None:
        run_id, now = self._state.run_id, time.monotonic()
        counted = (run_id, *(phase.done for name, phase in self._state.phases.items() if name in _COUNTED))
        if run_id and counted != self._counted and (not self._state.active or now - self._counted_at > FACTS_EVERY_S):
            self._counted, self._counted_at = counted, now
            self.look_up("reading a run's figures", lambda reader: run_facts(reader, run_id), self._learn)
        if run_id and self._draws.run_id != run_id:
            self._draws, self._drawn_at = Draws(run_id, token_hex(4)), float("-inf")
        held = self._accepted.held and self._drawn.run_id == run_id
        if run_id and not held and now - self._drawn_at > DRAWN_EVERY_S:
            self._drawn_at = now
            self.look_up("drawing samples", self._draws.next, self._drew)
        if self.has_class("-empty"):
            self._foretell()
        if now - self._measured_at > MACHINE_EVERY_S:
            self._measured_at = now
            measure = partial(self._machine.load, gpus=not self._state.gauges.gpus)  # which events tell
            self.post_message(WorkWanted("measuring the machine", measure, self._weigh))

    def _drew(self, found: Drawn) -> None:
        self._drawn = found
        self.show(self._state)
        self.refresh_bindings()

    def _foretell(self) -> None:
        """What a start would take, asked for once."""
        config: Config | None = getattr(self.app, "config", None)
        for panel in self.query(StartPanel):
            if config is not None and not panel.asked:
                panel.asked = True
                self.post_message(WorkWanted("forecasting a start", partial(forecast_start, config), panel.tell))

    def _learn(self, facts: RunFacts) -> None:
        self._facts = facts
        self.show(self._state)

    def _weigh(self, load: Load) -> None:
        self._load = load
        self.show(self._state)

    @property
    def phase(self) -> str:
        """The phase whose figures are shown: the chosen one, else the one at work, else the last."""
        chosen = self._phase if self._phase in self._state.phases else None
        return chosen or self._state.current_phase or "response_judgements"

    # -- what stands in the place of the samples -----------------------------------------------------------------------

    def _put(self, instead: str = "") -> None:
        """Show this in their place, or them again; what was open closes."""
        self._open_guard(False)
        for name in _INSTEAD:
            self.set_class(name == instead, name)
        self.home()
        self.call_after_refresh(lambda: self.show(self._state))

    def action_phase(self, by: int) -> None:
        names = list(self._state.phases)
        at = names.index(self.phase) if self.phase in names else 0
        self._phase = names[max(0, min(len(names) - 1, at + by))]
        self._put("-phase")

    def action_events(self) -> None:
        self._put("" if self.has_class("-events") else "-events")

    def action_follow(self) -> None:
        self._phase = None
        self._put()

    def action_guard(self) -> None:
        self._open_guard(not self._glance.open)

    on_glance_panel_turned = action_guard

    def _open_guard(self, to: bool) -> None:
        if self._glance.open == to:
            return
        self._glance.open = to
        self.set_class(to, "-opened")
        self._glance.scroll_home(animate=False)
        self.home()
        self.call_after_refresh(lambda: self.show(self._state))

    def action_hold(self) -> None:
        self._accepted.held = not self._accepted.held
        self.show(self._state)

    def on_accepted_panel_opened(self, event: AcceptedPanel.Opened) -> None:
        self.post_message(GoTo("samples", event.sample_id))

    def on_phase_rail_pressed(self, event: PhaseRail.Pressed) -> None:
        self._phase = event.phase
        self._put("-phase")

    def home(self) -> None:
        """To the samples; to the glance where something stands in their place."""
        aside = self._glance.open or any(self.has_class(name) for name in _INSTEAD)
        self.screen.set_focus(self._glance if aside else self._accepted)

    @property
    def critic(self) -> tuple[str, str] | None:
        """The critic whose margins are shown: of a phase of preferences one that judges what is made there first."""
        keys = self._state.critics_by_weight
        if self.phase in JUDGED_THERE:
            keys = sorted(keys, key=lambda key: key[1] != JUDGED_THERE[self.phase])
        return keys[self._critic % len(keys)] if keys else None

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        match action:
            case "critic":
                return len(self._state.critics) > 1
            case "events":
                return self.screen.has_class("-short")  # elsewhere they are there
        return True

    def action_critic(self) -> None:
        self._critic += self._panel.display  # where its margins are not there, they come first
        self._put("-phase")
