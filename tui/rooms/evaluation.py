"""Evaluation: how it stands, what is right by type, paired results, the answers behind them; before that, what a claim
needs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import DataTable, Static

from tui.live.state import RunState
from tui.messages import RunWanted, WriteWanted
from tui.reads import blind
from tui.reads.evaluation import EvaluationRead, Rates, Standing, answered, discordant, rates, rates_beside, standing
from tui.rooms import busy, or_wrong
from tui.rooms.tabular import TableRoom
from tui.widgets.columns import Columns
from tui.widgets.evaluation.blind import BlindScreen
from tui.widgets.evaluation.forest import Forest
from tui.widgets.evaluation.needs import asked_lines, needs_lines
from tui.widgets.evaluation.plan import EvaluationPlanScreen
from tui.widgets.evaluation.standing import standing_lines
from tui.widgets.evaluation.table import COLUMNS, answers_cells, result_cells
from tui.widgets.marks import QUIET, TONES, lines, row
from tui.widgets.plan import Plan as Offer
from tui.widgets.tables import PlainTable, vi_keys
from tui.words.evaluation import place
from tui.words.text import make_visible

if TYPE_CHECKING:
    from store.db import Store
    from store.read import Reader
    from tui.reads.library import RunHistory

_EMPTY = (
    "Nothing was evaluated in this run yet. e shows what would be asked, and asks: the base first, which the gap gate "
    "before training needs; after training the tuned model too."
)
_NO_OTHER = "No other run of this store was asked the same items."
_COLUMNS = {"needs": "What a claim needs", "asked": "What would be asked"}
STANDING_ROWS = 3  # of the smallest screen
SMALL = 30
BOTH = 170  # columns from which rates and results stand beside each other


class EvaluationRoom(TableRoom, can_focus=True):
    DEFAULT_CSS = """
    EvaluationRoom { layout: vertical; }
    #evaluation-standing { height: auto; }
    #evaluation-panes { height: 1fr; }
    #evaluation-results { width: 1fr; height: 1fr; }
    #evaluation-table { height: 1fr; }
    #evaluation-items { height: 1fr; }
    #evaluation-item, #evaluation-empty { height: auto; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("e", "evaluate", "Evaluate", id="evaluation.evaluate", tooltip="What would be asked; asks it"),
        Binding("n", "item(1)", "Next item", id="evaluation.next", tooltip="The next item"),
        Binding("N", "item(-1)", "Item before", id="evaluation.previous", show=False, tooltip="The item before"),
        Binding("x", "reverse", "Reverse", id="evaluation.reverse",
                tooltip="Items that became right, or wrong; of one condition those that are right, or wrong"),
        Binding("b", "blind", "Read blind", id="evaluation.blind",
                tooltip="Judge answers that changed sides without seeing whose they are or what the scorer said"),
        Binding("v", "view", "View", id="evaluation.view",
                tooltip="Between what is right by type and the results with the answers behind them"),
        Binding("o", "over", "Lay over", id="evaluation.over",
                tooltip="Lay the rates of the next run that was asked the same items over these; after the last none"),
        Binding("tab", "app.focus_next", "Read", id="evaluation.read", show=False, tooltip="Scroll what is below"),
        *vi_keys("evaluation"),
    ]  # fmt: skip

    def __init__(self) -> None:
        super().__init__(id="evaluation")
        self._run_id = ""
        self._stale = True
        self._state: RunState | None = None
        self._standing: Standing | None = None
        self._over: Rates | None = None
        self._results_shown = False  # instead of the rates, where there is no room for both
        self._rows: dict[str, Mapping[str, Any]] = {}
        self._gained = True
        self._found = EvaluationRead(0, ())
        self._item = 0
        self._told: tuple[object, ...] = ()

    def compose(self) -> ComposeResult:
        head = Static("", id="evaluation-standing", classes="panel", markup=False)
        head.border_title = "Evaluation"
        yield head
        with Vertical(id="evaluation-empty", classes="panel") as empty:
            empty.border_title = "Evaluation"
            yield Static(row((_EMPTY, QUIET)), id="evaluation-lead", markup=False)
            yield Columns(_COLUMNS, EvaluationPlanScreen.WAITING, id="evaluation-plan", beside=90)
        with Horizontal(id="evaluation-panes"):
            yield Forest(id="evaluation-rates")
            with Vertical(id="evaluation-results"):
                yield PlainTable("Results", id="evaluation-table")
                with VerticalScroll(id="evaluation-items", classes="panel"):
                    yield Static("", id="evaluation-item", markup=False)
                    with Horizontal(id="evaluation-sides", classes="sides"):
                        yield Static("", id="evaluation-before", markup=False)
                        yield Static("", id="evaluation-after", markup=False)

    def on_mount(self) -> None:
        self._forest, self._plan = self.query_one(Forest), self.query_one(Columns)
        table = self.table
        self._divide()
        for at, (name, width) in enumerate(COLUMNS):
            table.add_column(name, key=f"{at}{name}", width=width)

    def know(self, history: RunHistory) -> None:
        self._stale = True

    def show(self, state: RunState) -> None:
        self._state = state
        if state.run_id != self._run_id:
            self._run_id, self._stale, self._over = state.run_id, True, None
            self._forest.lay_over(None)
            self._plan.wait()
            self.look()
        phase = state.phases.get("evaluation")
        told = (state.evaluates and state.active, phase and (phase.done, phase.planned), state.state)
        if told != self._told:
            self._told, self._stale = told, True
            self._head()

    def look(self) -> None:
        run_id = self._run_id
        if self._stale and run_id:
            self._stale = False
            self.look_up("reading results", partial(_read, run_id=run_id), self._learn)

    def _learn(self, read: tuple[Standing, Rates]) -> None:
        found, own = read
        if own.run_id != self._run_id:
            return  # an answer about the run before
        self._forest.learn(own, found.results, found.judged, found.frontier)
        if not found.conditions:
            self._offer(lambda offer: self._would(found, offer))
        if found == self._standing:
            return
        had_results = self._standing is not None and bool(self._standing.results)
        self._standing = found
        table = self.table
        results = {
            f"{one['capability']}/{one['before']}/{one['after']}/{one['item_type']}": one for one in found.results
        }
        test = [one for one in found.conditions if one["split"] == "test"]
        test.sort(key=lambda one: (one["capability"] != "instruction_following", place(one["condition"])))
        self._rows = results | {f"{one['capability']}/{one['condition']}": one for one in test}
        reach = max((abs(one[name]) for one in found.results for name in ("lo", "hi")), default=1.0)
        first = bool(results) and not had_results
        with table.keep_cursor():
            for key, one in self._rows.items():
                cells = result_cells(one, reach) if key in results else answers_cells(one)
                table.add_row(*cells, key=key)
        if first:  # what was waited for stands above what was looked at meanwhile
            table.move_cursor(row=0, animate=False)
        self._divide()
        self.refresh_bindings()
        told = f"{len(results)} comparisons · bars to ±{100 * reach:.0f} %" if results else "answers by condition"
        told += " · on test items"
        table.border_subtitle = told if self._rows else ""
        self._head()
        if not self._rows:
            self._found = EvaluationRead(0, ())
        if self.has_focus_within:
            self.home()

    def _would(self, found: Standing, offer: Offer | str) -> None:
        self._plan.show("needs", partial(needs_lines, found, offer))
        self._plan.show("asked", asked_lines(offer))

    def _divide(self) -> None:
        """What is shown: what a claim needs until something was asked; then rates, results, or both."""
        asked, both = bool(self._rows), self.size.width >= BOTH
        self.query_one("#evaluation-empty").display = not asked
        self.query_one("#evaluation-standing").display = self._standing is not None and self._standing.begun
        self.query_one("#evaluation-panes").display = asked
        self._forest.display = both or not self._results_shown
        self.query_one("#evaluation-results").display = both or self._results_shown

    def _head(self) -> None:
        head = self.query_one("#evaluation-standing", Static)
        if self._standing is None or not head.display:
            return
        small = self.size.height < SMALL
        head.update(lines(standing_lines(self._standing, max(30, self.size.width - 4), STANDING_ROWS if small else 9)))
        state = self._state
        phase = state.phases.get("evaluation") if state is not None else None
        busy = state is not None and state.evaluates and state.active and phase is not None
        head.border_subtitle = f"asking: {phase.done:,} of {phase.planned:,}" if busy and phase is not None else ""

    def on_resize(self) -> None:
        self._divide()
        self.call_after_refresh(self._head)

    def home(self) -> None:
        where = self.table if self._results_shown else self._forest
        self.screen.set_focus(where if self._rows else self)

    @property
    def chosen(self) -> Mapping[str, Any] | None:
        return self._rows.get(self.table.under_cursor)

    @on(DataTable.RowHighlighted, "#evaluation-table")
    def open_items(self) -> None:
        chosen, gained, run_id = self.chosen, self._gained, self._run_id
        if chosen is None:
            return
        if "before" in chosen:
            self.look_up("reading items", lambda reader: discordant(reader, chosen, gained), self._differ)
        else:
            self.look_up("reading answers", lambda reader: answered(reader, run_id, chosen, gained), self._differ)

    def _differ(self, found: EvaluationRead) -> None:
        self._found, self._item = found, 0
        self._tell()

    def _tell(self) -> None:
        box, text = self.query_one("#evaluation-items"), self.query_one("#evaluation-item", Static)
        before, after = self.query_one("#evaluation-before", Static), self.query_one("#evaluation-after", Static)
        chosen, items = self.chosen, self._found.items
        paired = chosen is not None and "before" in chosen
        way = _way(self._gained, paired=paired)
        box.border_subtitle, box.border_title = "", f"Test items that {way}"
        after.display = bool(chosen is not None and items)
        before.display = after.display and paired
        if chosen is None:
            return
        if not items:
            text.update(row((f"No item {way} here; x shows the reverse.", QUIET)))
            return
        item = items[self._item]
        box.border_subtitle = f"{self._item + 1} of {self._found.total:,} · n next · x the reverse"
        head = [row((f"{item['item_type']} ", "bold"), (str(item["item_id"]), QUIET))]
        for turn, answer in item["history"] or ():
            head += [row(("› ", QUIET), make_visible(turn)), row(("  ", ""), (make_visible(answer), QUIET))]
        head.append(Content(make_visible(item["prompt"])))
        if item["reference"]:
            head.append(row(("reference ", QUIET), make_visible(item["reference"])))
        text.update(lines(head))
        if paired:
            before.update(_side(str(chosen["before"]), item["before_answer"], item["before_why"], not self._gained))
        name = str(chosen["after"] if paired else chosen["condition"])
        after.update(_side(name, item["after_answer"], item["after_why"], self._gained))

    def action_item(self, by: int) -> None:
        if self._found.items:
            self._item = (self._item + by) % len(self._found.items)
            self._tell()

    def action_reverse(self) -> None:
        self._gained = not self._gained
        self.open_items()

    def action_cursor(self, step: int) -> None:
        if self._rows:
            super().action_cursor(step)
        else:
            self._plan.scroll(step)

    def action_view(self) -> None:
        """Show the results or the rates; where both are shown the keys go over. The chosen type goes with them."""
        self._results_shown = not self._results_shown
        self._divide()
        if self._results_shown and (key := self._forest.chosen) is not None:
            at = [(one["capability"], one.get("item_type")) for one in self._rows.values()]
            if key in at:
                self.table.move_cursor(row=at.index(key), animate=False)
        self.home()
        self.refresh_bindings()

    def action_over(self) -> None:
        run_id, last = self._run_id, self._over
        items = self._standing.items_sha256 if self._standing is not None else None

        def laid(over: Rates | None) -> None:
            if run_id != self._run_id:
                return
            if over is None and last is None:
                self.notify(_NO_OTHER, markup=False)
            self._over = over
            self._forest.lay_over(over)

        self.look_up("laying a run over", lambda reader: rates_beside(reader, run_id, items, last), laid)

    def _offer(self, then: Callable[[Offer | str], None]) -> None:
        """Work out what would be asked."""
        run_id = self._run_id

        def offer(reader: Reader) -> Offer:
            from engine.analyses.offers import evaluation_offer  # not before the first frame: it brings DuckDB

            return evaluation_offer(reader, run_id)

        self.work_out("working out an evaluation", offer, then)

    def action_evaluate(self) -> None:
        run_id = self._run_id

        def settle(then: Callable[[str], None]) -> None:
            def register(store: Store) -> str:
                from engine.analyses.offers import preregister

                preregister(store, run_id)
                return ""

            self.post_message(WriteWanted("registering", lambda store: or_wrong(lambda: register(store)), then))

        def answered_(offer: Offer | None) -> None:
            if offer is not None:
                self.post_message(RunWanted("evaluate", run_id))

        self.app.push_screen(EvaluationPlanScreen(run_id, self._offer, settle, lambda: busy(self._state)), answered_)

    def action_blind(self) -> None:
        run_id, chosen, by = self._run_id, self.chosen, self.reads_as
        assert chosen is not None

        def keep(subject_id: str, label: str) -> None:
            def write(store: Store) -> None:
                blind.keep_blind_label(store, run_id, subject_id, label, by)

            self.post_message(WriteWanted("keeping a label", write, kept))

        def kept(_: object) -> None:
            self._stale = True

        def told(text: str) -> None:
            self._stale = True
            self.notify(f"{text[:1].upper()}{text[1:]}", markup=False)
            self.look()

        def show(found: Sequence[Mapping[str, Any]]) -> None:
            if not found:
                told = f"Every item that changed sides in this comparison was read by {by}."
                if not chosen["gained"] + chosen["lost"]:
                    told = "No item changed sides in this comparison: there is nothing to read blind."
                self.notify(told, markup=False)
                return
            self.app.push_screen(BlindScreen(found, keep), closed)

        def closed(read: int | None) -> None:
            if read and self._state is not None and self._state.evaluates and self._state.active:
                # Now it would be a look at part of the answers.
                self.notify("Kept. The scorer is compared with you when the evaluation is through.", markup=False)
            elif read:
                self.post_message(
                    WriteWanted("comparing with the scorer", lambda store: blind.settle_reading(store, run_id), told)
                )

        self.look_up("choosing items", lambda reader: blind.to_read(reader, run_id, chosen, by), show)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action == "evaluate":
            return bool(self._run_id)
        if action == "blind" and (self.chosen is None or "before" not in self.chosen):
            return False
        if action in ("item", "reverse", "blind"):
            return bool(self._rows) and self.query_one("#evaluation-results").display
        return bool(self._rows) if action in ("view", "over") else True


def _read(reader: Reader, run_id: str) -> tuple[Standing, Rates]:
    found = standing(reader, run_id)
    return found, rates(reader, run_id, found.items_sha256)


def _way(gained: bool, *, paired: bool) -> str:
    if paired:
        return "became right" if gained else "became wrong"
    return "are right" if gained else "are wrong"


def _side(name: str, answer: str, why: str, right: bool) -> Content:
    mark, tone = ("✓ right", TONES["good"]) if right else ("✗ wrong", TONES["bad"])
    return lines(
        [row((f"{name} ", "bold"), (mark, tone)), Content(make_visible(answer)), row((make_visible(why), QUIET))]
    )
