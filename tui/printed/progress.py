"""A run's progress without the control center: moving bars on a terminal, plain lines anywhere else."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from engine.core.figures import count, format_seconds
from store.names import TRAINED
from tui.live.idle import advice
from tui.live.state import RunState
from tui.live.trainings import TrainingState
from tui.printed.tables import LEVEL_STYLES, state_text
from tui.words.events import describe
from tui.words.facts import PhaseState, of_wanted
from tui.words.text import make_visible
from tui.words.wording import PHASE_SHAPES, phase_title

if TYPE_CHECKING:
    from engine.core.events import Event

# Seconds between two lines about the same phase: a log of a run of hours stays readable.
FIRST_PAUSE_S, LATER_PAUSE_S, FIRST_MINUTES_S = 4.0, 30.0, 120.0


class View:
    """Shows what happened and how far the run is."""

    def __init__(self, console: Console, state: RunState) -> None:
        self._console = console
        self._state = state
        self._starved: set[str] = set()  # phases of which an idle GPU was told

    def tell(self, event: Event) -> None:
        level, text = describe(event.kind, event.payload())
        if text:
            self.say(level, text)
        phases = set(self._state.gauges.starved_in.split("+"))
        if event.kind == "GpusMeasured" and phases - self._starved and (idle := advice(self._state)):
            self._starved |= phases
            self.say("warning", idle)

    def say(self, level: str, text: str) -> None:
        raise NotImplementedError

    def tick(self) -> None:
        raise NotImplementedError

    def close(self) -> None:
        """Nothing is shown any more."""


def view_on(console: Console, state: RunState) -> View:
    """Bars where they can move, lines where they cannot."""
    moves = console.is_terminal and not console.is_dumb_terminal
    return LiveView(console, state) if moves else PlainView(console, state)


class PlainView(View):
    """One line for each thing that happened, and one now and then about each phase under way. No control codes."""

    def __init__(self, console: Console, state: RunState, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(console, state)
        self._clock = clock
        self._began = clock()
        self._told_at = float("-inf")
        self._told: tuple[object, ...] = ()

    def say(self, level: str, text: str) -> None:
        elapsed = format_seconds(self._clock() - self._began)
        mark = {"warning": "warning: ", "error": "error: "}.get(level, "")
        line = Text(f"[{elapsed:>7}] {mark}{make_visible(text, limit=2000)}", style=LEVEL_STYLES.get(level, ""))
        self._console.print(line, soft_wrap=True)
        self._console.file.flush()

    def tick(self) -> None:
        phases = [phase for phase in self._state.phases.values() if phase.state == "running" and phase.done > 0]
        if not phases:
            return
        now = self._clock()
        pause = FIRST_PAUSE_S if now - self._began < FIRST_MINUTES_S else LATER_PAUSE_S
        progress = tuple((phase.name, phase.done, phase.planned, phase.accepted) for phase in phases)
        if now - self._told_at >= pause and progress != self._told:
            self._told_at, self._told = now, progress
            for phase in phases:
                told = _trained(phase, self._state.trainings.of(phase.name)) or _progress(phase)
                self.say("info", f"{phase_title(phase.name)} {told}")


class LiveView(View):
    """What happened scrolls by; below it the phases with their bars."""

    def __init__(self, console: Console, state: RunState) -> None:
        super().__init__(console, state)
        self._live: Live | None = Live(
            console=console, get_renderable=self._render, auto_refresh=False, redirect_stdout=False,
            redirect_stderr=False, vertical_overflow="crop",
        )  # fmt: skip
        self._live.start()

    def say(self, level: str, text: str) -> None:
        self._console.print(Text(make_visible(text, limit=2000), style=LEVEL_STYLES.get(level, "")))

    def tick(self) -> None:
        if self._live is not None:
            self._live.refresh()

    def close(self) -> None:
        live, self._live = self._live, None
        if live is not None:
            live.refresh()
            live.stop()

    def _render(self) -> Group:
        state = self._state
        table = Table.grid(padding=(0, 1))
        for justify in ("left", "left", "left", "right", "right", "right", "right"):
            table.add_column(justify=justify, no_wrap=True)
        for phase in state.phases.values():
            if phase.state != "pending" or not state.aside:
                table.add_row(*_live_cells(phase, state.trainings.of(phase.name)))
        head = Text.assemble(state_text(state.state), f"  {state.run_id}  ", (format_seconds(state.elapsed_s), "dim"))
        if state.target and not state.aside:
            head.append(f"  {of_wanted(state.accepted, state.target)}")
        return Group(head, table)


def _live_cells(phase: PhaseState, training: TrainingState | None) -> tuple[Any, ...]:
    style = {"running": "cyan", "done": "green", "failed": "red", "stopped": "yellow"}.get(phase.state, "dim")
    name = Text(f"{PHASE_SHAPES.get(phase.state, '○')} {phase_title(phase.name)}", style=style)
    if phase.state == "pending":
        return (name, *[""] * 6)
    bar = ProgressBar(total=max(phase.planned, 1), completed=min(phase.done, max(phase.planned, 1)), width=24)
    done = f"{count(phase.done)}/{count(phase.planned)}"
    if training is not None and phase.name in TRAINED:
        figures = [*training.figures(), "", "", ""][:3]
        left = "" if training.eta_s is None else f"{format_seconds(training.eta_s)} left"
        return (name, bar, done, *figures, left)
    return (name, bar, done, *_figures(phase))


def _trained(phase: PhaseState, training: TrainingState | None) -> str:
    """A line about the last step; nothing where no step of a training was told."""
    if training is None or training.loss is None or phase.name not in TRAINED:
        return ""
    parts = [f"step {count(phase.done)}/{count(phase.planned)}", *training.figures()]
    if training.eta_s is not None:
        parts.append(f"{format_seconds(training.eta_s)} left")
    return " · ".join(parts)


def _progress(phase: PhaseState) -> str:
    accepted, share, rate, left = _figures(phase)
    done = f"{count(phase.done)}/{count(phase.planned)}"
    return " · ".join(filter(None, (done, f"{accepted} {share}".strip(), rate, left)))


def _figures(phase: PhaseState) -> tuple[str, str, str, str]:
    """Accepted, its share, items a second and the time left, each "" where it is not known."""
    share, rate, eta = phase.acceptance, phase.rate_per_s, phase.eta_s
    return (
        "" if phase.accepted is None else f"{count(phase.accepted)} accepted",
        "" if share is None else f"({100 * share[0]:.0f} %)",
        "" if rate is None else f"{rate:.1f}/s",
        "" if eta is None else f"{format_seconds(eta)} left",
    )
