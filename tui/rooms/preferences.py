"""Preferences: principles with their evidence, revisions beside what they revise, and preference pairs."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Static

from store.names import PREFERENCE_PHASES
from tui.live.state import RunState
from tui.messages import GoTo
from tui.reads.preferences import (
    ORDERS,
    PAIRS,
    PRINCIPLES,
    REVISIONS,
    SOURCES,
    VIEWS,
    Listed,
    PairFilter,
    kept,
    listed,
    pair,
    principle,
    revision,
    rows_of,
    sample_of,
)
from tui.rooms.listing import ListingRoom, back_key, list_keys, verdict_keys
from tui.widgets.endless import PAGE, EndlessTable
from tui.widgets.marks import QUIET, row
from tui.widgets.preferences.detail import Told, tell_pair, tell_principle, tell_revision
from tui.widgets.preferences.table import PreferenceTable, columns_for
from tui.widgets.strip import ChoiceStrip
from tui.words.text import one_line
from tui.words.wording import VERDICT_SHAPES

if TYPE_CHECKING:
    from store.read import Reader
    from tui.reads.library import RunHistory

EVERY_S = 3.0  # listed anew at most this often while a run goes on
_EMPTY = (
    "Responses that pass their gate are criticised by a principle of the constitution and revised, and compared with "
    "others of their kind; the principles' evidence, the revisions and the preference pairs appear here as that goes "
    "on. They are made where the spec has pairs: cai run stage_6_small_model does so on the small model."
)
_SOON = {
    REVISIONS: "Revisions appear here once the first samples have passed their gate.",
    PAIRS: "Pairs appear here after the revisions and the candidates.",
}
_ORDER_WORDS = {"ordinal": "number", "best": "margin ▼", "worst": "margin ▲"}
_TELL: Mapping[str, Callable[[Mapping[str, Any], int], Told]] = {
    PRINCIPLES: tell_principle, REVISIONS: tell_revision, PAIRS: tell_pair,
}  # fmt: skip


class PreferencesRoom(ListingRoom):
    _listing: Listed | None = None
    DEFAULT_CSS = """
    PreferencesRoom { layout: vertical; }
    #preferences-list { height: 2fr; width: 100%; }
    #preferences-strip { height: 1; text-wrap: nowrap; text-overflow: ellipsis; }
    #preferences-detail { height: 3fr; width: 100%; }
    #preferences-head, #preferences-tail { height: auto; width: 100%; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("v", "view(1)", "View", id="preferences.view", tooltip="Principles, revisions, pairs: the next view"),
        Binding("V", "view(-1)", "View before", id="preferences.view_before", show=False, tooltip="The view before"),
        *verdict_keys("preferences", "Kept ones only", "Those that were not kept"),
        Binding("f", "source", "Source", id="preferences.source",
                tooltip="Pairs of the next source: revision, best of, hard negative, boundary"),
        *list_keys("preferences", "By number, best margin first, worst first"),
        Binding("l", "sample", "Sample", id="preferences.sample", tooltip="Go to the sample that this comes from"),
        Binding("j", "scroll(1)", "Down", id="preferences.down", show=False, tooltip="Scroll what is below down"),
        Binding("k", "scroll(-1)", "Up", id="preferences.up", show=False, tooltip="Scroll what is below up"),
        Binding("tab", "app.focus_next", "Read", id="preferences.read", show=False, tooltip="Scroll what is below"),
        back_key("preferences"),
    ]  # fmt: skip

    def __init__(self) -> None:
        super().__init__(id="preferences")
        self.wish = PairFilter()
        self._run_id, self._active = "", False
        self._done: tuple[object, ...] = ()  # how far the phases are that fill this room
        self._read_at: tuple[object, ...] = ()
        self._read_when = 0.0
        self._left: Mapping[str, Any] = {}  # where the person was the last time, until the run is shown
        self._seek = ""
        self._found: tuple[str, Mapping[str, Any]] | None = None  # what is shown below: its view and its rows

    def compose(self) -> ComposeResult:
        with Vertical(id="preferences-list", classes="panel") as panel:
            panel.border_title = "Preferences"
            yield ChoiceStrip(id="preferences-strip")
            yield PreferenceTable(id="preferences-table")
        with VerticalScroll(id="preferences-detail", classes="panel") as box:
            box.border_title = "Preferences"
            yield Static(row((_EMPTY, QUIET)), id="preferences-head", markup=False)
            with Horizontal(id="preferences-sides", classes="sides"):
                yield Static("", id="preferences-chosen", markup=False)
                yield Static("", id="preferences-rejected", markup=False)
            yield Static("", id="preferences-tail", markup=False)

    def on_mount(self) -> None:
        self._tell()
        self._paint()

    def on_resize(self) -> None:
        self.call_after_refresh(self._paint)
        self.call_after_refresh(self._tell)

    # -- what is listed ----------------------------------------------------------------------------------------------

    def know(self, history: RunHistory) -> None:
        self._read_at = ()

    def show(self, state: RunState) -> None:
        phases = [state.phases[name] for name in PREFERENCE_PHASES if name in state.phases]
        self._active = state.active
        self._done = tuple((phase.done, phase.accepted) for phase in phases)
        if state.run_id != self._run_id:
            self._run_id, self.wish, self._listing, self._found = state.run_id, kept(self._left.get("wish")), None, None
            self._seek, self._left = str(self._left.get("row") or ""), {}
            self.table.begin(0)
            self._tell()
            self.look()

    def left_at(self) -> dict[str, Any]:
        here = self.table.row_at(self.table.cursor)
        return {"wish": asdict(self.wish), "row": "" if here is None else str(here["id"])}

    def come_back(self, left: Mapping[str, Any]) -> None:
        self._left = left

    def look(self) -> None:
        """List anew if there can be more than is listed; while a run goes on now and then only."""
        waits = self._active and time.monotonic() - self._read_when < EVERY_S
        if self._run_id and (self._run_id, self._done) != self._read_at and not waits:
            self.want()

    def want(self, *, top: bool = False) -> None:
        """List by the wish, the cursor on the row that it is on, or on the first."""
        run_id, wish = self._run_id, self.wish
        self._read_at, self._read_when = (run_id, self._done), time.monotonic()
        here = self.table.row_at(self.table.cursor)
        seek = self._seek or ("" if top or here is None else str(here["id"]))

        if run_id:
            self.look_up("listing preferences", lambda reader: listed(reader, run_id, wish, seek, PAGE), self._learn)

    def _learn(self, found: Listed) -> None:
        if found.wish != self.wish:
            return
        self._listing, self._seek = found, ""
        table = self.table
        table.view = found.wish.view
        table.order = ("margin", self.wish.order == "best") if self.wish.order != "ordinal" else ("ordinal", False)
        table.fit(columns_for(table.view, table.size.width))
        table.begin(found.count, cursor=found.at, pages={found.first: found.rows})
        if not found.count:
            self._found = None
            self._tell()
        self._paint()
        self.refresh_bindings()

    def page(self, reader: Reader, listing: Listed, offset: int, limit: int) -> list[dict[str, Any]]:
        return rows_of(reader, self._run_id, listing.wish, listing.critic, offset, limit)

    # -- the one under the cursor ------------------------------------------------------------------------------------

    @on(EndlessTable.Highlighted)
    def rest_on(self, event: EndlessTable.Highlighted) -> None:
        nothing = self._found is None or self._found[0] != self.table.view
        self.open_at_rest(lambda: self._open(event.row), at_once=nothing)

    def _open(self, chosen: Mapping[str, Any]) -> None:
        run_id, view = self._run_id, self.table.view

        how: Mapping[str, Callable[[Reader], Any]] = {
            PRINCIPLES: lambda reader: principle(reader, run_id, chosen),
            REVISIONS: lambda reader: revision(reader, run_id, chosen["id"]),
            PAIRS: lambda reader: pair(reader, run_id, chosen["id"]),
        }

        def arrived(found: Mapping[str, Any] | None) -> None:
            if found is not None and (run_id, view) == (self._run_id, self.table.view):
                again = self._found is not None and self._found[1].get("id") == chosen["id"]
                self._found = (view, {**found, "id": chosen["id"]})
                self._tell()
                if not again:
                    self.query_one("#preferences-detail").scroll_home(animate=False)

        self.look_up("reading a preference", how[view], arrived)

    def _tell(self) -> None:
        box, sides = self.query_one("#preferences-detail"), self.query_one("#preferences-sides")
        if self._found is None:
            told, name = Told("Preferences", row((self._nothing(), QUIET))), ""
        else:
            view, found = self._found
            told, name = _TELL[view](found, max(30, box.size.width - 4)), str(found["id"])
        box.border_title, box.border_subtitle = told.title, Content(one_line(name, 30))
        sides.display = told.sides is not None
        self.query_one("#preferences-head", Static).update(told.head)
        self.query_one("#preferences-tail", Static).update(told.tail)
        if told.sides is not None:
            self.query_one("#preferences-chosen", Static).update(told.sides[0])
            self.query_one("#preferences-rejected", Static).update(told.sides[1])

    def _nothing(self) -> str:
        if self._listing is None or not self._done:
            return _EMPTY
        if self._listing.total:
            return "None is like this. x clears the filters."
        return _SOON.get(self.wish.view, _EMPTY)

    # -- choosing ----------------------------------------------------------------------------------------------------

    def choose(self, **fields: Any) -> None:
        self.wish = replace(self.wish, **fields)
        anew = bool({"view", "order"} & fields.keys())
        if anew:
            self._found = None
        self._paint()
        self.want(top=anew)

    def action_view(self, by: int) -> None:
        self.action_open(VIEWS[(VIEWS.index(self.wish.view) + by) % len(VIEWS)])

    def action_open(self, view: str) -> None:
        self.choose(view=view, principle="", source="", order="ordinal")

    def action_only(self, verdict: str) -> None:
        self.choose(verdict=verdict)

    def action_source(self) -> None:
        self.choose(source=SOURCES[(SOURCES.index(self.wish.source) + 1) % len(SOURCES)])

    def action_order(self) -> None:
        self.choose(order=ORDERS[(ORDERS.index(self.wish.order) + 1) % len(ORDERS)])

    def action_clear(self) -> None:
        self.choose(verdict="", source="", principle="")

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        view = self.wish.view
        match action:
            case "view":
                return bool(self._done)
            case "source":
                return view == PAIRS
            case "only" | "order" | "clear":
                return view != PRINCIPLES
            case "sample":
                return view != PRINCIPLES and bool(self.table.count)
        return True

    @on(EndlessTable.Chosen)
    def go_on(self, event: EndlessTable.Chosen) -> None:
        """A principle opens its revisions; a revision or pair is read."""
        if self.table.view == PRINCIPLES:
            self.choose(view=REVISIONS, principle=str(event.row["id"]), verdict="")
        else:
            self.query_one("#preferences-detail").focus()

    @on(EndlessTable.HeadClicked)
    def sort_by_click(self, event: EndlessTable.HeadClicked) -> None:
        same = event.column == "margin" and self.wish.order == "best"
        self.choose(order="ordinal" if event.column == "ordinal" else "worst" if same else "best")

    # -- out of here -------------------------------------------------------------------------------------------------

    def action_sample(self) -> None:
        chosen, run_id, view = self.table.row_at(self.table.cursor), self._run_id, self.table.view
        if chosen is None:
            return

        def arrived(sample_id: str) -> None:
            if sample_id:
                self.post_message(GoTo("samples", sample_id))
            else:
                self.notify("Its instruction came with the program: no sample stands behind this pair.")

        self.look_up("finding a sample", lambda reader: sample_of(reader, run_id, view, chosen["id"]), arrived)

    def action_scroll(self, by: int) -> None:
        self.query_one("#preferences-detail").scroll_relative(y=by, animate=False)

    @property
    def table(self) -> PreferenceTable:
        return self.query_one(PreferenceTable)

    def _paint(self) -> None:
        table, wish, now = self.table, self.wish, self._listing
        table.fit(columns_for(table.view, table.size.width))
        panel = self.query_one("#preferences-list")
        short = panel.size.width < 100
        parts = [(name.title(), wish.view == name, f"open('{name}')") for name in VIEWS]
        if wish.view != PRINCIPLES:
            for key, word, verdict in (
                ("a", "accepted", "accepted"),
                ("r", "rejected", "rejected"),
                ("e", "every", ""),
            ):
                text = f"{key} {VERDICT_SHAPES.get(word, '∗')}"
                parts.append((text if short else f"{text} {word}", wish.verdict == verdict, f"only('{verdict}')"))
        if wish.view == PAIRS:
            source = wish.source.replace("_", " ") or ("source" if short else "any source")
            parts.append((f"f {source}", bool(wish.source), "source"))
        if wish.principle:
            parts.append((f"x {one_line(wish.principle, 24)}", True, "clear"))
        self.query_one(ChoiceStrip).show([("v", False, "view(1)"), *parts])
        of = "" if now is None or now.count == now.total else f" of {now.total:,}"
        by = f" · by {_ORDER_WORDS[wish.order]}" if wish.view != PRINCIPLES else " · Enter lists its revisions"
        critic = f" · margins of {now.critic}" if now is not None and now.critic else ""
        panel.border_subtitle = Content(
            f"{table.count:,}{of}{by}{one_line(critic, 30)} · ? keys" if table.count else ""
        )
