"""Three samples drawn from what the run accepted, others every few seconds: what the figures are about.

What was not accepted never stands under that head. Before anything was, it shows the last candidates, and what decided.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from textwrap import wrap
from typing import Any, ClassVar

from textual.binding import Binding, BindingType
from textual.content import Content
from textual.message import Message
from textual.widgets import Static

from tui.live.state import RunState
from tui.reads.drawn import Drawn
from tui.widgets.marks import QUIET, TONES, VERDICT_TONES, lines, row
from tui.words.text import one_line
from tui.words.wording import VERDICT_SHAPES, names

_EMPTY = "Samples stand here as soon as there are some: accepted ones, drawn at random."
_AIRY = 5  # lines for each, from which one tells how it came to be and one stays empty
_BASES = {"critic": "the critic", "rules": "form rules"}


class AcceptedPanel(Static, can_focus=True):
    """`held` keeps the samples as they are; moving among them holds them."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "open", "Open", id="run.sample", tooltip="Open this sample in the room Samples"),
        Binding("down", "move(1)", "Next sample", id="run.sample_next", show=False,
                tooltip="The sample below; holds them"),
        Binding("up", "move(-1)", "Previous sample", id="run.sample_previous", show=False,
                tooltip="The sample above; holds them"),
    ]  # fmt: skip

    @dataclass
    class Opened(Message):
        sample_id: str

    def __init__(self) -> None:
        super().__init__(id="accepted", classes="panel", markup=False)
        self.border_title = "Accepted"
        self.held = False
        self._at = 0
        self._shown = Drawn()
        self._drawn: tuple[object, ...] = ()

    @property
    def sample_id(self) -> str:
        """The sample that Enter opens; "" where none is shown."""
        rows = self._shown.rows
        return str(rows[min(self._at, len(rows) - 1)].get("sample_id") or "") if rows else ""

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        return bool(self.sample_id) if action == "open" else True

    def action_open(self) -> None:
        self.post_message(self.Opened(self.sample_id))

    def action_move(self, by: int) -> None:
        self._at = max(0, min(len(self._shown.rows) - 1, self._at + by))
        self.held = True
        self.refresh_bindings()
        self._draw()

    def show(self, state: RunState, found: Drawn) -> None:
        now = (found, self.held, state.headline.short, self.content_size)
        if now == self._drawn:
            return
        self._drawn, self._shown = now, found
        self.border_title = {
            "accepted": Content(f"Accepted at random · {len(found.rows)} of {state.headline.short}"),
            "samples": Content("Nothing accepted · the last candidates"),
            "instructions": Content("No responses · the last instructions"),
        }.get(found.kind, "Accepted")
        self._draw()

    def on_focus(self) -> None:
        self._draw()

    on_blur = on_resize = on_focus  # a notice that closes gives it lines

    def _draw(self) -> None:
        rows = self._shown.rows
        opens = " · Enter opens" if self.sample_id else ""
        self.border_subtitle = (
            f"{'held · Space lets them change' if self.held else 'Space holds'}{opens}" if rows else ""
        )
        width, height = max(16, self.content_size.width), max(1, self.content_size.height)
        if not rows:
            self.update(row((_EMPTY if self._shown.run_id else "Being read.", QUIET)))
            return
        each = max(1, height // len(rows))
        told: list[Content] = []
        for at, one in enumerate(rows):
            here = at == min(self._at, len(rows) - 1) and self.has_focus
            told += _told(one, self._shown.kind, width, each, chosen=here)
        self.update(lines(told[:height]))


def _told(one: Mapping[str, Any], kind: str, width: int, height: int, *, chosen: bool) -> list[Content]:
    """Instruction and response in so many lines, the instruction in at most a third of them."""
    bar = ("▌ ", "$accent") if chosen else ("▏ ", QUIET)
    room = width - 2
    decided = Content("") if kind == "accepted" else row(_decided(one, room // 2), "  ")
    asked, answer = str(one["instruction"] or ""), one.get("response")
    if height == 1:
        whole = asked if answer is None else f"{asked} → {answer}"
        return [row(bar, decided, one_line(whole, max(4, room - decided.cell_length)))]
    airy = height >= _AIRY
    used = height - 2 * airy
    head = _wrapped(asked, room, max(1, used // 3), first=decided.cell_length)
    body = [] if answer is None else _wrapped(str(answer), room, used - len(head))
    found = [row(bar, decided, (head[0], "bold")), *(row(bar, (line, "bold")) for line in head[1:])]
    found += [row(bar, line) for line in body]
    return [*found, row(bar, (one_line(_made(one), room), QUIET)), Content("")] if airy else found


def _made(one: Mapping[str, Any]) -> str:
    """How long it is, and what decided about it."""
    told = [f"{one['n_tokens']:,} tokens"] if "n_tokens" in one else []
    told += [f"by {_BASES.get(one['basis'], one['basis'])}"] if one.get("basis") else []
    return " · ".join(told)


def _wrapped(text: str, width: int, most: int, first: int = 0) -> list[str]:
    """The text in at most so many lines, on the first of which so many cells are taken."""
    found = wrap(one_line(text, max(4, width * most - first)), max(4, width), initial_indent=" " * first)
    if len(found) > most:
        found = [*found[: most - 1], one_line(" ".join(found[most - 1 :]), width)]
    return [found[0][first:], *found[1:]] if found else [""]


def _decided(one: Mapping[str, Any], most: int) -> Content:
    """What decided about a candidate: its verdict with the flags or the reason, or why it was never judged."""
    verdict = one.get("verdict")
    if verdict is None:
        status = one.get("status")
        return row((f"– {status}" if status not in (None, "distinct") else "· not judged yet", QUIET))
    why = names(list(one["flags"])) if one["flags"] else str(one["reason"] or "")
    told = f"{VERDICT_SHAPES.get(verdict, '?')} {verdict}{f': {why}' if why else ''}"
    return row((one_line(told, max(4, min(40, most))), TONES[VERDICT_TONES.get(verdict, "warn")]))
