"""Who is running: run, state, time; spec, model, seed. A spec other than the 32B one stands out."""

from __future__ import annotations

from textual.content import Content
from textual.widgets import Static

from engine.core.figures import clock_text, count
from tui.live.state import RunState
from tui.widgets.marks import QUIET, TONES, row
from tui.words.text import one_line
from tui.words.wording import state_mark

MAIN_SPEC = "stage_1_explicit_instructions"


class RunHeader(Static):
    """Two lines; the state is at the right end, as a shape and a word. Where it is narrow all else is cut first."""

    def __init__(self) -> None:
        super().__init__(row((" cai ", "bold $accent"), ("opening the store …", QUIET)), id="header", markup=False)
        self._state: RunState | None = None

    def on_resize(self) -> None:
        if self._state is not None:
            self.show(self._state)

    def show(self, state: RunState) -> None:
        self._state = state
        width = (self.size.width or self.app.size.width) - 2
        shape, word, tone = state_mark(state.state, audited=state.audited)
        if state.trains and state.state == "running":
            word = "training"
        elif state.evaluates and state.state == "running":
            word = "evaluating"
        elif state.refits and state.state == "running":
            word = "refitting"
        right = row((f"{shape} {word}", f"bold {TONES[tone]}"), ("  ", ""), clock_text(state.elapsed_s))
        room = width - right.cell_length - 2
        left = next((line for line in _who(state) if line.cell_length <= room), None)
        if left is None:
            left = _who(state)[-1].truncate(max(0, room), ellipsis=True)
        spec = one_line(state.spec.removesuffix(".md").rpartition("/")[2], 40) or "–"
        spec_piece = (spec, "") if spec == MAIN_SPEC or spec == "–" else (f"◆ {spec}", "bold $text-warning")
        reason = one_line(state.reason, 80) if state.finished or state.state == "interrupted" else ""
        about = row((reason, QUIET))
        if state.owner:
            about = row((f"attached to process {state.owner}", TONES["busy"]), (f"  {reason}" if reason else "", QUIET))
        second = row(("spec ", QUIET), spec_piece, ("  model ", QUIET), one_line(state.model, 40) or "–")
        self.update(Content("\n").join([_spread(left, right, width), _spread(second, about, width)]))


def _who(state: RunState) -> list[Content]:
    """The first line's left side, the whole first, then with less and less of it."""
    accepted = count(state.accepted)
    if state.target:
        accepted += f" ({count(state.target)} wanted)" if state.accepted > state.target else f"/{count(state.target)}"
    kind = state.headline
    tone = TONES["good"] if kind.shown else TONES["warn"]
    run = (one_line(state.run_id, 28) or "–", "bold")
    seed = row(("  seed ", QUIET), "–" if state.seed is None else f"{state.seed}")
    told = row(("  accepted ", QUIET), accepted)
    name = row(("cai ", "bold $accent"), ("run ", QUIET), run)
    if not state.accepted and not state.finished:
        return [row(name, seed, told), row(name, told), row(("run ", QUIET), run, ("  + ", QUIET), accepted), row(run)]
    whole, short = row("  ", (kind.told, tone)), row("  ", (kind.short, tone))
    wanted = row((f" · {count(state.target)} wanted", QUIET)) if state.target else Content("")
    return [
        row(name, seed, whole, wanted),
        row(name, whole, wanted),
        row(name, whole),
        row(name, short, wanted),
        row(name, short),
        row(("run ", QUIET), run, short),
        row(run, short),
        row(run),
    ]


def _spread(left: Content, right: Content, width: int) -> Content:
    """Both on one line of `width` cells; the right one is kept whole unless it is the longer."""
    room = width - left.cell_length
    if right.cell_length > room - 2:
        if right.cell_length > width // 2:
            right = right.truncate(max(0, room - 2), ellipsis=True) if room > 8 else Content("")
        else:
            left = left.truncate(width - right.cell_length - 2, ellipsis=True)
    gap = max(1, width - left.cell_length - right.cell_length)
    return Content.assemble(left, " " * gap, right)
