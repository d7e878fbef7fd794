"""Evaluation: paired results by condition and type, and the items on which two conditions differ, side by side."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.content import Content
from textual.widgets import DataTable, Static

from tui.query_evaluation import Discordant, discordant, results
from tui.rooms import Room
from tui.state import RunState
from tui.text import make_visible, one_line
from tui.widgets.marks import QUIET, interval_bar, lines, row
from tui.widgets.tables import PlainTable, vi_keys

if TYPE_CHECKING:
    from tui.library import RunHistory

_EMPTY = (
    "Paired results of the base and the tuned model appear here once both have answered the held-out items: each with "
    "its interval, test, corrected p value and effect size, and the items whose outcome changed. Nothing was evaluated "
    "in this run yet."
)
BAR = 21
_COLUMNS = (
    ("type", 16), ("n", 5), ("before", 7), ("after", 7), ("difference, 95 %", 22), ("", BAR), ("+ −", 9),
    ("p corrected", 12), ("p", 10), ("effect", 14), ("test", 24), ("compared", 28), ("", 12),
)  # fmt: skip


class EvaluationRoom(Room):
    DEFAULT_CSS = """
    EvaluationRoom { layout: vertical; }
    #evaluation-table { height: 1fr; }
    #evaluation-items { height: 1fr; }
    #evaluation-item, #evaluation-empty { height: auto; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("n", "item(1)", "Next item", id="evaluation.next", tooltip="The next item that changed sides"),
        Binding("N", "item(-1)", "Item before", id="evaluation.previous", show=False,
                tooltip="The item before that changed sides"),
        Binding("x", "reverse", "Reverse", id="evaluation.reverse",
                tooltip="Items that became right, or items that became wrong"),
        Binding("tab", "app.focus_next", "Read", id="evaluation.read", show=False, tooltip="Scroll what is below"),
        *vi_keys("evaluation"),
    ]  # fmt: skip

    def __init__(self) -> None:
        super().__init__(id="evaluation")
        self._run_id = ""
        self._stale = True
        self._rows: dict[str, Mapping[str, Any]] = {}
        self._gained = True
        self._found = Discordant(0, ())
        self._item = 0

    def compose(self) -> ComposeResult:
        table = PlainTable(id="evaluation-table")
        table.add_class("panel")
        table.border_title = "Evaluation"
        yield table
        with VerticalScroll(id="evaluation-items", classes="panel") as box:
            box.border_title = "Evaluation"
            yield Static(row((_EMPTY, QUIET)), id="evaluation-item", markup=False)
            with Horizontal(id="evaluation-sides", classes="sides"):
                yield Static("", id="evaluation-before", markup=False)
                yield Static("", id="evaluation-after", markup=False)

    def on_mount(self) -> None:
        table = self.query_one(PlainTable)
        table.display = False
        for at, (name, width) in enumerate(_COLUMNS):
            table.add_column(name, key=f"{at}{name}", width=width)

    def know(self, history: RunHistory) -> None:
        self._stale = True

    def show(self, state: RunState) -> None:
        if state.run_id != self._run_id:
            self._run_id, self._stale = state.run_id, True
            self.look()

    def look(self) -> None:
        run_id = self._run_id
        if self._stale and run_id:
            self._stale = False
            self.read("reading results", lambda lib: lib.reading(lambda r: results(r, run_id)), self._learn)

    def _learn(self, found: list[dict[str, Any]]) -> None:
        table = self.query_one(PlainTable)
        self._rows = {f"{one['before']}/{one['after']}/{one['item_type']}": one for one in found}
        reach = max((abs(one[name]) for one in found for name in ("lo", "hi")), default=1.0)
        with table.keep_cursor(cleared=True):
            for key, one in self._rows.items():
                table.add_row(*_cells(one, reach), key=key)
        table.display = bool(found)
        self.refresh_bindings()
        table.border_subtitle = f"{len(found)} comparisons · bars to ±{100 * reach:.0f} %" if found else ""
        if not found:
            self._found = Discordant(0, ())
            self._tell()
        if self.has_focus_within:
            self.home()

    def home(self) -> None:
        self.query_one(PlainTable if self._rows else "#evaluation-items").focus()

    def action_cursor(self, step: int) -> None:
        self.query_one(PlainTable).step(step)

    @property
    def chosen(self) -> Mapping[str, Any] | None:
        table = self.query_one(PlainTable)
        if not table.is_valid_row_index(table.cursor_row):
            return None
        return self._rows.get(str(table.coordinate_to_cell_key(table.cursor_coordinate).row_key.value))

    @on(DataTable.RowHighlighted, "#evaluation-table")
    def open_items(self) -> None:
        result, gained = self.chosen, self._gained
        if result is not None:
            self.read("reading items", lambda lib: lib.reading(lambda r: discordant(r, result, gained)), self._differ)

    def _differ(self, found: Discordant) -> None:
        self._found, self._item = found, 0
        self._tell()

    def _tell(self) -> None:
        box, text = self.query_one("#evaluation-items"), self.query_one("#evaluation-item", Static)
        before, after = self.query_one("#evaluation-before", Static), self.query_one("#evaluation-after", Static)
        result, items = self.chosen, self._found.items
        if result is None:
            text.update(row((_EMPTY, QUIET)))
        elif not items:
            text.update(row((f"No item {_way(self._gained)} here; x shows the reverse.", QUIET)))
        before.display = after.display = bool(result is not None and items)
        box.border_subtitle = ""
        box.border_title = f"Items that {_way(self._gained)}" if result is not None else "Evaluation"
        if result is None or not items:
            return
        item = items[self._item]
        box.border_subtitle = f"{self._item + 1} of {self._found.total:,} · n next · x the reverse"
        head = [
            row((f"{item['item_type']} ", "bold"), (str(item["item_id"]), QUIET)),
            Content(make_visible(item["prompt"])),
        ]
        if item["reference"]:
            head.append(row(("reference ", QUIET), make_visible(item["reference"])))
        text.update(lines(head))
        before.update(_side(str(result["before"]), item["before_answer"], item["before_why"], not self._gained))
        after.update(_side(str(result["after"]), item["after_answer"], item["after_why"], self._gained))

    def action_item(self, by: int) -> None:
        if self._found.items:
            self._item = (self._item + by) % len(self._found.items)
            self._tell()

    def action_reverse(self) -> None:
        self._gained = not self._gained
        self.open_items()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        return bool(self._rows) if action in ("item", "reverse") else True


