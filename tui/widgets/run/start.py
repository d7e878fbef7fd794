"""What a newcomer sees before the first run: what a pilot is, and the key that starts one."""

from __future__ import annotations

from textual.content import Content
from textual.widgets import Static

from tui.widgets.marks import QUIET, lines, row

_KEPT = (
    "Every step is stored as it happens, so a run can be paused, stopped or killed and goes on where it was. Nothing "
    "is computed twice."
)


class StartPanel(Static):
    def __init__(self, store: str) -> None:
        super().__init__(id="start", classes="panel", markup=False)
        self.border_title = "Start"
        self._store = store

    def on_mount(self) -> None:
        self.update(
            lines(
                [
                    row(("No run yet. Enter starts a pilot.", "bold")),
                    Content(""),
                    row((" Enter ", "bold reverse"), " start the pilot   ", (" q ", "bold reverse"), " leave"),
                    Content(""),
                    row("A pilot takes a base model through all of Stage 1 on a small scale:"),
                    row(("  1 ", "$accent"), "a guard proves that it is a base model and its prompts are clean"),
                    row(("  2 ", "$accent"), "the critics are audited on examples whose labels are known"),
                    row(("  3 ", "$accent"), "the model writes instructions, and near-duplicates are dropped"),
                    row(("  4 ", "$accent"), "it answers them, and its own next-token logprobs judge the answers"),
                    row(("  5 ", "$accent"), "a QC gate compares what was measured with the spec's thresholds"),
                    Content(""),
                    row((_KEPT, QUIET)),
                    Content(""),
                    row(("store  ", QUIET), self._store),
                ]
            )
        )
