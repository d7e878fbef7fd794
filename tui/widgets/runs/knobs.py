"""The thresholds that can be moved, as a list, and what moving them would do, as lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from textual import events
from textual.content import Content
from textual.message import Message
from textual.widgets import Static

from engine.core.figures import percents_whole
from tui.widgets.marks import QUIET, TONES, VERDICT_TONES, lines, row
from tui.words.text import one_line
from tui.words.wording import RESULTS, VERDICT_SHAPES

if TYPE_CHECKING:
    from engine.analyses.whatif import Consequence, Knob
    from engine.quality.gates import Check

_SECTIONS = {
    "critics": "critics: what accepts a sample",
    "rules": "rules: what rejects one",
    "gate": "gate: QC limits",
    "pairs": "pairs: which are kept, and their gate",
}
_KINDS = {"instruction": "instructions", "sample": "pairs", "pair": "pref. pairs"}


class KnobList(Static, can_focus=True):
    """The settings that can be moved, one a line; what was moved stands out."""

    @dataclass
    class Pointed(Message):
        index: int

    def __init__(self) -> None:
        super().__init__(id="knobs", classes="panel", markup=False)
        self.border_title = "Thresholds"
        self.chosen = 0
        self._spans: list[int] = []

    def show(self, knobs: Sequence[Knob], now: Mapping[str, float], moved: Mapping[str, float]) -> None:
        width = max(24, self.content_size.width or 40)
        rows, section, self._spans = [], "", []
        for at, knob in enumerate(knobs):
            head, _, name = knob.key.partition(".")
            if head != section:
                section = head
                rows.append(row((_SECTIONS.get(head, head), f"bold {QUIET}")))
                self._spans.append(-1)
            here = at == self.chosen
            value = figure(knob, now[knob.key])
            if knob.key in moved:
                value = f"{value} → {figure(knob, moved[knob.key])}"
            label = one_line(name.replace("_", " "), max(8, width - len(value) - 3))
            gap = " " * max(1, width - len(label) - len(value) - 2)
            style = "bold reverse" if here else "bold $text-warning" if knob.key in moved else ""
            mark = "▸ " if here else "● " if knob.key in moved else "  "
            rows.append(row((f"{mark}{label}{gap}{value}", style)))
            self._spans.append(at)
        self.border_subtitle = Content(one_line(knobs[self.chosen].about, width))
        # Where not all of them fit, those around the chosen one.
        height = self.content_size.height or len(rows)
        first = max(0, min(self._spans.index(self.chosen) - height // 2, len(rows) - height))
        self._spans = self._spans[first : first + height]
        self.update(lines(rows[first : first + height]))

    def on_click(self, event: events.Click) -> None:
        line = event.y - 1
        if 0 <= line < len(self._spans) and self._spans[line] >= 0:
            self.post_message(self.Pointed(self._spans[line]))


def figure(knob: Knob, value: float) -> str:
    if knob.step == 1:
        return f"{value:.0f}"
    return f"{value:+.2f}" if knob.low < 0 else f"{value:.2f}"


def verdict_mark(verdict: str) -> tuple[str, str]:
    return f"{VERDICT_SHAPES.get(verdict, '·')} {verdict}", TONES[VERDICT_TONES.get(verdict, "quiet")]


def others_moved(before: Consequence, after: Consequence) -> list[str]:
    """How many instructions and preference pairs change sides: they are not listed, samples are."""
    told = []
    was, now = before.acceptance["instruction"].accepted, after.acceptance["instruction"].accepted
    if was != now:
        name = "instruction" if abs(now - was) == 1 else "instructions"
        how = f"{abs(now - was):,} {'more' if now > was else 'fewer'} {name}"
        told.append(f"{how} would be accepted: {now:,} instead of {was:,}.")
    if n := after.pairs_changed:
        pairs = after.acceptance["pair"].accepted, before.acceptance["pair"].accepted
        name = "preference pair" if n == 1 else "preference pairs"
        told.append(f"{n:,} {name} would change sides: {pairs[0]:,} kept instead of {pairs[1]:,}.")
    return told


def acceptance_line(kind: str, before: Consequence, after: Consequence, width: int) -> Content:
    """What would be accepted, and by what; the latter on a line of its own where it would be broken."""
    was, now = before.acceptance[kind], after.acceptance[kind]
    name = _KINDS[kind]
    if not now.n:
        return row((f"{name:<13}", QUIET), ("none judged", QUIET))
    share = f"{now.accepted:,}/{now.n:,} {100 * now.accepted / now.n:.1f} %"
    moved = "" if was.accepted == now.accepted else f"  was {was.accepted:,} ({now.accepted - was.accepted:+,})"
    judge = after.filters[kind] or "rules only"
    found = row(
        (f"{name:<13}", QUIET), (share, "bold"), f" {percents_whole(now.lo, now.hi)}", (moved, "bold $text-warning")
    )
    fits = found.cell_length + len(judge) + 5 <= width
    return row(found, ("  " if fits else f"\n{'':13}", QUIET), (f"by {judge}", QUIET))


def check_line(old: Check, new: Check) -> Content:
    shape, _, tone = RESULTS[new.result]
    flips = old.result != new.result
    measured = "–" if new.measured is None else f"{new.measured:.3g}"
    return row(
        (f"{shape} ", TONES[tone]),
        (f"{one_line(new.name, 24):<25}", "bold" if flips else ""),
        f"{measured:>6} {new.op:>2} {new.threshold:<7.3g}",
        (f"◀ was {RESULTS[old.result][0]}" if flips else "", "bold $text-warning"),
    )
