"""The samples of a run as a table with its filters, beside the detail of the one under the cursor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import DataTable, Input, Static

from tui.library import PAGE
from tui.rooms import Room
from tui.state import RunState
from tui.text import one_line
from tui.widgets.detail import SampleDetail
from tui.widgets.marks import QUIET, row
from tui.widgets.tables import PlainTable, vi_keys
from tui.wording import VERDICT_SHAPES

_RICH_TONES = {"accepted": "success", "rejected": "error", "unsure": "warning"}
_FIXED = (("#", 5), ("verdict", 10), ("score", 6))
_ORDERS = ("in order", "best first", "worst first")


class SamplesRoom(Room):
    SEARCHES = True
    """Asks for pages by message and shows what comes; it sorts and searches within the page it has."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("a", "only('accepted')", "Accepted", id="samples.accepted", show=False, tooltip="Accepted only"),
        Binding("r", "only('rejected')", "Rejected", id="samples.rejected", show=False, tooltip="Rejected only"),
        Binding("u", "only('unsure')", "Unsure", id="samples.unsure", show=False, tooltip="Unsure only"),
        Binding("e", "only('')", "Every", id="samples.every", show=False, tooltip="Every verdict"),
        Binding("o", "order", "Order", id="samples.order", show=False, tooltip="By score: best or worst first"),
        Binding("right_square_bracket", "page(1)", "Next page", id="samples.next", show=False,
                tooltip="The next page of samples"),
        Binding("left_square_bracket", "page(-1)", "Previous page", id="samples.previous", show=False,
                tooltip="The previous page of samples"),
        Binding("enter", "read", "Read", id="samples.read", show=False, tooltip="Scroll the detail of this sample"),
        Binding("escape", "back", "Back", id="samples.back", show=False, tooltip="Back to the table"),
        *vi_keys("samples"),
    ]  # fmt: skip

    def __init__(self) -> None:
        super().__init__(id="samples")
        self.verdict: str | None = None
        self.page = 0
        self._order = 0
        self._search = ""
        self._rows: list[Mapping[str, Any]] = []
        self._more = False
        self._shown: list[tuple[object, ...]] = []
        self._critic: str | None = None
        self._run_id, self._done, self._accept_above = "", 0, None
        self._read_at: tuple[str, int] = ("", -1)
        self._columns: tuple[tuple[str, int], ...] = ()

    def compose(self) -> ComposeResult:
        with Vertical(id="samples-list", classes="panel") as panel:
            panel.border_title = "Samples"
            yield Static(id="samples-filter", markup=False)
            yield Input(placeholder="search this page, Enter keeps, Esc clears", id="samples-search")
            yield PlainTable(id="samples-table")
        yield SampleDetail()

    def on_mount(self) -> None:
        self.query_one("#samples-search").display = False
        self._paint()

    def on_resize(self) -> None:
        self.call_after_refresh(self._paint)

    def _fit_columns(self, table: PlainTable) -> None:
        """Give instruction and response the room that the fixed columns leave; flags only where there is plenty."""
        room = table.size.width - 2 - sum(width + 2 for _, width in _FIXED)
        flags = 20 if room > 90 else 0
        texts = max(24, room - 4 - (flags + 2 if flags else 0))
        wanted = (*_FIXED, ("instruction", texts * 2 // 5), ("response", texts - texts * 2 // 5))
        wanted = (*wanted, ("flags", flags)) if flags else wanted
        if wanted != self._columns:
            self._columns, self._shown = wanted, []
            table.clear(columns=True)
            for name, width in wanted:
                table.add_column(name, key=name, width=width)

    def show_page(self, rows: Sequence[Mapping[str, Any]], critic: str | None, page_size: int) -> None:
        """Show a page. `rows` may hold one more than the page, which says that there is a next one."""
        self._more = len(rows) > page_size
        self._rows = list(rows[:page_size])
        self._critic = critic
        self._paint()

    def want(self) -> None:
        run_id, verdict, page = self._run_id, self.verdict, self.page
        if run_id:
            self.read(
                "reading samples",
                lambda library: library.samples(run_id, verdict, page * PAGE),
                lambda rows: self.show_page(rows, self._critic, PAGE),
            )

    def show(self, state: RunState) -> None:
        keys = [key for key in state.critics_by_weight if key[1] == "sample"]
        self._critic = keys[0][0] if keys else None
        self._run_id, self._accept_above = state.run_id, state.accept_above
        self._done = state.phase("responses").done + state.phase("response_judgements").done

    def look(self) -> None:
        """Read again if there can be more than is shown."""
        if (self._run_id, self._done) != self._read_at:
            self._read_at = (self._run_id, self._done)
            self.want()

    def home(self) -> None:
        self.query_one(PlainTable).focus()

    def find(self) -> None:
        box = self.query_one("#samples-search", Input)
        box.display = True
        box.focus()

    def action_only(self, verdict: str) -> None:
        self.verdict, self.page = verdict or None, 0
        self.want()

    def action_order(self) -> None:
        self._order = (self._order + 1) % len(_ORDERS)
        self._paint()

    def action_page(self, step: int) -> None:
        if (step > 0 and self._more) or (step < 0 and self.page > 0):
            self.page += step
            self.want()

    def action_read(self) -> None:
        self.query_one(SampleDetail).focus()

    def action_back(self) -> None:
        box = self.query_one("#samples-search", Input)
        if box.display:
            box.value, box.display = "", False
        self.home()

    def action_cursor(self, step: int) -> None:
        self.query_one(PlainTable).step(step)

    @on(Input.Changed, "#samples-search")
    def search(self, event: Input.Changed) -> None:
        self._search = event.value.casefold()
        self._paint()

    @on(Input.Submitted, "#samples-search")
    def keep_search(self) -> None:
        self.home()

    @on(DataTable.RowHighlighted, "#samples-table")
    def open_sample(self, event: DataTable.RowHighlighted) -> None:
        if event.row_key is not None and event.row_key.value:
            run_id, sample_id = self._run_id, event.row_key.value
            self.read(
                "reading a sample",
                lambda library: library.sample(run_id, sample_id),
                lambda sample: self.query_one(SampleDetail).show(sample, self._accept_above),
            )

    @on(DataTable.RowSelected, "#samples-table")
    def read_sample(self) -> None:
        self.action_read()

    def _score(self, item: Mapping[str, Any]) -> float | None:
        scores = item.get("scores") or {}
        value = scores.get(self._critic) if self._critic else next(iter(scores.values()), None)
        return None if value is None else float(value)

    def _visible_rows(self) -> list[Mapping[str, Any]]:
        rows = self._rows
        if self._search:
            needle = self._search
            rows = [r for r in rows if needle in f"{r['instruction']}\n{r['response']}".casefold()]
        if self._order:
            sign = -1 if self._order == 1 else 1
            known = [(sign * value, r["ordinal"], r) for r in rows if (value := self._score(r)) is not None]
            unknown = [r for r in rows if self._score(r) is None]
            rows = [item[2] for item in sorted(known, key=lambda item: item[:2])] + unknown
        return rows

    def _paint(self) -> None:
        table = self.query_one(PlainTable)
        self._fit_columns(table)
        rows = self._visible_rows()
        keys: list[tuple[object, ...]] = [(r["sample_id"], r["verdict"], self._score(r)) for r in rows]
        colours = self.app.theme_variables
        if keys != self._shown:
            # The common case while a run goes on: the page grew at its end.
            start = len(self._shown) if keys[: len(self._shown)] == self._shown else 0
            with table.keep_cursor(cleared=start == 0):
                for item in rows[start:]:
                    table.add_row(*self._cells(item, colours)[: len(self._columns)], key=item["sample_id"])
            self._shown = keys
        self.query_one("#samples-filter", Static).update(self._filter_line())
        more = f"{len(rows)} of >{len(self._rows)} · [ ] pages" if self._more else f"{len(rows)}"
        page = f" · page {self.page + 1}" if self.page or self._more else ""
        self.query_one("#samples-list").border_subtitle = Content(f"{more}{page} · {_ORDERS[self._order]} (o)")
        if not rows:
            empty = "No sample of this kind on this page." if self._rows or self.verdict else (
                "Samples appear here as soon as the first responses are written and judged."
            )  # fmt: skip
            self.query_one(SampleDetail).show_empty(empty)

    def _cells(self, item: Mapping[str, Any], colours: Mapping[str, str]) -> list[Text]:
        verdict = item["verdict"] or "pending"
        score = self._score(item)
        tone = colours.get(_RICH_TONES.get(verdict, ""), "")
        return [
            Text(str(item["ordinal"]), justify="right"),
            Text(f"{VERDICT_SHAPES.get(verdict, '·')} {verdict}", style=tone),
            Text("–" if score is None else f"{score:+.2f}", justify="right"),
            Text(one_line(item["instruction"] or "", 60)),
            Text(one_line(item["response"] or "", 90)),
            Text(", ".join(item["flags"] or ()), style=colours.get("warning", "")),
        ]

    def _filter_line(self) -> Content:
        pieces: list[tuple[str, str]] = []
        for key, word in (("a", "accepted"), ("r", "rejected"), ("u", "unsure"), ("e", "every")):
            chosen = self.verdict == word or (word == "every" and self.verdict is None)
            pieces.append((f" {key} {VERDICT_SHAPES.get(word, '∗')} {word} ", "bold reverse" if chosen else QUIET))
        return row(*pieces)
