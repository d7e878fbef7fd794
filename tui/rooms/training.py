"""Training: curves of every measured quantity with a cursor that reads them, speed, memory, checkpoints."""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Grid
from textual.content import Content
from textual.widgets import Static

from store.names import ALIVE
from tui.live.state import RunState
from tui.messages import RunWanted
from tui.reads.training import TrainingRead, first_batch, training_offer, trainings
from tui.rooms import Room, busy
from tui.widgets.marks import QUIET, lines, row, sparkline
from tui.widgets.plan import Plan
from tui.widgets.training.account import account_lines
from tui.widgets.training.first_batch import FirstBatchScreen
from tui.widgets.training.plan import TrainingPlanScreen
from tui.words.wording import phase_of

if TYPE_CHECKING:
    from tui.widgets.training.curve import Curve

_EMPTY = (
    "Nothing is trained in this run yet. n shows what would be trained, what locks it and the memory that it may take, "
    "and trains: SFT first, then preferences. Curves of loss, learning rate and gradient norm, of reward margin and "
    "accuracy too where preferences are trained, appear here at every step."
)
_BEGINS = "A training begins: the data is locked and the model is being loaded."
LOOK_S = 0.5  # between two reads while steps come in
CURVE_ROWS = 7  # kept for the curve on the smallest screen
PLOT_ROWS, PLOT_COLUMNS = 12, 90  # what a curve needs before a second one is put beside or below it


