"""The phases in order: shape, progress, done of planned, accepted, rate, time left.

Where there is no line for each of them they stand in two columns, without bars, rates and times.
"""

from __future__ import annotations

from dataclasses import dataclass

from textual import events
from textual.content import Content
from textual.message import Message
from textual.widgets import Static

from engine.core.figures import clock_text
from tui.live.state import RunState
from tui.widgets.marks import QUIET, TONES, lines, progress_bar, row
from tui.words.facts import PhaseState
from tui.words.wording import PHASE_SHAPES, phase_title

_TONES = {"pending": "quiet", "running": "busy", "paused": "warn", "stopped": "warn", "done": "good", "failed": "bad"}
_GAP = 3  # cells between the two columns
_RATES_FROM = 51  # cells, below which there is no room for rates and times beside the counts


class PhaseRail(Static):
    def __init__(self) -> None:
        super().__init__(id="rail", classes="panel", markup=False)
        self.border_title = "Phases"
        self._places: list[tuple[int, bool, str]] = []  # line, whether in the right column, phase
        self._shown: tuple[RunState, str] | None = None

    @dataclass
    class Pressed(Message):
        """A phase was clicked."""

        phase: str

    def on_click(self, event: events.Click) -> None:
        doubled = any(right for _, right, _ in self._places)
        right = doubled and event.x > self.size.width // 2
        for line, in_right, name in self._places:
            if (line, in_right) == (event.y - 1, right):
                self.post_message(self.Pressed(name))

    def on_resize(self) -> None:
        if self._shown is not None:
            self.show(*self._shown)

    def show(self, state: RunState, chosen: str = "") -> None:
        """`chosen` is the phase whose figures are shown beside."""
        self._shown = (state, chosen)
        width, height = max(30, self.content_size.width or 50), self.content_size.height
        paused = state.state == "paused"
        phases = list(state.phases.values())
        if 0 < height < len(phases):
            down, width = -(-len(phases) // 2), max(0, width - _GAP) // 2
            rows = [_short_line(phase, paused, width, phase.name == chosen) for phase in phases]
            rows = [_beside(rows[at], rows[at + down : at + down + 1], width) for at in range(down)]
            head = _short(width, Content(""), "done", "acc.")
            head = _beside(head, [head], width)
        else:
            down = len(phases)
            rows = [_phase_line(phase, paused, width, phase.name == chosen) for phase in phases]
            head = _columns(width, Content(""), Content(""), "done", "acc.", "rate", "left")
        headed = height > len(rows)
        # Where no line is left for them the names of the columns stand in the border below.
        self.border_subtitle = "" if headed else head.plain.lstrip()
        self._places = [(at % down + headed, at >= down, phase.name) for at, phase in enumerate(phases)]
        self.update(lines([head, *rows] if headed else rows))


def _phase_line(phase: PhaseState, paused: bool, width: int, chosen: bool) -> Content:
    title, tone, done, accepted = _known(phase, paused, chosen)
    rate = phase.rate_per_s
    rate_text = "" if rate is None else f"{rate:.1f}/s" if rate >= 0.95 else f"{rate * 60:.1f}/min"
    eta = "" if phase.eta_s is None else clock_text(phase.eta_s)
    share = phase.done / phase.planned if phase.planned else (1.0 if phase.state == "done" else 0.0)
    return _columns(width, title, progress_bar(share, _bar_width(width), tone), done, accepted, rate_text, eta)


def _short_line(phase: PhaseState, paused: bool, width: int, chosen: bool) -> Content:
    title, _, done, accepted = _known(phase, paused, chosen)
    return _short(width, title, done, accepted)


def _known(phase: PhaseState, paused: bool, chosen: bool) -> tuple[Content, str, str, str]:
    """Shape and title, the tone of the state, done of planned, accepted."""
    shown = "paused" if paused and phase.state == "running" else phase.state
    tone = TONES[_TONES.get(shown, "quiet")]
    style = "bold" if shown == "running" else "" if shown == "done" else QUIET
    style = f"{style} underline".strip() if chosen else style
    title = row((f"{PHASE_SHAPES.get(shown, '?')} ", tone), (phase_title(phase.name), style))
    done = f"{phase.done:,}/{phase.planned:,}" if phase.planned else (f"{phase.done:,}" if phase.done else "–")
    return title, tone, done, "–" if phase.accepted is None else f"{phase.accepted:,}"


def _bar_width(width: int) -> int:
    return max(4, min(48, width - 52))


def _columns(width: int, title: Content, bar: Content, done: str, acc: str, rate: str, eta: str) -> Content:
    style = "" if title.plain else QUIET
    parts = [title.pad_right(max(0, 15 - title.cell_length))]
    if width < _RATES_FROM:
        return _short(width, title, done, acc)
    if width >= 56:
        parts.append(bar.pad_right(max(0, _bar_width(width) + 1 - bar.cell_length)))
    parts += [row((f"{done:>12}", style)), row((f"{acc:>7}", style))]
    parts += [row((f"{rate:>9}", QUIET)), row((f"{eta:>8}", QUIET))]
    return Content.assemble(*parts)


def _short(width: int, title: Content, done: str, acc: str) -> Content:
    """Half a line: accepted only where there is room for it."""
    style = "" if title.plain else QUIET
    room = max(0, width - 15 - 7 if width >= 34 else width - 15)
    parts = [title.pad_right(max(0, 15 - title.cell_length)), row((f"{done:>{room}}", style))]
    return Content.assemble(*parts, *([row((f"{acc:>7}", style))] if width >= 34 else []))


def _beside(left: Content, right: list[Content], width: int) -> Content:
    return Content.assemble(left.pad_right(max(0, width + _GAP - left.cell_length)), *right)
