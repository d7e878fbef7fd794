"""All runs of the store: show one, compare two, go on with one, start one like it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.widgets import DataTable, Static

from engine.core.figures import format_seconds, percent_of, percents_whole
from engine.stats.shares import wilson
from store.headline import plain, told_in_green
from store.names import RESUMABLE
from tui.live.state import RunState
from tui.messages import RunWanted
from tui.reads.runs import Account, account, all_runs, flat, fork_options, judge_changes, own_settings, why_no_fork
from tui.rooms.tabular import TableRoom
from tui.widgets.runs.compare import compare, describe
from tui.widgets.runs.fork import ForkScreen
from tui.widgets.tables import PlainTable, vi_keys
from tui.words.facts import of_wanted
from tui.words.questions import Choice, DockedQuestion
from tui.words.text import one_line
from tui.words.wording import repeat_of, state_mark

if TYPE_CHECKING:
    from tui.reads.library import RunHistory

_COLUMNS = (
    ("", 2), ("run", 20), ("state", 15), ("accepted", 11), ("share", 17), ("time", 8), ("spec", 26), ("model", 14),
    ("seed", 9), ("begun", 16),
)  # fmt: skip
_TONES = {"good": "success", "bad": "error", "warn": "warning", "busy": "accent"}


class RunsRoom(TableRoom):
    DEFAULT_CSS = """
    RunsRoom { layout: vertical; }
    #runs-table { height: 2fr; }
    #run-account { height: 3fr; }
    #run-account-text { height: auto; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space", "mark", "Mark", id="runs.mark", tooltip="Mark this run to compare another with it"),
        Binding("R", "again", "Resume", id="runs.resume", tooltip="Go on with this run; asks first"),
        Binding("f", "fork", "Fork", id="runs.fork", tooltip="Start a run like this one with changed settings"),
        Binding("tab", "app.focus_next", "Read", id="runs.read", show=False, tooltip="Scroll what is below"),
        *vi_keys("runs"),
    ]

    def __init__(self) -> None:
        super().__init__(id="runs")
        self._rows: dict[str, Mapping[str, Any]] = {}
        self._shown: list[tuple[object, ...]] = []
        self._current, self._active = "", False
        self._marked = ""
        self._stale = True
        self._elapsed_s = 0.0
        self._left: Mapping[str, Any] = {}  # where the person was the last time, until the runs are listed
        self._lost = True  # whether the cursor is to go to the run that is shown

    def compose(self) -> ComposeResult:
        yield PlainTable("Runs", id="runs-table")
        with VerticalScroll(id="run-account", classes="panel") as box:
            box.border_title = "Run"
            yield Static("Every run of this store is listed here as soon as one is started.", id="run-account-text",
                         markup=False)  # fmt: skip

    def on_mount(self) -> None:
        for name, width in _COLUMNS:
            self.table.add_column(name, key=name or "mark", width=width)

    def left_at(self) -> dict[str, Any]:
        return {"run": self.under_cursor, "marked": self._marked}

    def come_back(self, left: Mapping[str, Any]) -> None:
        self._left = left

    def know(self, history: RunHistory) -> None:
        self._stale = True

    def show(self, state: RunState) -> None:
        if (state.run_id, state.active) != (self._current, self._active):
            self._lost = self._lost or state.run_id != self._current
            self._current, self._active, self._shown = state.run_id, state.active, []
            self._paint()
        if state.active:
            self._tick(state)

    def _tick(self, state: RunState) -> None:
        """Tell the run under way by its events: the store learns its time when it ends."""
        name, table = state.run_id, self.table
        if name not in self._rows or name not in table.rows:
            return
        self._elapsed_s = state.elapsed_s
        judged = state.phase("response_judgements").done
        told = {"state": state.state, "accepted": state.accepted, "judged": judged, "elapsed_s": state.elapsed_s,
                "acceptance": plain(state.headline)}  # fmt: skip
        self._rows[name] = {**self._rows[name], **told}
        cells = self._cells(name, self._rows[name], self.app.theme_variables)
        for (column, _), cell in zip(_COLUMNS, cells, strict=True):
            if column in ("state", "accepted", "share", "time"):
                table.update_cell(name, column, cell)

    def look(self) -> None:
        if self._stale:
            self._stale = False
            self.look_up("listing runs", all_runs, self._listed)

    def _listed(self, runs: list[dict[str, Any]]) -> None:
        self._rows = {str(run["run_id"]): run for run in runs}
        left, self._left = self._left, {}
        self._marked = self._marked or (str(left.get("marked")) if left.get("marked") in self._rows else "")
        self._paint()
        if left.get("run") in self._rows:
            self.table.move_cursor(row=self.table.get_row_index(str(left["run"])), animate=False)

    def _paint(self) -> None:
        table = self.table
        table.border_subtitle = f"{len(self._rows)} · Enter shows · Space marks"
        keys: list[tuple[object, ...]] = [
            (name, run["state"], run["accepted"], told_in_green(run), name == self._marked)
            for name, run in self._rows.items()
        ]
        if keys == self._shown:
            return
        self._shown = keys
        colours = self.app.theme_variables
        with table.keep_cursor():
            for name, run in self._rows.items():
                table.add_row(*self._cells(name, run, colours), key=name)
        if self._lost and self._current in self._rows:
            self._lost = False
            table.move_cursor(row=table.get_row_index(self._current), animate=False)
        self.refresh_bindings()

    def _cells(self, name: str, run: Mapping[str, Any], colours: Mapping[str, str]) -> list[Text]:
        shape, word, tone = state_mark(str(run["state"]), audited=told_in_green(run))
        here = "▶" if name == self._current else " "
        mark = "●" if name == self._marked else here
        accepted, judged = run["accepted"], run["judged"]
        share = percent_of(accepted, judged) + (f" {percents_whole(*wilson(accepted, judged))}" if judged else "")
        repeat, _, of = repeat_of(run).partition(" ")  # it has no data of its own
        return [
            Text(mark, style="bold"),
            Text(name, style="bold" if name == self._current else ""),
            Text(f"{shape} {word}", style=colours.get(_TONES.get(tone, ""), "")),
            Text("–" if of else f"{run['accepted']:,}/{run['target']:,}", justify="right"),
            Text(f"repeat {repeat}" if of else share),
            Text(format_seconds(run["elapsed_s"]), justify="right"),
            Text(one_line(of or str(run["spec"]), 40)),
            Text(one_line(str(run["model"]), 40)),
            Text(str(run["seed"])),
            Text(f"{run['created_at']:%Y-%m-%d %H:%M}"),
        ]

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action == "again":
            run = self._rows.get(self.under_cursor)
            return run is not None and run["state"] in RESUMABLE
        return True

    @property
    def under_cursor(self) -> str:
        return self.table.under_cursor

    @on(DataTable.RowHighlighted, "#runs-table")
    def follow_cursor(self, event: DataTable.RowHighlighted) -> None:
        if event.row_key.value == self.under_cursor:  # else the cursor has gone on since
            self.open_run()

    def open_run(self) -> None:
        name, marked = self.under_cursor, self._marked
        self.refresh_bindings()
        if not name:
            return
        wanted = [marked, name] if marked and marked != name else [name]
        self.look_up("reading runs", lambda reader: [account(reader, run_id) for run_id in wanted], self._tell)

    def _tell(self, found: list[Account]) -> None:
        for one in found:
            if self._active and one.run_id == self._current:
                one.measured["working time"] = f"{self._elapsed_s:.0f} s"
        box = self.query_one("#run-account")
        width = max(40, box.size.width - 4)
        box.border_title = "Two runs" if len(found) == 2 else "Run"
        text = compare(found[0], found[1], width) if len(found) == 2 else describe(found[0], width)
        self.query_one("#run-account-text", Static).update(text)

    @on(DataTable.RowSelected, "#runs-table")
    def show_run(self, event: DataTable.RowSelected) -> None:
        self.post_message(RunWanted("show", str(event.row_key.value)))

    def action_mark(self) -> None:
        name = self.under_cursor
        self._marked = "" if name == self._marked else name
        self._paint()
        self.open_run()

    def action_again(self) -> None:
        name = self.under_cursor
        run = self._rows.get(name)
        if run is None or self._refused("resume", "resumed"):
            return
        text = f"Go on with run {name}: {of_wanted(run['accepted'], run['target'])}?"
        choices = (Choice("y", "go on", "yes"), Choice("n", "leave it", "no"))
        question = DockedQuestion(f"runs:{name}", "Resume", text, choices, on_escape="no")

        def answered(answer: str, _: str) -> None:
            if answer == "yes":
                self.post_message(RunWanted("resume", name))

        self.host.ask(question, answered)

    def action_fork(self) -> None:
        name = self.under_cursor
        run = self._rows.get(name)
        if run is None or self._refused("run", "started"):
            return

        def filled(changes: dict[str, str] | None) -> None:
            if changes is not None:
                self.look_up(
                    "preparing a run",
                    lambda reader: fork_options(reader, name, changes),
                    lambda options: self.post_message(RunWanted("start", options=options)),
                )

        def judged(why: str) -> None:
            if why and form.is_attached:
                form.forbid(why)

        form = ForkScreen(name, flat(own_settings(run)), partial(judge_changes, run))
        self.app.push_screen(form, filled)
        self.look_up("looking whether a run can be forked", lambda reader: why_no_fork(reader, name), judged)

    def _refused(self, command: str, what: str) -> bool:
        if self.host.done_elsewhere(command):
            return True
        if self._active:
            self.notify(f"A run is going on; another can be {what} when it has ended or was stopped (s).")
        return self._active