class Quantity(NamedTuple):
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
        Binding("n", "train", "Train", id="training.train", tooltip="What would be trained and what locks it; trains"),
        Binding("m", "first_batch", "Batch", id="training.first_batch",
                tooltip="The first batch as text: what was learned and what was only read"),
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
        Binding("t", "other", "Other", id="training.other", show=False, tooltip="Another training of this run"),
    ]  # fmt: skip

    def __init__(self) -> None:
        super().__init__(id="training", classes="panel")
        self.border_title = "Training"
        self._run_id = ""
        self._found: TrainingRead | None = None
        self._steps: list[Mapping[str, Any]] = []
        self._chosen = ""
        self._quantity = 0
        self._at: int | None = None  # index into the steps; None follows the newest
        self._curves: list[Curve] = []
        self._state: RunState | None = None
        self._wanted = ""  # a training to show as soon as it is there
        self._at_work = ""  # the training that the room followed last
        self._told: object = None
        self._looked_at = 0.0

    def compose(self) -> ComposeResult:
        yield Static(row((_EMPTY, QUIET)), id="training-head", markup=False)
        yield Grid(id="training-curves")
        yield Static("", id="training-values", markup=False)

    def show(self, state: RunState) -> None:
        """Show the training that begins, and read its steps as they come, at most twice a second."""
        begins, self._state = self._state is not state, state
        if state.run_id != self._run_id:
            self._run_id, self._found, self._steps, self._chosen, self._at = state.run_id, None, [], "", None
            self._quantity, self._told = 0, None
            self._paint()
            self.look()
        one = state.trainings.latest
        told = (state.state, None if one is None else (one.training_id, one.state, one.step, one.heldout_loss))
        if one is not None and (begins or one.training_id != self._at_work):
            self._wanted = self._at_work = one.training_id
        if told != self._told and time.monotonic() - self._looked_at >= LOOK_S:
            self._told = told
            self.look()

    @property
    def _known(self) -> int:
        """The last step but one: the last is read again, with the held-out loss that is measured after it."""
        return max(0, int(self._steps[-1]["step"]) - 1) if self._steps else 0

    def look(self) -> None:
        run_id, wanted = self._run_id, self._wanted or self._chosen
        self._looked_at = time.monotonic()
        if run_id:
            known = self._known if wanted == self._chosen else 0
            self.look_up("reading a training", lambda reader: trainings(reader, run_id, wanted, known), self._learn)

    def _learn(self, found: TrainingRead) -> None:
        if found.run_id != self._run_id or (found.training_id == self._chosen and found.after != self._known):
            return  # an answer to an older question
        if found.training_id == self._wanted:
            self._wanted = ""
        if found.training_id != self._chosen:
            self._chosen, self._steps, self._at, self._quantity = found.training_id, [], None, 0
        same, self._found = found == self._found, found
        chosen = self._training()
        if same and (chosen is None or chosen["state"] != "running"):
            return
        first = found.steps[0]["step"] if found.steps else 0
        while found.steps and self._steps and self._steps[-1]["step"] >= first:
            self._steps.pop()
        self._steps.extend(found.steps)
        self._paint()
        self.refresh_bindings()
        at_work = next((str(item["training_id"]) for item in found.trainings if item["state"] == "running"), "")
        if at_work and at_work != self._at_work:  # its process has told nothing yet
            self._wanted = self._at_work = at_work
            if at_work != self._chosen:
                self.look()

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
            begins = self._state is not None and self._state.active and bool(self._state.trains)
            head.update(row((_BEGINS if begins else _EMPTY, QUIET)))
            self.border_title = "Training"
            values.update("")
            self.border_subtitle = ""
            return
        all_of = self._trainings
        place = [str(item["training_id"]) for item in all_of].index(self._chosen) + 1
        self.border_title = Content(f"Training · {chosen['method'].upper()} · {self._chosen}")
        self.border_subtitle = f"{place} of {len(all_of)} · t another" if len(all_of) > 1 else ""
        width = max(30, self.content_size.width)
        account = account_lines(
            chosen, self._steps, self._found.checkpoints if self._found else (), width,
            price_per_hour=self.price_per_hour, doing=self._doing(chosen), at=self._step_of(chosen),
        )  # fmt: skip
        head.update(lines(account))
        if not self._steps:
            values.update(row(("No step has ended yet.", QUIET)))
            return
        values.update(lines(self._readout(width, len(account))))
        self.call_after_refresh(self._draw)  # when the curves have got the height that the lines around them leave

    @property
    def _trainings(self) -> Sequence[Mapping[str, Any]]:
        return self._found.trainings if self._found else ()

    def _training(self) -> Mapping[str, Any] | None:
        return next((item for item in self._trainings if item["training_id"] == self._chosen), None)

    def _step_of(self, chosen: Mapping[str, Any]) -> int | None:
        """Where the process is that works on the training, which may repeat steps; None where none does."""
        one = self._state.trainings.latest if self._state is not None and self._state.active else None
        return one.step if one is not None and one.training_id == chosen["training_id"] else None

    def _doing(self, chosen: Mapping[str, Any]) -> str:
        """What the engine does with the training that is shown, where it is not just taking steps."""
        state = self._state
        if state is None or not state.active or chosen["state"] not in ALIVE:
            return ""
        if state.state == "stopping":
            return "finishing the step, which is kept"
        if state.trains and chosen["training_id"] not in state.trainings.ids:
            return "loading the model"
        pausing = state.state in ("pausing", "paused") and chosen["state"] == "running"
        return "pausing after the step" if pausing else ""

    def _readout(self, width: int, above: int) -> list[Content]:
        step = self._steps[self.index]
        where = "newest" if self._at is None else "Esc follows"
        rows = [row((f"at step {step['step']:,}, epoch {step['epoch']:.2f} ", "bold"), (where, QUIET))]
        room = max(8, min(48, width - 44))
        found = self.quantities
        # A small screen keeps the chosen quantity and those after it, for the curve to have room.
        fits = max(1, min(len(found), self.content_size.height - CURVE_ROWS - above))
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
        from tui.widgets.training.curve import Curve  # its library takes a tenth of a second

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
        names = [str(item["training_id"]) for item in self._trainings]
        if len(names) > 1:
            self._chosen = names[(names.index(self._chosen) + 1) % len(names)]
            self._steps, self._at, self._quantity, self._wanted = [], None, 0, ""
            self.look()

    def action_train(self) -> None:
        run_id = self._run_id
        price = self.price_per_hour
        if not run_id:
            return

        def ask(kind: str, then: Callable[[Plan | str], None]) -> None:
            what = f"working out a training, {kind}"
            self.work_out(what, lambda reader: training_offer(reader, run_id, kind, price), then)

        def answered(plan: Plan | None) -> None:
            if plan is not None:
                self._wanted = str(plan["training_id"])
                options = {"kind": plan["kind"], "changed": plan["changed"]}
                self.post_message(RunWanted("train", run_id, options))

        self.app.push_screen(
            TrainingPlanScreen(run_id, self._kind_to_offer(), ask, lambda: busy(self._state)), answered
        )

    def _kind_to_offer(self) -> str:
        """Preferences once SFT is done, but what was left in the middle comes first."""
        rows = self._trainings
        left = [item for item in rows if item["state"] in ("stopped", "failed")]
        if left and left[-1] is rows[-1]:
            return phase_of(str(left[-1]["method"]))
        return "dpo" if any(item["method"] == "sft" and item["state"] == "done" for item in rows) else "sft"

    def action_first_batch(self) -> None:
        run_id, training_id = self._run_id, self._chosen
        self.look_up(
            "reading the first batch",
            lambda reader: first_batch(reader, run_id, training_id),
            lambda batch: self.app.push_screen(FirstBatchScreen(training_id, batch)),
        )

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action == "train":
            return bool(self._run_id)
        if action == "first_batch":
            chosen = self._training()
            return chosen is not None and bool(chosen["has_first_batch"])
        if action == "other":
            return len(self._trainings) > 1
        return bool(self._steps) if action in ("read_at", "read_end", "quantity") else True


def _thinned(values: Sequence[float], most: int) -> list[float]:
    """The values, or the means of `most` groups of neighbours where there are more."""
    if len(values) <= most:
        return list(values)
    edges = [at * len(values) // most for at in range(most + 1)]
    return [statistics.fmean(values[a:b]) for a, b in itertools.pairwise(edges)]
