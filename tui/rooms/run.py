"""The run: phases, acceptance, the figures of one phase, budget and machine, guard and critics, events."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from store.names import COMMON_PHASES, PHASES, PREFERENCE_PHASES
from tui.host.machine import Load, Machine
from tui.live.state import RunState
from tui.messages import WorkWanted
from tui.reads.run import RunFacts, run_facts
from tui.rooms import Room
from tui.widgets.run.audit import AuditPanel
from tui.widgets.run.events import EventsList
from tui.widgets.run.figures import LiveFigures
from tui.widgets.run.phase import JUDGED_THERE, PhasePanel
from tui.widgets.run.rail import PhaseRail

if TYPE_CHECKING:
    from tui.reads.library import RunHistory

MACHINE_EVERY_S = 2.0
TINY = 20  # lines; below that phases stand in two columns
_COUNTED = ("instructions", "responses", *PREFERENCE_PHASES)


class RunRoom(Room):
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("c", "critic", "Critic", id="run.critic", tooltip="Show the margins of the next critic"),
        Binding("j", "phase(1)", "Next phase", id="run.phase_next", show=False,
                tooltip="The figures of the next phase"),
        Binding("k", "phase(-1)", "Previous phase", id="run.phase_previous", show=False,
                tooltip="The figures of the phase before"),
        Binding("escape", "follow", "Follow", id="run.follow", show=False, tooltip="The figures of the phase at work"),
    ]  # fmt: skip

    def __init__(self) -> None:
        super().__init__(id="run")
        self._critic = 0
        self._state = RunState()
        self._phase: str | None = None  # None follows the run
        self._facts = RunFacts()
        self._counted: tuple[object, ...] = ()
        self._machine = Machine()
        self._load: Load | None = None
        self._measured_at = 0.0

    def compose(self) -> ComposeResult:
        yield PhaseRail()
        yield LiveFigures()
        yield PhasePanel()
        yield AuditPanel()
        yield EventsList()

    def on_resize(self) -> None:
        self.call_after_refresh(lambda: self.show(self._state))

    def know(self, history: RunHistory) -> None:
        self.query_one(AuditPanel).keep_checks(history.guard)

    def show(self, state: RunState) -> None:
        self._state = state
        if not self.query(PhaseRail):
            return  # a read came back while the screen was being taken down
        self.set_class(len(state.phases) > len(COMMON_PHASES), "-pairs")
        self.set_class(len(state.phases) > len(PHASES), "-trained")
        self.set_class(0 < self.size.height < TINY, "-tiny")
        price = self.price_per_hour
        self.query_one(PhaseRail).show(state, self.phase)
        self.query_one(LiveFigures).show(state, self._load, price)
        facts = self._facts if self._facts.run_id == state.run_id else RunFacts()
        self.query_one(PhasePanel).show(state, self.phase, self.critic, facts, following=self._phase is None)
        self.query_one(AuditPanel).show(state)
        self.query_one(EventsList).show(state)

    def left_at(self) -> dict[str, Any]:
        return {"phase": self._phase}

    def come_back(self, left: Mapping[str, Any]) -> None:
        phase = left.get("phase")
        self._phase = phase if isinstance(phase, str) else None

    def look(self) -> None:
        run_id = self._state.run_id
        counted = (run_id, *(phase.done for name, phase in self._state.phases.items() if name in _COUNTED))
        if run_id and counted != self._counted:
            self._counted = counted
            self.look_up("reading a run's figures", lambda reader: run_facts(reader, run_id), self._learn)
        if time.monotonic() - self._measured_at > MACHINE_EVERY_S:
            self._measured_at = time.monotonic()
            self.post_message(WorkWanted("measuring the machine", self._machine.load, self._weigh))

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

    def action_phase(self, by: int) -> None:
        names = list(self._state.phases)
        at = names.index(self.phase) if self.phase in names else 0
        self._phase = names[max(0, min(len(names) - 1, at + by))]
        self.show(self._state)

    def action_follow(self) -> None:
        self._phase = None
        self.show(self._state)

    def on_phase_rail_pressed(self, event: PhaseRail.Pressed) -> None:
        self._phase = event.phase
        self.show(self._state)

    def home(self) -> None:
        self.screen.set_focus(self.query_one(AuditPanel))

    @property
    def critic(self) -> tuple[str, str] | None:
        """The critic whose margins are shown: of a phase of preferences one that judges what is made there first."""
        keys = self._state.critics_by_weight
        if self.phase in JUDGED_THERE:
            keys = sorted(keys, key=lambda key: key[1] != JUDGED_THERE[self.phase])
        return keys[self._critic % len(keys)] if keys else None

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        return len(self._state.critics) > 1 if action == "critic" else True

    def action_critic(self) -> None:
        self._critic += 1
        self.show(self._state)
