"""What a person who comes back wants first: what needs them, the weakest figure and why, guard and critics in a line.

The line of the guard opens in place: every audit, every check, and each sentinel's prompt and answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.message import Message
from textual.widgets import Static

from tui.live.standing import Need, Weakest, needs, weakest
from tui.live.state import RunState
from tui.reads.run import RunFacts
from tui.widgets.marks import QUIET, TONES, lines, row
from tui.widgets.run.audit import audit_lines, check_lines, critics_line, guard_line
from tui.words.text import one_line

_SHAPES = {"bad": "✗", "warn": "!", "good": "·", "quiet": "·"}
Checks = Sequence[Mapping[str, Any]]


class GlancePanel(VerticalScroll):
    """One line each; while it is open all that is known of guard and critics, to be scrolled."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "enter",
            "turn",
            "Guard",
            id="run.guard_here",
            show=False,
            tooltip="Open or close guard and critics with every check",
        ),
    ]

    class Turned(Message):
        """The line of the guard is to open or to close."""

    def __init__(self) -> None:
        super().__init__(id="glance", classes="panel")
        self.border_title = "At a glance"
        self.open = False
        self._guard: Checks = ()
        self._gates: Checks = ()

    def compose(self) -> ComposeResult:
        yield Static(id="glance-text", markup=False)

    def keep_checks(self, guard: Checks, gates: Checks) -> None:
        """The checks of the guard and of the gates, as the store has them."""
        self._guard, self._gates = guard, gates

    def action_turn(self) -> None:
        self.post_message(self.Turned())

    def show(self, state: RunState, facts: RunFacts, price_per_hour: float | None) -> None:
        width, short = max(20, self.size.width - 2), self.screen.has_class("-short")
        rows = [
            _needs_line(needs(state, facts.reviews, price_per_hour), width, known=bool(facts.run_id)),
            *_weakest_lines(weakest(state, self._gates, self._guard), width, helps=not short),
        ]
        audits = list(state.audits.values())
        critics = critics_line(audits)
        left = width - critics.cell_length - 2 if short and state.guard_passed and not self.open else width
        guard = guard_line(state, self._guard, left)
        if self.open:
            rows += [Content(""), guard, *audit_lines(audits, state.min_auc, width)]
            if self._guard:
                rows.append(row(("sentinels and checks", f"{QUIET} underline")))
                rows += [line for check in self._guard for line in check_lines(check, width)]
            self.border_subtitle = "Esc closes"
        else:
            # In the three lines of a short screen the critics stand behind the guard, as far as there is room.
            rows += [row(guard, "  ", critics)] if short else [guard, critics]
            self.border_subtitle = "G opens guard and critics"
        self.query_one("#glance-text", Static).update(lines(rows))


def _needs_line(found: Sequence[Need], width: int, *, known: bool) -> Content:
    """Each with the key that goes there; those for which there is no room are counted."""
    if not found:
        return row(("· needs you nothing" if known else "· needs you being read", QUIET))
    line = row(("! needs you ", f"bold {TONES['warn']}"))
    for at, one in enumerate(found):
        left = width - line.cell_length - (len(found) > at + 1) * 5
        key = row(" ", (f" {one.key} ", "bold reverse"), "  ") if one.key else Content("")
        piece = len(one.told) + key.cell_length
        if at and piece > left:
            return row(line, (f"+{len(found) - at} more", QUIET))
        line = row(line, one_line(one.told, max(8, left - key.cell_length)), key)
    return line


def _weakest_lines(one: Weakest, width: int, *, helps: bool) -> list[Content]:
    """What would help stands below, where there is a line for it."""
    tone = TONES[one.tone]
    line = row(
        (f"{_SHAPES[one.tone]} weakest   ", f"bold {tone}" if one.name else QUIET), (one_line(one.name, 40), "bold")
    )
    key = len(one.key) + 3 if one.key else 0
    told = one_line(one.told, max(10, width - line.cell_length - key - 2))
    line = row(line, " " if one.name else "", (told, "" if one.name else QUIET))
    if one.where and line.cell_length + len(one.where) + key + 3 <= width:
        line = row(line, (f" · {one.where}", QUIET))
    found = [row(line, " ", (f" {one.key} ", "bold reverse")) if one.key else line]
    if helps and one.helps:
        found.append(row((one_line(f"            would help: {one.helps}", width), QUIET)))
    return found
