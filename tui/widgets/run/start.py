"""What a newcomer sees before the first run: the key that starts a pilot, what it would take here, and what it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from textual.content import Content
from textual.widgets import Static

from tui.widgets.marks import QUIET, TONES, lines, row
from tui.words.starting import start_lines
from tui.words.text import one_line

_KEPT = (
    "Every step is stored as it happens, so a run can be paused, stopped or killed and goes on where it was. Nothing "
    "is computed twice."
)
_LABEL = 10  # cells


class StartPanel(Static):
    def __init__(self, store: str) -> None:
        super().__init__(id="start", classes="panel", markup=False)
        self.border_title = "Start"
        self.asked = False  # whether somebody looks up what the run would take
        self._store = store
        self._found: Mapping[str, Any] | None = None

    def tell(self, found: Mapping[str, Any]) -> None:
        """What the run would take, as `tui.reads.start` gives it."""
        self._found = found
        if self.is_attached:  # the run may have been started meanwhile
            self._draw()

    def on_mount(self) -> None:
        self._draw()

    def on_resize(self) -> None:
        self._draw()

    def _draw(self) -> None:
        width = max(20, (self.content_size.width or 74) - _LABEL)
        told = [("store", self._store, False), *start_lines(self._found)]
        self.update(
            lines(
                [
                    row(("No run yet. Enter starts a pilot.", "bold")),
                    Content(""),
                    row((" Enter ", "bold reverse"), " start the pilot   ", (" q ", "bold reverse"), " leave"),
                    Content(""),
                    *(
                        row((f"{label:<{_LABEL}}", QUIET), (one_line(text, width), TONES["bad"] if bad else ""))
                        for label, text, bad in told
                    ),
                    row("A pilot takes a base model through all of Stage 1 on a small scale:"),
                    row(("  1 ", "$accent"), "a guard proves that it is a base model and its prompts are clean"),
                    row(("  2 ", "$accent"), "the critics are audited on examples whose labels are known"),
                    row(("  3 ", "$accent"), "the model writes instructions, and near-duplicates are dropped"),
                    row(("  4 ", "$accent"), "it answers them, and its own next-token logprobs judge the answers"),
                    row(("  5 ", "$accent"), "a QC gate compares what was measured with the spec's thresholds"),
                    row((_KEPT, QUIET)),
                ]
            )
        )
