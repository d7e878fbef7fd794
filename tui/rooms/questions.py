"""The QC gate: every check with its evidence, and the samples that count against it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import DataTable, Static

from tui.rooms import Room
from tui.text import make_visible, one_line
from tui.widgets.marks import QUIET, TONES, lines, row
from tui.widgets.tables import PlainTable, vi_keys

if TYPE_CHECKING:
    from tui.library import RunHistory

_EMPTY = (
    "The gate is computed from stored rows once the pilot is complete. Each check then shows what was measured, "
    "its interval, the threshold of the spec, and the samples that count against it."
)


_COLUMNS = (  # the gate's name comes last: at 80 columns it is the one to scroll to
    ("", 1),
    ("check", 20),
    ("measured", 8),
    ("needs", 8),
    ("95 % int.", 11),
    ("n", 5),
    ("against", 7),
    ("gate", 6),
)


class QuestionsRoom(Room):
    BINDINGS: ClassVar[list[BindingType]] = [*vi_keys("gate")]

    def __init__(self) -> None:
        super().__init__(id="questions")
        self._run_id = ""
        self._rows: dict[str, Mapping[str, Any]] = {}

    def compose(self) -> ComposeResult:
        table = PlainTable(id="gate-table")
        table.add_class("panel")
        table.border_title = "Gates"
        yield table
        with VerticalScroll(id="gate-evidence", classes="panel") as evidence:
            evidence.border_title = "Evidence"
            yield Static(id="gate-evidence-text", markup=False)

    def on_mount(self) -> None:
        table = self.query_one(PlainTable)
        for name, width in _COLUMNS:
            table.add_column(name, key=name or "shape", width=width)
        self.show_checks([])

    def know(self, history: RunHistory) -> None:
        self._run_id = str(history.status["run"])
        self.show_checks(history.gates)

    def show_checks(self, checks: Sequence[Mapping[str, Any]]) -> None:
        table = self.query_one(PlainTable)
        if not checks:
            self._rows = {}
            table.clear()
            table.border_subtitle = "not decided yet"
            self._tell(row((_EMPTY, QUIET)))
            return
        known = {f"{item['gate']}/{item['check_name']}": item for item in checks}
        if known == self._rows:
            return
        self._rows = known
        failed = sum(not item["passed"] for item in checks)
        table.border_subtitle = f"✗ {failed} of {len(checks)} failed" if failed else f"✓ all {len(checks)} passed"
        colours = self.app.theme_variables
        with table.keep_cursor(cleared=True):
            for key, item in known.items():
                table.add_row(*_cells(item, colours), key=key)

    def show_offenders(self, check: str, subjects: Sequence[Mapping[str, Any]]) -> None:
        item = next((item for item in self._rows.values() if item["check_name"] == check), None)
        if item is None:
            return
        total = len(item["subject_ids"] or ())
        word, tone = ("passed", "good") if item["passed"] else ("FAILED", "bad")
        shape = "✓" if item["passed"] else "✗"
        head = row(
            (f"{shape} {check.replace('_', ' ')} {word}", f"bold {TONES[tone]}"),
            f"   measured {_figure(item['measured'])}, needs {item['op']} {_figure(item['threshold'])}",
            f", n={item['n']:,}",
            (f"   evidence {str(item['evidence_sha256'])[:12]}", QUIET),
        )
        rows = [head, row((_against(total, len(subjects)), QUIET))]
        for subject in subjects:
            rows += [
                Content(""),
                row(
                    (f"{subject['kind']} {str(subject['id'])[:16]}  ", QUIET),
                    one_line(subject["instruction"] or "", 200),
                ),
            ]
            if subject["response"]:
                rows.append(row(("→ ", "$accent"), make_visible(subject["response"], limit=600)))
        self._tell(lines(rows))

    def home(self) -> None:
        self.query_one(PlainTable).focus()

    def action_cursor(self, step: int) -> None:
        self.query_one(PlainTable).step(step)

    def _tell(self, content: Content) -> None:
        self.query_one("#gate-evidence-text", Static).update(content)

    @on(DataTable.RowHighlighted, "#gate-table")
    def ask_for_offenders(self, event: DataTable.RowHighlighted) -> None:
        item = self._rows.get(event.row_key.value or "") if event.row_key is not None else None
        if item is not None:
            check, subjects, run_id = item["check_name"], list(item["subject_ids"] or ()), self._run_id
            self.read(
                "reading a gate's evidence",
                lambda library: library.offenders(run_id, subjects),
                lambda found: self.show_offenders(check, found),
            )


def _cells(item: Mapping[str, Any], colours: Mapping[str, str]) -> list[Text]:
    shape, colour = ("✓", "success") if item["passed"] else ("✗", "error")
    tone = colours.get(colour, "")
    interval = "" if item["lo"] is None else f"{_figure(item['lo'])}–{_figure(item['hi'])}"
    against = len(item["subject_ids"] or ())
    return [
        Text(shape, style=tone),
        Text(str(item["check_name"]).replace("_", " "), style="" if item["passed"] else f"bold {tone}"),
        Text(_figure(item["measured"]), justify="right", style="bold"),
        Text(f"{item['op']:>2} {_figure(item['threshold'])}"),
        Text(interval, justify="right"),
        Text(f"{item['n']:,}", justify="right"),
        Text(f"{against:,}" if against else "–", justify="right"),
        Text(str(item["gate"])),
    ]


def _figure(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.0f}" if value == int(value) and abs(value) >= 2 else f"{value:.3f}"


def _against(total: int, shown: int) -> str:
    if not total:
        return "No sample counts against it."
    return f"{total:,} count against it" + (f", the first {shown}:" if shown < total else ":")
