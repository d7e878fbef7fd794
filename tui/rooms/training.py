"""Training: a grid of curves of what is measured, one large, another training laid over; before that, what bars it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widgets import Static

from store.names import ALIVE, TRAINING_PHASES
from tui.live.state import RunState
from tui.messages import RunWanted
from tui.reads.training import LaidOver, TrainingRead, first_batch, lay_over, training_offer, trainings
from tui.rooms import Room, busy
from tui.widgets.columns import Columns
from tui.widgets.marks import QUIET, lines, row
from tui.widgets.plan import Plan
from tui.widgets.training.account import account_lines
from tui.widgets.training.curve import OTHER, OWN
from tui.widgets.training.curves import Curves
from tui.widgets.training.first_batch import FirstBatchScreen
from tui.widgets.training.plan import NAMES, TrainingPlanScreen, plan_lines
from tui.words.wording import phase_of

if TYPE_CHECKING:
    from tui.reads.library import RunHistory

_EMPTY = "Nothing is trained in this run yet. n trains what has no shut lock: SFT first, then preferences."
_BEGINS = "A training begins: the data is locked and the model is being loaded."
_NO_OTHER = "No other training of this store took a step."
LOOK_S = 0.5  # between two reads while steps come in


class TrainingRoom(Room, can_focus=True):
    DEFAULT_CSS = """
    TrainingRoom { layout: vertical; }
    #training-head, #training-values { height: auto; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("n", "train", "Train", id="training.train", tooltip="What would be trained and what locks it; trains"),
        Binding("m", "first_batch", "Batch", id="training.first_batch",
                tooltip="The first batch as text: what was learned and what was only read"),
        Binding("enter", "large", "Large", id="training.large", tooltip="Open the chosen curve large"),
        Binding("w", "smooth", "Smooth", id="training.smooth",
                tooltip="Exponential moving average with the next factor, the measured curve faint behind it"),
        Binding("o", "over", "Lay over", id="training.over",
                tooltip="Lay the store's next training over this one; after the last none"),
        Binding("left_square_bracket", "read_at(-1)", "Step back", id="training.step_back",
                tooltip="Read the step before"),
        Binding("right_square_bracket", "read_at(1)", "Step on", id="training.step_on", tooltip="Read the next step"),
        Binding("shift+left,H", "read_at(-25)", "Far back", id="training.far_left", show=False,
                tooltip="Read 25 steps before"),
        Binding("shift+right,L", "read_at(25)", "Far on", id="training.far_right", show=False,
                tooltip="Read 25 steps on"),
        Binding("home", "read_end(0)", "First", id="training.first", show=False, tooltip="Read the first step"),
        Binding("end", "read_end(1)", "Newest", id="training.newest", show=False,
                tooltip="Read the newest step, and follow"),
        Binding("escape", "back", "Back", id="training.back", show=False,
                tooltip="From a large curve to all of them; from a step to the newest, and follow"),
        Binding("left,h", "move(-1, 0)", "Left", id="training.left", show=False,
                tooltip="The curve to the left; with one large the step before"),
        Binding("right,l", "move(1, 0)", "Right", id="training.right", show=False,
                tooltip="The curve to the right; with one large the next step"),
        Binding("down,j", "move(0, 1)", "Down", id="training.down", show=False,
                tooltip="The curve below; with one large the next one"),
        Binding("up,k", "move(0, -1)", "Up", id="training.up", show=False,
                tooltip="The curve above; with one large the one before"),
        Binding("t", "other", "Other", id="training.other", tooltip="Another training of this run"),
    ]  # fmt: skip

    def __init__(self) -> None:
        super().__init__(id="training", classes="panel")
        self.border_title = "Training"
        self._run_id = ""
        self._found: TrainingRead | None = None
        self._steps: list[Mapping[str, Any]] = []
        self._chosen = ""
        self._at: int | None = None  # index into the steps; None follows the newest
        self._over: LaidOver | None = None
        self._state: RunState | None = None
        self._wanted = ""  # a training to show as soon as it is there
        self._at_work = ""  # the training that the room followed last
        self._told: tuple[object, ...] | None = None
        self._looked_at = 0.0
        self._stale = True  # whether what could be trained has to be worked out anew
        self._said: dict[str, Content] = {}

    def compose(self) -> ComposeResult:
        yield Static("", id="training-head", markup=False)
        yield Static("", id="training-values", markup=False)
        yield Curves(id="training-curves")
        yield Columns(NAMES, TrainingPlanScreen.WAITING, id="training-plans", beside=56)

    def on_mount(self) -> None:
        self._curves = self.query_one(Curves)
        self._plans = self.query_one(Columns)
        self._paint()

    def know(self, history: RunHistory) -> None:
        self._stale = True

    def show(self, state: RunState) -> None:
        """Show the training that begins, and read its steps as they come, at most twice a second."""
        begins, self._state = self._state is not state, state
        if state.run_id != self._run_id:
            self._run_id, self._found, self._chosen, self._stale = state.run_id, None, "", True
            self._told = None
            self._forget()
            self._plans.wait()
            self._paint()
            self.look()
        one = state.trainings.latest
        told = (state.state, None if one is None else (one.training_id, one.state, one.step, one.heldout_loss))
        if one is not None and (begins or one.training_id != self._at_work):
            self._wanted = self._at_work = one.training_id
        if told != self._told and time.monotonic() - self._looked_at >= LOOK_S:
            self._stale |= self._told is None or told[0] != self._told[0]
            self._told = told
            self.look()

    def _forget(self) -> None:
        """Another training is shown: nothing of the one before is read or laid over."""
        self._steps, self._at, self._over = [], None, None
        self._curves.lay_over(())

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
        if run_id and self._stale and self._found is not None and not self._trainings:
            self._stale = False
            for kind in TRAINING_PHASES:
                self._ask(kind, partial(self._would, kind))

    def _would(self, kind: str, plan: Plan | str) -> None:
        self._plans.show(kind, partial(plan_lines, plan))

    def _learn(self, found: TrainingRead) -> None:
        if found.run_id != self._run_id or (found.training_id == self._chosen and found.after != self._known):
            return  # an answer to an older question
        if found.training_id == self._wanted:
            self._wanted = ""
        if found.training_id != self._chosen:
            self._chosen = found.training_id
            self._forget()
        same, self._found = found == self._found, found
        chosen = self._training()
        if same and (chosen is None or chosen["state"] != "running"):
            return
        first = found.steps[0]["step"] if found.steps else 0
        kept = len(self._steps)
        while found.steps and kept and self._steps[kept - 1]["step"] >= first:
            kept -= 1
        if self._steps[kept:] != list(found.steps):
            self._steps[kept:] = found.steps
            self._curves.learn(self._steps)
        self._paint()
        self.refresh_bindings()
        at_work = next((str(item["training_id"]) for item in found.trainings if item["state"] == "running"), "")
        if at_work and at_work != self._at_work:  # its process has told nothing yet
            self._wanted = self._at_work = at_work
            if at_work != self._chosen:
                self.look()

    @property
    def index(self) -> int:
        last = len(self._steps) - 1
        return last if self._at is None else max(0, min(last, self._at))

    def _say(self, where: str, told: Content) -> None:
        """Update a line of text where it says something else; it takes the lines that it needs."""
        before, self._said[where] = self._said.get(where), told
        if told != before:
            same = before is not None and before.plain.count("\n") == told.plain.count("\n")
            line = self.query_one(where, Static)
            line.display = bool(told)
            line.update(told, layout=not same)

    def _paint(self) -> None:
        """All of it: what was learned, and the size, may be others."""
        chosen = self._training()
        self._curves.display = bool(self._steps)
        self._plans.display = chosen is None
        self.border_title, self.border_subtitle = "Training", ""
        if chosen is None:
            begins = self._state is not None and self._state.active and bool(self._state.trains)
            self._say("#training-head", row((_BEGINS if begins else _EMPTY, QUIET)))
            self._say("#training-values", Content(""))
            return
        self.border_title = Content(f"Training · {chosen['method'].upper()} · {self._chosen}")
        account = account_lines(
            chosen, self._steps, self._found.checkpoints if self._found else (), self._width,
            price_per_hour=self.price_per_hour, doing=self._doing(chosen), at=self._step_of(chosen),
        )  # fmt: skip
        self._say("#training-head", lines(account))
        self._read()

    @property
    def _width(self) -> int:
        return max(30, self.content_size.width)

    def _read(self) -> None:
        """What stands at the step that is read, and how the curves are drawn."""
        if not self._steps:
            self._say("#training-values", row(("No step has ended yet.", QUIET)))
            self._count()
            return
        step = self._steps[self.index]
        where = "newest" if self._at is None else "Esc follows"
        pieces: list[Content] = [row((f"at step {step['step']:,}, epoch {step['epoch']:.2f} ", "bold"), (where, QUIET))]
        if (over := self._over) is not None:
            last = f", {over.steps[-1]['step']:,} steps" if over.steps else ""
            name = over.training_id if over.run_id == self._run_id else f"{over.run_id} {over.training_id}"
            pieces.append(row(("━━ ", OWN), self._chosen, ("  ╍╍ ", OTHER), f"{name}{last}",
                              (f" ({over.place} of {over.of})", QUIET)))  # fmt: skip
        if self._curves.factor:
            pieces.append(row((f"EMA {self._curves.factor:g} a step, raw faint", QUIET)))
        line = self._curves.line
        if self._curves.large and line is not None and line.range is not None:
            low, high = line.range
            told = f"least {low:.4g} at step {line.where(low):,}, greatest {high:.4g} at {line.where(high):,}"
            pieces.append(row((told, QUIET)))
        found = [pieces[0]]
        for piece in pieces[1:]:
            if found[-1].cell_length + piece.cell_length + 3 <= self._width:
                found[-1] = Content.assemble(found[-1], (" · ", QUIET), piece)
            else:
                found.append(piece)
        self._say("#training-values", lines([piece.truncate(self._width, ellipsis=True) for piece in found]))
        self._curves.read_at(int(step["step"]))
        self._count()

    @on(Curves.Paged)
    def _count(self) -> None:
        """Which of the curves are shown, and which of the trainings."""
        first, last, many = self._curves.page
        told = [f"curves {first}–{last} of {many}"] if last - first + 1 < many else []
        names = [str(item["training_id"]) for item in self._trainings]
        told += [f"training {names.index(self._chosen) + 1} of {len(names)} · t another"] if names[1:] else []
        self.border_subtitle = " · ".join(told)

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

    def on_resize(self, event: events.Resize) -> None:
        self.call_after_refresh(self._paint)

    def action_read_at(self, by: int) -> None:
        if self._steps:
            self._at = max(0, min(len(self._steps) - 1, self.index + by))
            self._read()

    def action_read_end(self, which: int) -> None:
        self._at = None if which else 0
        self._read()

    def action_back(self) -> None:
        if self._curves.large:
            self._open(large=False)
        else:
            self.action_read_end(1)

    def action_move(self, across: int, down: int) -> None:
        if not self._steps:
            self._plans.scroll(down)
        elif self._curves.large and across:
            self.action_read_at(across)
        else:
            self._curves.choose(across, down)
            self._read()

    def action_large(self) -> None:
        self._open(large=True)

    def _open(self, *, large: bool) -> None:
        self._curves.large = large
        self._read()
        self.refresh_bindings()

    def on_curves_chosen(self, event: Curves.Chosen) -> None:
        self._open(large=self._curves.large != event.again)

    def action_smooth(self) -> None:
        self._curves.smooth()
        self._read()

    def action_over(self) -> None:
        run_id, training_id, last = self._run_id, self._chosen, self._over

        def laid(over: LaidOver | None) -> None:
            if training_id != self._chosen:
                return
            if over is None and last is None:
                self.notify(_NO_OTHER, markup=False)
            self._over = over
            self._curves.lay_over(over.steps if over is not None else ())
            self._read()

        self.look_up("laying a training over", lambda reader: lay_over(reader, run_id, training_id, last), laid)

    def action_other(self) -> None:
        names = [str(item["training_id"]) for item in self._trainings]
        if len(names) > 1:
            self._chosen = names[(names.index(self._chosen) + 1) % len(names)]
            self._wanted = ""
            self._forget()
            self.look()

    def _ask(self, kind: str, then: Callable[[Plan | str], object]) -> None:
        """Work out what a training would be."""
        run_id, price = self._run_id, self.price_per_hour
        what = f"working out a training, {kind}"
        self.work_out(what, lambda reader: training_offer(reader, run_id, kind, price), then)

    def action_train(self) -> None:
        run_id = self._run_id
        if not run_id:
            return

        def answered(plan: Plan | None) -> None:
            if plan is not None:
                self._wanted = str(plan["training_id"])
                options = {"kind": plan["kind"], "changed": plan["changed"]}
                self.post_message(RunWanted("train", run_id, options))

        self.app.push_screen(
            TrainingPlanScreen(run_id, self._kind_to_offer(), self._ask, lambda: busy(self._state)), answered
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
        if action == "large":
            return bool(self._steps) and not self._curves.large
        return bool(self._steps) if action in ("read_at", "read_end", "back", "smooth", "over") else True
