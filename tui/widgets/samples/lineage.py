"""A sample's way through the pipeline: the steps in order, and the step under the cursor in full."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from tui.widgets.diff import word_diff
from tui.widgets.marks import QUIET, lines, row, written
from tui.words.text import make_visible, one_line

if TYPE_CHECKING:
    from tui.reads.lineage import Lineage, Step

TEXT_SHOWN = 20_000
_SHAPES = {
    "seed": "◇", "request": "→", "instruction": "■", "duplicate": "≈", "judgement": "⚖", "response": "■",
    "verdict": "▣", "label": "✎", "sibling": "‖", "critique": "✎", "revision": "↻", "candidate": "◌", "pair": "⇄",
}  # fmt: skip


class LineageScreen(ModalScreen["str | None"]):
    """Returns the id of a sample that is to be shown, or None where it was left."""

    DEFAULT_CSS = """
    LineageScreen { align: center middle; background: $background 60%; }
    #lineage { width: 96%; height: 1fr; margin: 0 0 2 0; layout: horizontal; background: $background; }
    #lineage-steps { width: 2fr; height: 100%; border: none; background: $background; padding: 0;
                     text-wrap: nowrap; text-overflow: ellipsis; }
    #lineage-one { width: 3fr; height: 100%; border-left: solid $primary 40%; padding: 0 1; }
    #lineage-text { height: auto; }
    LineageScreen {
        &.-narrow #lineage { layout: vertical; }
        &.-narrow #lineage-steps { width: 100%; height: 2fr; }
        &.-narrow #lineage-one { width: 100%; height: 3fr; border-left: none; border-top: solid $primary 40%; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,l,q", "dismiss", "Back", id="lineage.back", tooltip="Back to the sample"),
        Binding("j", "step(1)", "Down", id="lineage.down", show=False, tooltip="The next step"),
        Binding("k", "step(-1)", "Up", id="lineage.up", show=False, tooltip="The step before"),
        Binding("space", "leaf(1)", "Text down", id="lineage.leaf", show=False, tooltip="Scroll the text"),
        Binding("b", "leaf(-1)", "Text up", id="lineage.leaf_up", show=False, tooltip="Scroll the text back"),
    ]

    def __init__(self, found: Lineage) -> None:
        super().__init__()
        self._found = found

    def compose(self) -> ComposeResult:
        with Container(id="lineage", classes="panel") as panel:
            panel.border_title = Content(f"Lineage of {self._found.sample_id[:16]}")
            panel.border_subtitle = "↑↓ steps · Space scrolls · Enter opens · Esc back"
            yield OptionList(*(Option(_line(step)) for step in self._found.steps), id="lineage-steps", markup=False)
            with VerticalScroll(id="lineage-one", can_focus=False):
                yield Static(id="lineage-text", markup=False)

    def on_mount(self) -> None:
        steps = self.query_one(OptionList)
        steps.focus()
        steps.highlighted = 0  # the way is read from its beginning
        self.call_after_refresh(self._point_at_response)

    def _point_at_response(self) -> None:
        """Begin at the response where it and the first step can be seen at once."""
        steps = self.query_one(OptionList)
        at = next((at for at, step in enumerate(self._found.steps) if step.kind == "response"), 0)
        if at < steps.scrollable_content_region.height and steps.highlighted == 0:
            steps.highlighted = at

    @on(OptionList.OptionHighlighted)
    def open(self, event: OptionList.OptionHighlighted) -> None:
        step = self._found.steps[event.option_index]
        facts = [row((f"{name:<12}", QUIET), one_line(value, 300)) for name, value in step.facts]
        text = word_diff(step.before, step.text) if step.before is not None else _prompted(step.text)
        told = lines([row((step.title, "bold")), *facts, Content(""), text])
        self.query_one("#lineage-text", Static).update(told)
        self.query_one("#lineage-one").scroll_home(animate=False)

    @on(OptionList.OptionSelected)
    def go(self, event: OptionList.OptionSelected) -> None:
        step = self._found.steps[event.option_index]
        if step.sample_id:
            self.dismiss(step.sample_id)

    def action_step(self, by: int) -> None:
        steps = self.query_one(OptionList)
        (steps.action_cursor_down if by > 0 else steps.action_cursor_up)()

    def action_leaf(self, by: int) -> None:
        box = self.query_one("#lineage-one")
        box.scroll_relative(y=by * max(1, box.size.height - 2), animate=False)


def _line(step: Step) -> Content:
    shape = _SHAPES.get(step.kind, "·")
    quiet = "  " if step.kind in ("judgement", "duplicate", "request", "seed", "critique") else ""
    return row(f"{quiet}{shape} ", (step.title, "" if quiet else "bold"), ("  " + one_line(step.text, 60), QUIET))


def _prompted(text: str) -> Content:
    """A text in which what the model wrote stands between ⟪ and ⟫."""
    before, mark, wrote = text.partition("⟪")
    if not mark:
        return Content(make_visible(text, limit=TEXT_SHOWN))
    return written(before, wrote.removesuffix("⟫"), TEXT_SHOWN)
