"""The phases in order: shape, progress, done of planned, accepted, rate, time left."""

from __future__ import annotations

from textual import events
from textual.content import Content
from textual.message import Message
from textual.widgets import Static

from tui.state import PhaseState, RunState
from tui.widgets.marks import QUIET, TONES, lines, progress_bar, row
from tui.wording import PHASE_SHAPES, clock_text, phase_title

_TONES = {"pending": "quiet", "running": "busy", "paused": "warn", "stopped": "warn", "done": "good", "failed": "bad"}


class PhaseRail(Static):
    def __init__(self) -> None:
        super().__init__(id="rail", classes="panel", markup=False)
        self.border_title = "Phases"
        self._names: list[str] = []
        self._headed = False

    class Pressed(Message):
        """A phase was clicked."""

        def __init__(self, phase: str) -> None:
            super().__init__()
            self.phase = phase

    def on_click(self, event: events.Click) -> None:
        at = event.y - 1 - (1 if self._headed else 0)
        if 0 <= at < len(self._names):
            self.post_message(self.Pressed(self._names[at]))

    def show(self, state: RunState, chosen: str = "") -> None:
        """`chosen` is the phase whose figures are shown beside."""
        width = max(30, self.content_size.width or 50)
        paused = state.state == "paused"
        head = _columns(width, "", "", "done", "acc.", "rate", "left")
        rows = [_phase_line(phase, paused, width, phase.name == chosen) for phase in state.phases.values()]
        self._names, self._headed = list(state.phases), self.content_size.height > len(rows)
        self.update(lines([head, *rows] if self._headed else rows))


def _phase_line(phase: PhaseState, paused: bool, width: int, chosen: bool) -> Content:
    shown = "paused" if paused and phase.state == "running" else phase.state
    tone = TONES[_TONES.get(shown, "quiet")]
    title = row(
        (f"{PHASE_SHAPES.get(shown, '?')} ", tone),
        (phase_title(phase.name), _name_style(shown, chosen)),
    )
    done = f"{phase.done:,}/{phase.planned:,}" if phase.planned else (f"{phase.done:,}" if phase.done else "–")
    accepted = "–" if phase.accepted is None else f"{phase.accepted:,}"
    rate = phase.rate_per_s
    rate_text = "" if rate is None else f"{rate:.1f}/s" if rate >= 0.95 else f"{rate * 60:.1f}/min"
    eta = "" if phase.eta_s is None else clock_text(phase.eta_s)
    share = phase.done / phase.planned if phase.planned else (1.0 if phase.state == "done" else 0.0)
    return _columns(width, title, progress_bar(share, _bar_width(width), tone), done, accepted, rate_text, eta)


def _name_style(shown: str, chosen: bool) -> str:
    style = "bold" if shown == "running" else "" if shown == "done" else QUIET
    return f"{style} underline".strip() if chosen else style


def _bar_width(width: int) -> int:
    return max(4, min(48, width - 52))


def _columns(width: int, title: Content | str, bar: Content | str, done: str, acc: str, rate: str, eta: str) -> Content:
    title, bar = Content(title) if isinstance(title, str) else title, Content(bar) if isinstance(bar, str) else bar
    head = not title.plain
    style = QUIET if head else ""
    parts = [title.pad_right(max(0, 15 - title.cell_length))]
    if width >= 56:
        parts.append(bar.pad_right(max(0, _bar_width(width) + 1 - bar.cell_length)))
    parts += [row((f"{done:>12}", style)), row((f"{acc:>7}", style))]
    parts += [row((f"{rate:>9}", QUIET)), row((f"{eta:>8}", QUIET))]
    return Content.assemble(*parts)
