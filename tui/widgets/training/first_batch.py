"""The first batch of a training as the model met it: what is only read is quiet, what is learned is bold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from tui.widgets.marks import QUIET, lines, row, written

TEXT_SHOWN = 8_000  # characters of each part
ROWS_SHOWN = 64


class FirstBatchScreen(ModalScreen[None]):
    DEFAULT_CSS = """
    FirstBatchScreen { align: center middle; background: $background 60%; }
    #batch { width: 96%; max-width: 140; height: auto; max-height: 100%; margin: 0 0 2 0; background: $background; }
    #batch-text { height: auto; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,m,q", "dismiss", "Back", id="batch.back", tooltip="Back to the curves"),
        Binding("j", "scroll(1)", "Down", id="batch.down", show=False, tooltip="Scroll down"),
        Binding("k", "scroll(-1)", "Up", id="batch.up", show=False, tooltip="Scroll up"),
    ]

    def __init__(self, training_id: str, batch: Sequence[Mapping[str, str]]) -> None:
        super().__init__()
        self._training_id = training_id
        self._batch = batch

    def compose(self) -> ComposeResult:
        with VerticalScroll(id="batch", classes="panel") as panel:
            panel.border_title = Content(f"First batch of {self._training_id}")
            panel.border_subtitle = "j k scroll · Esc back"
            yield Static(lines(batch_lines(self._batch)), id="batch-text", markup=False)

    def on_mount(self) -> None:
        self.query_one("#batch").focus()

    def action_scroll(self, by: int) -> None:
        self.query_one("#batch").scroll_relative(y=by, animate=False)


def batch_lines(batch: Sequence[Mapping[str, str]]) -> list[Content]:
    """Every row of the batch, decoded: the masked part quiet, the learned part bold and between ⟪ and ⟫."""
    if not batch:
        return [row(("No batch was kept.", QUIET))]
    rows = [
        row(("quiet: only read, its loss is masked · ", QUIET), ("⟪", "$accent"), ("bold: learned", "bold"),
            ("⟫", "$accent")),
    ]  # fmt: skip
    for number, one in enumerate(batch[:ROWS_SHOWN], 1):
        rows += [Content(""), row((f"{number} of {len(batch)} ", f"{QUIET} underline"))]
        rows.append(written(one["masked"], one["learned"], TEXT_SHOWN))
    return rows
