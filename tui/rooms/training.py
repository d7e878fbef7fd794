"""Training: curves of every measured quantity with a cursor that reads them, speed, memory, checkpoints."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Grid
from textual.content import Content
from textual.widgets import Static

from tui.query_training import Found, trainings
from tui.rooms import Room
from tui.state import RunState
from tui.text import one_line
from tui.widgets.marks import QUIET, TONES, lines, progress_bar, row, sparkline
from tui.wording import STATES, format_seconds

if TYPE_CHECKING:
    from tui.widgets.curve import Curve

_EMPTY = (
    "Curves of loss, learning rate and gradient norm, for DPO reward margin and accuracy too, appear here "
    "while a model is trained: after the data gate has passed, with SFT first. Nothing is trained in this run yet."
)
SPEED_OVER_STEPS = 20
CURVE_ROWS = 7  # kept for the curve on the smallest screen
PLOT_ROWS, PLOT_COLUMNS = 12, 90  # what a curve needs before a second one is put beside or below it


@dataclass(frozen=True, slots=True)
class Quantity:
    key: str
    title: str
    short: str
    digits: str


QUANTITIES = (
    Quantity("loss", "Loss", "loss", ".4f"),
    Quantity("heldout_loss", "Held-out loss", "held-out", ".4f"),
    Quantity("learning_rate", "Learning rate", "lr", ".2e"),
    Quantity("grad_norm", "Gradient norm", "grad norm", ".3f"),
    Quantity("entropy", "Entropy, nats per token", "entropy", ".3f"),
    Quantity("reward_margin", "Reward margin", "margin", "+.3f"),
    Quantity("reward_accuracy", "Reward accuracy", "accuracy", ".3f"),
)


class TrainingRoom(Room, can_focus=True):
    DEFAULT_CSS = """
    TrainingRoom { layout: vertical; }
    #training-head { height: auto; }
    #training-curves { height: 1fr; grid-size: 1; }
    #training-values { height: auto; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left,h", "read_at(-1)", "Back", id="training.left", tooltip="Read the step before"),
        Binding("right,l", "read_at(1)", "On", id="training.right", tooltip="Read the next step"),
        Binding("shift+left,H", "read_at(-25)", "Far back", id="training.far_left", show=False,
                tooltip="Read 25 steps before"),
        Binding("shift+right,L", "read_at(25)", "Far on", id="training.far_right", show=False,
                tooltip="Read 25 steps on"),
        Binding("home", "read_end(0)", "First", id="training.first", show=False, tooltip="Read the first step"),
        Binding("end,escape", "read_end(1)", "Newest", id="training.newest", show=False,
                tooltip="Read the newest step, and follow"),
        Binding("down,j", "quantity(1)", "Next curve", id="training.down", tooltip="The next quantity"),
        Binding("up,k", "quantity(-1)", "Curve before", id="training.up", show=False, tooltip="The quantity before"),
        Binding("t", "other", "Training", id="training.other", tooltip="Another training of this run"),
    ]  # fmt: skip

    def __init__(self) -> None:
        super().__init__(id="training", classes="panel")
        self.border_title = "Training"
        self._run_id = ""
        self._found: Found | None = None
        self._steps: list[Mapping[str, Any]] = []
        self._chosen = ""
        self._quantity = 0
        self._at: int | None = None  # index into the steps; None follows the newest
        self._curves: list[Curve] = []

    def compose(self) -> ComposeResult:
        yield Static(row((_EMPTY, QUIET)), id="training-head", markup=False)
        yield Grid(id="training-curves")
        yield Static("", id="training-values", markup=False)

    def show(self, state: RunState) -> None:
        if state.run_id != self._run_id:
            self._run_id, self._found, self._steps, self._chosen, self._at = state.run_id, None, [], "", None
            self._quantity = 0
            self._paint()
            self.look()

    def look(self) -> None:
        run_id, wanted = self._run_id, self._chosen
        if run_id:
            known = int(self._steps[-1]["step"]) if self._steps else 0
            self.read(
                "reading a training",
                lambda library: library.reading(lambda reader: trainings(reader, run_id, wanted, known)),
                self._learn,
            )

    def _learn(self, found: Found) -> None:
        known = int(self._steps[-1]["step"]) if self._steps else 0
        if found.run_id != self._run_id or (found.training_id == self._chosen and found.after != known):
            return  # an answer to an older question
        if found.training_id != self._chosen:
            self._chosen, self._steps = found.training_id, []
        new = (found.trainings, found.checkpoints) != (
            (self._found.trainings, self._found.checkpoints) if self._found else None
        )
        self._found = found
        self._steps.extend(found.steps)
        if found.steps or new:
            self._paint()
            self.refresh_bindings()

    @property
    def quantities(self) -> list[Quantity]:
        """What this training measured at least once."""
        return [item for item in QUANTITIES if any(step[item.key] is not None for step in self._steps)]

    @property
    def index(self) -> int:
        last = len(self._steps) - 1
        return last if self._at is None else max(0, min(last, self._at))

    def _paint(self) -> None:
        head, values = self.query_one("#training-head", Static), self.query_one("#training-values", Static)
        chosen = self._training()
        self.query_one("#training-curves").display = bool(self._steps)
        if chosen is None:
            head.update(row((_EMPTY, QUIET)))
            values.update("")
            self.border_subtitle = ""
            return
        all_of = self._found.trainings if self._found else ()
        place = [str(item["training_id"]) for item in all_of].index(self._chosen) + 1
        self.border_title = Content(f"Training · {chosen['method'].upper()}")
        self.border_subtitle = f"{place} of {len(all_of)} · t another" if len(all_of) > 1 else ""
        width = max(30, self.content_size.width)
        head.update(lines(self._account(chosen, width)))
        if not self._steps:
            values.update(row(("No step has ended yet.", QUIET)))
            return
        values.update(lines(self._readout(width)))
        self.call_after_refresh(self._draw)  # when the curves have got the height that the lines around them leave

    def _training(self) -> Mapping[str, Any] | None:
        rows = self._found.trainings if self._found else ()
        return next((item for item in rows if item["training_id"] == self._chosen), None)

    def _account(self, chosen: Mapping[str, Any], width: int) -> list[Content]:
        shape, word, tone = STATES.get(str(chosen["state"]), ("?", str(chosen["state"]), "quiet"))
        planned = int(chosen["planned_steps"])
        done = int(self._steps[-1]["step"]) if self._steps else 0
        recent = self._steps[-SPEED_OVER_STEPS:]
        spent = sum(step["seconds"] for step in recent)
        speed = f"{sum(step['n_tokens'] for step in recent) / spent:,.0f} tok/s" if spent > 0 else ""
        left = (planned - done) * statistics.median(step["seconds"] for step in recent) if recent else 0.0
        eta = f"ETA {format_seconds(left)}" if chosen["state"] == "running" and recent and left > 0 else ""
        peak = max((step["memory_bytes"] or 0 for step in self._steps), default=0)
        has = f" of {chosen['device_bytes'] / 2**30:.0f}" if chosen["device_bytes"] else ""
        memory = f"{peak / 2**30:.1f}{has} GiB" if peak else ""
        figures = " · ".join(part for part in (speed, eta, memory, str(chosen["device"])) if part)
        rows = [
            row((f"{shape} {word} ", TONES.get(tone, "")), progress_bar(done / planned if planned else 0.0, 16),
                (f" step {done:,} of {planned:,}", "bold"), (f" · {figures}" if width >= 100 else "", "")),
        ]  # fmt: skip
        if width < 100:
            rows.append(row((one_line(figures, width), "")))
        if chosen["reason"]:
            rows.append(row((one_line(str(chosen["reason"]), width), TONES["warn"])))
        rows.append(row((one_line(self._checkpoints(), width), QUIET)))
        return rows

    def _checkpoints(self) -> str:
        kept = self._found.checkpoints if self._found else ()
        if not kept:
            return "no checkpoint yet"
        last = kept[-1]
        told = f"last checkpoint: step {last['step']:,} ({last['n_bytes'] / 2**20:,.0f} MiB)"
        measured = [item for item in kept if item["heldout_loss"] is not None]
        if measured:
            best = min(measured, key=lambda item: item["heldout_loss"])
            told += f" · best: step {best['step']:,}, held-out loss {best['heldout_loss']:.4f}"
        return told

    def _readout(self, width: int) -> list[Content]:
        step = self._steps[self.index]
        where = "newest" if self._at is None else "Esc follows"
        rows = [row((f"at step {step['step']:,}, epoch {step['epoch']:.2f} ", "bold"), (where, QUIET))]
        room = max(8, min(48, width - 44))
        found = self.quantities
        # A small screen keeps the chosen quantity and those after it, for the curve to have room.
        fits = max(1, min(len(found), self.content_size.height - CURVE_ROWS - 4))
        first = min(self._quantity, len(found) - fits)
        for at, item in list(enumerate(found))[first : first + fits]:
            series = [float(one[item.key]) for one in self._steps if one[item.key] is not None]
            value = step[item.key]
            told = "–" if value is None else format(value, item.digits)
            spread = f"{format(min(series), item.digits)} … {format(max(series), item.digits)}"
            here = at == self._quantity
            rows.append(
                row(("▸ " if here else "  ", "bold"), (f"{item.short:<10}", "bold" if here else QUIET),
                    (f"{told:>10}  ", "bold"), (f"{sparkline(_thinned(series, room), room):<{room}}", "$accent"),
                    (f"  {spread}" if width >= 80 else "", QUIET))
            )  # fmt: skip
        return rows

    def _draw(self) -> None:
        """As many curves as there is room for, the chosen one first."""
        from tui.widgets.curve import Curve

        grid = self.query_one("#training-curves", Grid)
        found = self.quantities
        if not found:
            return
        size = grid.content_size
        columns = 2 if size.width >= 2 * PLOT_COLUMNS else 1
        many = min(len(found), columns * max(1, size.height // PLOT_ROWS))
        while len(self._curves) < many:
            curve = Curve()
            self._curves.append(curve)
            grid.mount(curve)
        grid.styles.grid_size_columns = min(columns, many)
        for at, curve in enumerate(self._curves):
            curve.display = at < many
            if at < many:
                item = found[(self._quantity + at) % len(found)]
                points = [(int(one["step"]), float(one[item.key])) for one in self._steps if one[item.key] is not None]
                curve.draw(item.title, points, int(self._steps[self.index]["step"]), item.digits)

    def on_resize(self, event: events.Resize) -> None:
        self.call_after_refresh(self._paint)

    def action_read_at(self, by: int) -> None:
        if self._steps:
            self._at = max(0, min(len(self._steps) - 1, self.index + by))
            self._paint()

    def action_read_end(self, which: int) -> None:
        self._at = None if which else 0
        self._paint()

    def action_quantity(self, by: int) -> None:
        if self.quantities:
            self._quantity = (self._quantity + by) % len(self.quantities)
            self._paint()

    def action_other(self) -> None:
        names = [str(item["training_id"]) for item in (self._found.trainings if self._found else ())]
        if len(names) > 1:
            self._chosen = names[(names.index(self._chosen) + 1) % len(names)]
            self._steps, self._at, self._quantity = [], None, 0
            self.look()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action == "other":
            return self._found is not None and len(self._found.trainings) > 1
        return bool(self._steps) if action in ("read_at", "read_end", "quantity") else True


def _thinned(values: Sequence[float], most: int) -> list[float]:
    """The values, or the means of `most` groups of neighbours where there are more."""
    if len(values) <= most:
        return list(values)
    edges = [at * len(values) // most for at in range(most + 1)]
    return [statistics.fmean(values[a:b]) for a, b in itertools.pairwise(edges)]
