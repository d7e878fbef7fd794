"""A read-only console on the store: one SELECT at a time, its result as a table, and as a file."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from rich.text import Text
from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.message import Message
from textual.widgets import Input, Static, TextArea

from store.errors import CaiError
from store.inert.spreadsheet import SAID
from tui.reads.sql import History, Result, export, run, words
from tui.rooms.tabular import TableRoom
from tui.widgets.marks import QUIET, TONES, row
from tui.widgets.tables import PlainTable, vi_keys
from tui.words.text import make_visible, one_line

if TYPE_CHECKING:
    from store.read import Reader
    from tui.reads.library import Library

_WELCOME = (
    ("One SELECT at a time; nothing can be changed here. ", QUIET), "SHOW TABLES", (" and ", QUIET),
    "DESCRIBE samples", (" work, F4 shows examples.", QUIET),
)  # fmt: skip
CELL = 60
CANDIDATES = 8
EXAMPLES = (
    "SELECT opening, count(*) AS n, avg((v.verdict = 'accepted')::INT) AS accepted FROM instructions i "
    "JOIN verdicts v USING (run_id) WHERE v.subject_id = i.instruction_id GROUP BY 1 ORDER BY n DESC",
    "SELECT verdict, critic, count(*) AS n, median(score) AS score FROM judgements JOIN verdicts "
    "USING (run_id, subject_kind, subject_id) GROUP BY ALL ORDER BY ALL",
    "SELECT flag, count(*) AS n FROM (SELECT unnest(flags) AS flag FROM verdicts) GROUP BY 1 ORDER BY n DESC",
)


class SqlEditor(TextArea):
    """Enter runs a statement of one line, or one that ends with a semicolon; ↑ and ↓ at the edges bring back others."""

    class Ran(Message):
        pass

    @dataclass
    class Recalled(Message):
        by: int

    class CompletionWanted(Message):
        pass

    async def _on_key(self, event: events.Key) -> None:
        line, _ = self.cursor_location
        last = self.document.line_count - 1
        if event.key == "enter" and (last == 0 or self.text.rstrip().endswith(";")):
            wanted: Message | None = self.Ran()
        elif event.key == "up" and line == 0:
            wanted = self.Recalled(-1)
        elif event.key == "down" and line == last:
            wanted = self.Recalled(1)
        elif event.key == "tab":
            wanted = self.CompletionWanted()
        else:
            wanted = None
        if wanted is None:
            await super()._on_key(event)
            return
        event.stop()
        event.prevent_default()
        self.post_message(wanted)

    @property
    def begun(self) -> str:
        """The word before the cursor."""
        line, column = self.cursor_location
        before = str(self.document.get_line(line))[:column]
        at = len(before)
        while at and (before[at - 1].isalnum() or before[at - 1] == "_"):
            at -= 1
        return before[at:]


class SqlRoom(TableRoom):
    DEFAULT_CSS = """
    SqlRoom { layout: vertical; }
    #sql-box { height: 6; padding: 0 1; }
    #sql-told { height: auto; max-height: 6; padding: 0 1; }
    #sql-path { height: 1; border: none; padding: 0 1; background: $surface; }
    #sql-result { height: 1fr; }
    .-tall #sql-box { height: 8; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("f5,ctrl+enter", "run", "Run", id="sql.run", tooltip="Run the statement"),
        Binding("f4", "example", "Example", id="sql.example", tooltip="The next example statement"),
        Binding("f8", "export", "Export", id="sql.export", tooltip="Write the whole result to CSV or Parquet"),
        Binding(
            "escape",
            "back",
            "Leave",
            id="sql.back",
            tooltip="Interrupt, or leave the editor, where figures are text: then they open rooms again",
        ),
        Binding("i", "edit", "Edit", id="sql.edit", show=False, tooltip="Back to the statement"),
        *vi_keys("sql"),
    ]

    def __init__(self) -> None:
        super().__init__(id="sql")
        self._history = History()
        self._at = len(self._history.statements)
        self._words: list[str] = []
        self._example = 0
        self._result: Result | None = None
        self._writing = False
        self._reader: Reader | None = None
        self._store = Path("cai.duckdb")

    def compose(self) -> ComposeResult:
        editor = SqlEditor("", id="sql-box", classes="panel", show_line_numbers=False, soft_wrap=True)
        editor.border_title = "SQL, read only"
        editor.border_subtitle = "Enter or F5 runs · Tab completes · ↑↓ history · Esc leaves"
        yield editor
        yield Static(row(*_WELCOME), id="sql-told", markup=False)
        yield Input(id="sql-path")
        yield PlainTable(id="sql-result")

    def on_mount(self) -> None:
        self.query_one("#sql-path").display = False

    def home(self) -> None:
        self.screen.set_focus(self.query_one(SqlEditor))

    def look(self) -> None:
        if not self._words:
            self.look_up("reading names to complete", words, self._words.extend)

    def visit(self, subject: str) -> None:
        self.query_one(SqlEditor).text = subject

    # -- running -----------------------------------------------------------------------------------------------------

    @on(SqlEditor.Ran)
    def action_run(self) -> None:
        sql = self.query_one(SqlEditor).text.strip()
        if not sql or self._reader is not None:
            return
        self._history.add(sql)
        self._at = len(self._history.statements)
        self._tell(row(("▶ running; Esc interrupts", QUIET)))
        self.read("running a statement", lambda library: self._with_reader(library, sql), self._show, group="sql")

    def _with_reader(self, library: Library, sql: str) -> Result | str:
        """In a thread: the statement on a reader of its own. An error is an answer here, not a failure."""
        try:
            with library.own_reader() as reader:
                self._reader = reader
                return run(reader, sql)
        except CaiError as error:
            return f"{error.title}\n{error.hint}"
        finally:
            self._reader = None

    def _show(self, found: Result | str) -> None:
        table = self.table
        if isinstance(found, str):
            self._result = None
            table.clear(columns=True)
            table.border_subtitle = ""
            told = found.partition(" failed: ")[2] or found
            self._tell(_wrong(told))
            return
        self._result = found
        table.clear(columns=True)
        for at, (name, kind) in enumerate(found.columns):
            table.add_column(Text(f"{one_line(name, 40)} {kind}"), key=str(at))
        for values in found.rows:
            table.add_row(*(cell(value) for value in values))
        n = len(found.rows)
        more = f"the first {n:,}, there are more (F8 writes all)" if found.more else f"{n:,}"
        self._tell(row(("✓ ", TONES["good"]), f"{more} row{'' if n == 1 else 's'}, {1000 * found.seconds:.0f} ms"))
        table.border_subtitle = f"{n:,} × {len(found.columns)}"

    def _tell(self, content: Content) -> None:
        self.query_one("#sql-told", Static).update(content)

    # -- writing a statement -----------------------------------------------------------------------------------------

    @on(SqlEditor.Recalled)
    def recall(self, event: SqlEditor.Recalled) -> None:
        at = self._at + event.by
        if 0 <= at <= len(self._history.statements):
            self._at = at
            editor = self.query_one(SqlEditor)
            editor.text = self._history.statements[at] if at < len(self._history.statements) else ""
            editor.move_cursor(editor.document.end)

    @on(SqlEditor.CompletionWanted)
    def complete(self) -> None:
        editor = self.query_one(SqlEditor)
        begun = editor.begun
        if not begun:
            self.table.focus()
            return
        found = [word for word in self._words if word.casefold().startswith(begun.casefold())]
        if not found:
            self._tell(row((f"no table or column begins with {one_line(begun, 40)}", QUIET)))
            return
        common = found[0]
        for word in found:
            while not word.startswith(common):
                common = common[:-1]
        longer = common if len(common) >= len(begun) else begun
        line, column = editor.cursor_location
        editor.replace(longer, (line, column - len(begun)), (line, column))
        if len(found) > 1:
            more = f"  and {len(found) - CANDIDATES} more" if found[CANDIDATES:] else ""
            self._tell(row(("  ".join(found[:CANDIDATES]) + more, QUIET)))

    def action_example(self) -> None:
        self.query_one(SqlEditor).text = EXAMPLES[self._example % len(EXAMPLES)]
        self._example += 1
        self.home()

    def action_edit(self) -> None:
        self.home()

    def action_back(self) -> None:
        if (reader := self._reader) is not None:
            reader.interrupt()
        elif self.query_one("#sql-path").display:
            self.query_one("#sql-path").display = False
            self.home()
        else:
            self.table.focus()

    # -- writing a result --------------------------------------------------------------------------------------------

    def action_export(self) -> None:
        if self._result is None:
            self.notify("Run a statement first: its whole result is written.")
            return
        box = self.query_one("#sql-path", Input)
        box.placeholder = "path of a .csv or .parquet file; Enter writes, Esc goes back"
        box.value = box.value or str(Path.cwd() / "result.csv")
        box.display = True
        box.focus()

    @on(Input.Submitted, "#sql-path")
    def write(self, event: Input.Submitted) -> None:
        event.stop()
        if self._result is None or self._writing:
            return
        sql, target, box = self._result.sql, Path(event.value.strip()).expanduser().absolute(), event.input

        def work(library: Library) -> tuple[bool, str]:
            try:
                with library.own_reader() as reader:
                    n, size = export(reader, sql, target)
            except CaiError as error:
                return False, f"{error.title}. {error.hint}"
            said = f". {SAID}" if target.suffix == ".csv" else ""
            return True, f"{n:,} rows, {size:,} bytes written to {target}{said}"

        def written(found: tuple[bool, str]) -> None:
            self._writing = False
            done, told = found
            self._tell(row(("✓ ", TONES["good"]), make_visible(told)) if done else _wrong(told))
            if done and box.display:
                box.display = False
                self.home()

        self._writing = True
        self._tell(row(("▶ writing", QUIET)))
        self.read("writing a result", work, written)


def _wrong(told: str) -> Content:
    return row(("✗ ", TONES["bad"]), make_visible(told, limit=1200))


def cell(value: Any) -> Text:
    """A value in one line: ∅ for null, nested ones as JSON, text inert."""
    if value is None:
        return Text("∅", style="dim")
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        text = json.dumps(value, default=str) if isinstance(value, (list, dict)) else str(value)
        return Text(one_line(text, CELL))
    return Text(f"{value:g}" if isinstance(value, float) else f"{value}", justify="right")
