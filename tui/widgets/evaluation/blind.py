"""One answer after the other, without whose it is and what the scorer said: right, wrong, or not sure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from tui.widgets.marks import QUIET, lines, row
from tui.words.text import make_visible


class BlindScreen(ModalScreen["int | None"]):
    """Returns how many answers were judged; `keep` is called with each subject's id and label."""

    DEFAULT_CSS = """
    BlindScreen { align: center middle; background: $background 60%; }
    #blind { width: 96%; max-width: 110; height: auto; max-height: 90%; background: $background; }
    #blind-text { height: auto; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "judge('good')", "Right", id="blind.good", priority=True, tooltip="It does what was asked"),
        Binding("n", "judge('bad')", "Wrong", id="blind.bad", priority=True, tooltip="It does not do what was asked"),
        Binding("d", "judge('unsure')", "Not sure", id="blind.unsure", priority=True, tooltip="It counts neither way"),
        Binding("u", "back", "Before", id="blind.back", priority=True, tooltip="The answer before, to judge it anew"),
        Binding("escape,q", "leave", "Leave", id="blind.leave", priority=True, tooltip="Leave; what is judged is kept"),
    ]  # fmt: skip

    def __init__(self, found: Sequence[Mapping[str, Any]], keep: Callable[[str, str], None]) -> None:
        super().__init__()
        self._found, self._keep = found, keep
        self._at = 0
        self._judged: set[int] = set()

    def compose(self) -> ComposeResult:
        with VerticalScroll(id="blind", classes="panel") as box:
            box.border_title = "Is this answer right?"
            box.border_subtitle = "y right · n wrong · d not sure · u before · Esc leave"
            yield Static(id="blind-text", markup=False)

    def on_mount(self) -> None:
        self._paint()

    def _paint(self) -> None:
        one = self._found[self._at]
        kind = str(one["item_type"]).replace("_", " ")
        head = [row((f"{self._at + 1} of {len(self._found)} ", "bold"), (kind, QUIET)), Content("")]
        for turn, answer in one["history"] or ():
            head += [row(("› ", QUIET), make_visible(turn)), row(("  ", ""), (make_visible(answer), QUIET))]
        head.append(row(("asked ", QUIET), make_visible(one["prompt"])))
        if one["reference"]:
            head.append(row(("reference ", QUIET), make_visible(one["reference"])))
        answer = make_visible(one["answer"]) or "(nothing)"
        head += [Content(""), row(("answer ", QUIET)), row((answer, "bold"))]
        self.query_one("#blind-text", Static).update(lines(head))
        self.query_one("#blind").scroll_home(animate=False)

    def action_judge(self, label: str) -> None:
        self._keep(str(self._found[self._at]["subject_id"]), label)
        self._judged.add(self._at)
        if self._at + 1 == len(self._found):
            self.dismiss(len(self._judged))
            return
        self._at += 1
        self._paint()

    def action_back(self) -> None:
        self._at = max(0, self._at - 1)
        self._paint()

    def action_leave(self) -> None:
        self.dismiss(len(self._judged))