def _way(gained: bool) -> str:
    return "became right" if gained else "became wrong"


def _side(name: str, answer: str, why: str, right: bool) -> Content:
    mark, tone = ("✓ right", "$text-success") if right else ("✗ wrong", "$text-error")
    return lines(
        [row((f"{name} ", "bold"), (mark, tone)), Content(make_visible(answer)), row((make_visible(why), QUIET))]
    )


def _cells(one: Mapping[str, Any], reach: float) -> list[Text | Content]:
    n = one["n"]
    whole = one["item_type"] == "all"
    share = lambda count: f"{100 * count / n:.1f} %" if n else "–"  # noqa: E731
    told = f"{100 * one['difference']:+.1f} [{100 * one['lo']:+.1f}, {100 * one['hi']:+.1f}]"
    corrected = "–" if one["p_corrected"] is None else f"{one['p_corrected']:.2g} {one['correction']}"
    plain = [
        one_line(str(one["item_type"]), 40), f"{n:,}", share(one["before_right"]), share(one["after_right"]), told
    ]  # fmt: skip
    rest = [
        f"+{one['gained']} −{one['lost']}", corrected, f"{one['p']:.2g}",
        f"{one['effect_name']} {one['effect']:+.2f}", one_line(f"{one['test']}, {one['interval_method']}", 60),
        f"{one['before']} → {one['after']}", "registered" if one["registered"] else "exploratory",
    ]  # fmt: skip
    style = "bold" if whole else ""
    bar = Text(interval_bar(one["difference"], one["lo"], one["hi"], BAR, reach))
    return [*(Text(text, style=style) for text in plain), bar, *(Text(text, style=style) for text in rest)]
