"""Every sample of a run, chosen by filters and conditions, sorted by any column, beside all that is known of one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Input, Static

from store.names import LABELS, READING, SPLITS
from tui.live.state import RunState
from tui.reads.lineage import lineage
from tui.rooms import or_wrong
from tui.rooms.labelling import LabellingRoom, label_keys
from tui.rooms.listing import back_key, list_keys, verdict_keys
from tui.rooms.wish import Found, Wish, parse_range
from tui.widgets.endless import EndlessTable
from tui.widgets.marks import TONES, row
from tui.widgets.samples.detail import SampleDetail
from tui.widgets.samples.filters import FilterBar
from tui.widgets.samples.lineage import LineageScreen
from tui.widgets.samples.table import HINTS, WORDS, SamplesTable, columns_for
from tui.words.text import as_json, as_text, make_visible

if TYPE_CHECKING:
    from store.read import Reader

_SPLITS = (None, *SPLITS)
LABELLED = (None, "any", *LABELS)
TELLING = ("blind", "lineage", "copy", "pager")  # what shows more of a sample than a person who labels blind may see


class SamplesRoom(LabellingRoom):
    SEARCHES = True
    BINDINGS: ClassVar[list[BindingType]] = [
        *verdict_keys("samples", "Accepted only", "Rejected only", "Unsure only"),
        Binding("f", "flagged", "Flagged", id="samples.flagged", show=False, tooltip="Only those that a rule flagged"),
        Binding("t", "split", "Split", id="samples.split", show=False, tooltip="Next split: train, validation, test"),
        Binding("L", "labelled", "Labels", id="samples.labelled", show=False, tooltip="Those that a person labelled"),
        Binding("m", "ask('margin')", "Margin", id="samples.margin", show=False, tooltip="A range of margins"),
        Binding("w", "ask('where')", "Where", id="samples.where", show=False, tooltip="A condition in SQL"),
        *list_keys("samples", "Sort by the next column"),
        Binding("O", "turn", "Turn", id="samples.turn", show=False, tooltip="Sort the other way round"),
        *label_keys(),
        Binding("i", "ask('note')", "Note", id="samples.note", show=False, tooltip="Write a note to its label"),
        Binding("h", "blind", "Blind", id="samples.blind", show=False, tooltip="Hide verdicts and margins to label"),
        Binding("l", "lineage", "Lineage", id="samples.lineage", tooltip="Where this sample comes from and leads to"),
        Binding("Y", "copy('text')", "Copy", id="samples.copy", show=False, tooltip="Copy the sample as text"),
        Binding("J", "copy('json')", "Copy JSON", id="samples.copy_json", show=False, tooltip="Copy it as JSON"),
        Binding("v", "pager", "Pager", id="samples.pager", show=False, tooltip="Open the sample in $PAGER"),
        back_key("samples"),
    ]  # fmt: skip

    def __init__(self) -> None:
        super().__init__(id="samples")
        self.wish = Wish()
        self._critic: str | None = None
        self._run_id, self._done = "", 0
        self._accept_above: float | None = None
        self._read_at: tuple[object, ...] = ()
        self._sample: Mapping[str, Any] | None = None
        self._asking = ""
        self._noted: tuple[str, str] | None = None  # the sample that a note is written about, and its label
        self._seek = ""
        self._left: Mapping[str, Any] = {}  # where the person was the last time, until the run is shown
        self._given = []

    def compose(self) -> ComposeResult:
        with Vertical(id="samples-list", classes="panel") as panel:
            panel.border_title = "Samples"
            yield FilterBar()
            yield Input(id="samples-input")
            yield Static(id="samples-told", markup=False)
            yield SamplesTable(id="samples-table")
        yield SampleDetail()

    def on_mount(self) -> None:
        self._close_input()
        self._paint()

    def on_resize(self) -> None:
        self.call_after_refresh(self._paint)

    # -- what is shown -----------------------------------------------------------------------------------------------

    def prepare(self, state: RunState) -> None:
        self.show(state)
        self.look()

    def show(self, state: RunState) -> None:
        keys = [key for key in state.critics_by_weight if key[1] == "sample"]
        critic = keys[0][0] if keys else None
        if critic != self._critic:
            self._critic = critic
            self.table.critic = critic
            self._paint()
        if state.run_id != self._run_id:
            self.wish, self._listing, self._given = Wish.of(self._left.get("wish")), None, []
            self._seek, self._left = str(self._left.get("sample") or ""), {}
            self.leave_queue()
        self._run_id, self._accept_above = state.run_id, state.accept_above
        if self._active and state.refits and not state.active:
            self._read_at = ()  # what was decided anew is listed anew
        self._active = state.active
        self.query_one(SampleDetail).no_scale = self.table.no_scale = state.no_scale
        self._done = state.phase("responses").done + state.phase("response_judgements").done

    def left_at(self) -> dict[str, Any]:
        here = self.table.row_at(self.table.cursor)
        return {"wish": asdict(self.wish), "sample": "" if here is None else here["sample_id"]}

    def come_back(self, left: Mapping[str, Any]) -> None:
        self._left = left

    def look(self) -> None:
        """List anew if there can be more than is listed."""
        if self._run_id and (self._run_id, self._done) != self._read_at:
            self.want()

    def want(self, *, top: bool = False) -> None:
        """List by the wish, the cursor on the sample it is on, or on the first."""
        run_id, wish, critic = self._run_id, self.wish, self._critic
        self._read_at = (run_id, self._done)
        if not run_id:
            return
        row = self.table.row_at(self.table.cursor)
        seek = self._seek or (row["sample_id"] if row is not None and self._listing is not None and not top else "")
        if self._queue is not None:
            self.want_queue(seek)
            return

        def arrived(found: Found) -> None:
            if wish == self.wish and run_id == self._run_id:
                self.listed(found)

        self.look_up("listing samples", wish.finder(run_id, critic, seek, self.reads_as), arrived)

    def listed(self, found: Found) -> None:
        self._listing, at, first, rows = found
        self._seek = ""
        self.table.order = ("", False) if self._queue is not None else (self.wish.order, self.wish.descending)
        self.table.begin(len(self._listing), cursor=at, pages={first: rows})
        self._paint()

    def visit(self, subject: str) -> None:
        """Put the cursor on a sample that another room named, among all samples; for READING read what was drawn."""
        if subject == READING:
            self.begin_reading()
            return
        self.leave_queue()
        self.wish, self._seek = Wish(), subject
        self.want()

    def _paint(self) -> None:
        table, wish = self.table, self.wish
        table.fit(columns_for(table.size.width))
        self.query_one(FilterBar).show(
            verdict=wish.verdict, flagged=wish.flagged, split=wish.split, label=wish.label, margin=wish.margin,
            text=wish.text, where=wish.where, width=max(20, self.query_one("#samples-list").size.width - 4),
        )  # fmt: skip
        panel = self.query_one("#samples-list")
        critic = f" of {self._critic}" if self._critic and wish.order == "score" else ""
        down = "▼" if wish.descending else "▲"
        panel.border_subtitle = Content(f"{table.count:,} · by {WORDS[wish.order]}{critic} {down} · ? keys")
        panel.border_title = "Samples · blind: verdicts and margins hidden" if table.blind else "Samples"
        if self._queue is not None:
            panel.border_title = "Samples · what teaches most, blind · u undoes, Q leaves"
            if self._queue.labels is not None:
                panel.border_title = "Samples · read blind: y good, b bad · u undoes, B leaves"
            panel.border_subtitle = Content(self.progress)
        if not table.count:
            empty = "Samples appear here as soon as the first responses are written and judged."
            if self._queue is not None:
                empty = "Every sample that the rules let through has your label. Q goes back to the list."
                if self._queue.labels is not None:
                    empty = "Nothing is drawn to be read: no candidate is decided, or the spec's gate.read_at_least is "
                    empty += "0. B goes back to the list."
            elif wish != Wish():
                empty = "No sample is like this. x clears the filters."
            self._sample = None
            self.query_one(SampleDetail).show_empty(empty)

    def page(self, reader: Reader, listing: Any, offset: int, limit: int) -> list[dict[str, Any]]:
        return reader.page(listing, offset, limit, self.reads_as)

    @on(EndlessTable.Highlighted)
    def rest_on(self, event: EndlessTable.Highlighted) -> None:
        self.open_at_rest(lambda: self._open(event.row["sample_id"]), at_once=self._sample is None)

    def _open(self, sample_id: str) -> None:
        run_id, by = self._run_id, self.reads_as
        self.read("reading a sample", lambda library: library.sample(run_id, sample_id, by), self._opened)

    def _opened(self, sample: Mapping[str, Any]) -> None:
        self._sample = sample
        self.query_one(SampleDetail).show(sample, self._accept_above, blind=self.table.blind)
        box = self.query_one("#samples-input", Input)
        if self._asking == "note" and not box.value:
            box.value = self._known_note()

    @on(EndlessTable.Chosen)
    def read_sample(self) -> None:
        self.query_one(SampleDetail).focus()

    # -- choosing ----------------------------------------------------------------------------------------------------

    def choose(self, **fields: Any) -> None:
        """Change the wish; a new order is looked at from its top."""
        self.leave_queue()
        self.wish = replace(self.wish, **fields)
        self._paint()
        self.want(top="order" in fields or "descending" in fields)

    def action_only(self, verdict: str) -> None:
        if verdict == "unsure" and self._queue is not None:  # there is no verdict to be seen there
            self.action_undo()
            return
        self.choose(verdict=verdict or None)

    def action_flagged(self) -> None:
        self.choose(flagged=not self.wish.flagged)

    def action_split(self) -> None:
        self.choose(split=_SPLITS[(_SPLITS.index(self.wish.split) + 1) % len(_SPLITS)])

    def action_labelled(self) -> None:
        self.choose(label=LABELLED[(LABELLED.index(self.wish.label) + 1) % len(LABELLED)])

    def action_clear(self) -> None:
        self._close_input()
        self.choose(**asdict(Wish()))

    def action_order(self) -> None:
        names = [column.name for column in self.table.columns if column.name]
        at = names.index(self.wish.order) if self.wish.order in names else -1
        self.sort_by(names[(at + 1) % len(names)])

    def action_turn(self) -> None:
        self.choose(descending=not self.wish.descending)

    def sort_by(self, column: str) -> None:
        """By that column, scores best first; by the same column again: the other way round."""
        same = column == self.wish.order
        self.choose(order=column, descending=not self.wish.descending if same else column == "score")

    @on(EndlessTable.HeadClicked)
    def sort_by_click(self, event: EndlessTable.HeadClicked) -> None:
        self.sort_by(event.column)

    # -- typing ------------------------------------------------------------------------------------------------------

    def find(self) -> None:
        self.action_ask("text")

    def action_ask(self, what: str) -> None:
        """Open the line for a text, a margin range, a condition or a note."""
        box = self.query_one("#samples-input", Input)
        self._noted = self.to_be_noted() if what == "note" else None
        if what == "note" and self._noted is None:
            if self.table.row_at(self.table.cursor) is not None:
                self.notify("A note goes with a label. Label the sample first: y good, b bad, d unsure.")
            return
        self._close_input()
        self._asking = what
        box.placeholder = HINTS[what]
        if self._noted is not None:
            box.placeholder = f"{HINTS[what]} · to {self._noted[0][:16]}, {self._noted[1]}"
        known = {"text": self.wish.text, "margin": self.wish.margin, "where": self.wish.where}
        box.value = known.get(what, "") or self._known_note()
        box.display = True
        self.screen.set_focus(box)

    @on(Input.Changed, "#samples-input")
    def forget_what_was_wrong(self) -> None:
        self.query_one("#samples-told").display = False

    @on(Input.Submitted, "#samples-input")
    def take(self, event: Input.Submitted) -> None:
        event.stop()
        value, what = event.value.strip(), self._asking
        if what == "margin":
            ends = parse_range(value)
            if ends is None:
                self.notify("A range has two ends with … between, one may be left out: -0.5 … 0.5", severity="warning")
                return
            if self._critic is None:
                self.notify("No critic has judged these samples: there are no margins to choose by.")
            self.choose(lowest=ends[0], highest=ends[1])
        elif what == "note":
            if self._noted is not None:
                self.keep_label(*self._noted, value)
        elif what == "where" and value:
            self._try(value)
            return
        else:
            self.choose(**{what: value})
        self._close_input()
        self.home()

    def _try(self, condition: str) -> None:
        """List by a condition; one that cannot be used is explained under its line, which stays open."""
        wish = replace(self.wish, where=condition)
        run_id, find = self._run_id, wish.finder(self._run_id, self._critic, by=self.reads_as)

        def arrived(found: Found | str) -> None:
            if isinstance(found, str):
                told = self.query_one("#samples-told", Static)
                told.update(row(("✗ ", TONES["bad"]), make_visible(found, limit=400)))
                told.display = self._asking == "where"
            elif run_id == self._run_id and self._asking == "where":
                self.wish, self._read_at = wish, (run_id, self._done)
                self.leave_queue()
                self.listed(found)
                self._close_input()
                self.home()

        self.look_up("trying a condition", lambda reader: or_wrong(lambda: find(reader)), arrived)

    def _close_input(self) -> None:
        self._asking = ""
        self.query_one("#samples-input").display = False
        self.query_one("#samples-told").display = False

    def action_back(self) -> None:
        self._close_input()
        super().action_back()

    # -- labels ------------------------------------------------------------------------------------------------------

    def _known_note(self) -> str:
        """The note that is to be changed, as far as the detail knows it: it follows the cursor later."""
        sample = self._sample
        if self._noted is None or sample is None or sample["sample_id"] != self._noted[0]:
            return ""
        return str((sample.get("person_label") or {}).get("note", ""))

    def action_blind(self) -> None:
        self.show_blind(not self.table.blind)

    def show_blind(self, blind: bool) -> None:
        self.table.blind = blind
        self.table.refresh()
        self._paint()
        if self._sample is not None:
            self._opened(self._sample)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        return not (self._queue is not None and action in TELLING)

    # -- out of here -------------------------------------------------------------------------------------------------

    def action_lineage(self) -> None:
        if (row := self.table.row_at(self.table.cursor)) is None:
            return
        run_id, sample_id = self._run_id, row["sample_id"]
        what = "following a sample's lineage"
        self.look_up(what, lambda reader: lineage(reader, run_id, sample_id), self._show_lineage)

    def _show_lineage(self, nodes: Any) -> None:
        def left(sample_id: str | None) -> None:
            if sample_id:
                self.visit(sample_id)

        self.app.push_screen(LineageScreen(nodes), left)

    def action_copy(self, how: str) -> None:
        if self._sample is not None:
            text = as_json(self._sample) if how == "json" else as_text(self._sample)
            self.host.copy_text(text, f"sample {self._sample['sample_id'][:12]} as {how}")

    def action_pager(self) -> None:
        if self._sample is not None:
            self.host.open_in_pager(as_text(self._sample))
