"""The run: phases, acceptance, margins, guard and critics, events."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from tui.rooms import Room
from tui.state import RunState
from tui.widgets.audit import AuditPanel
from tui.widgets.events import EventsList
from tui.widgets.figures import LiveFigures
from tui.widgets.histogram import MarginHistogram
from tui.widgets.rail import PhaseRail

if TYPE_CHECKING:
    from tui.library import RunHistory


class RunRoom(Room):
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("c", "critic", "Critic", id="run.critic", tooltip="Show the margins of the next critic"),
    ]

    def __init__(self) -> None:
        super().__init__(id="run")
        self._critic = 0
        self._state = RunState()

    def compose(self) -> ComposeResult:
        yield PhaseRail()
        yield LiveFigures()
        yield MarginHistogram()
        yield AuditPanel()
        yield EventsList()

    def know(self, history: RunHistory) -> None:
        self.query_one(AuditPanel).keep_checks(history.guard)

    def show(self, state: RunState) -> None:
        self._state = state
        self.query_one(PhaseRail).show(state)
        self.query_one(LiveFigures).show(state)
        self.query_one(MarginHistogram).show(state, self.critic)
        self.query_one(AuditPanel).show(state)
        self.query_one(EventsList).show(state)

    def home(self) -> None:
        self.query_one(AuditPanel).focus()

    @property
    def critic(self) -> tuple[str, str] | None:
        """The critic whose margins are shown."""
        keys = self._state.critics_by_weight
        return keys[self._critic % len(keys)] if keys else None

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        return len(self._state.critics) > 1 if action == "critic" else True

    def action_critic(self) -> None:
        self._critic += 1
        self.show(self._state)
