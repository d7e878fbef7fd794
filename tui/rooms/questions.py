"""What was asked and decided: open questions, gates with every check, decisions; each with its evidence."""

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

from engine.core.figures import measured_plain
from engine.quality.remedies import reading_offer, what_may_be_done
from store.names import READING
from store.outcomes import EMPTY, FAILED, FAILING, NOT_TESTED, PASSED, READ, gate_result, in_percent, tally, title_of
from tui.messages import GoTo
from tui.reads.run import review_of
from tui.rooms.tabular import TableRoom
from tui.widgets.marks import QUIET, TONES, lines, row
from tui.widgets.tables import PlainTable, vi_keys
from tui.words.text import make_visible, one_line
from tui.words.wording import RESULTS

if TYPE_CHECKING:
    from engine.core.events import QuestionAsked
    from tui.live.state import RunState
    from tui.reads.library import RunHistory

_EMPTY = (
    "Questions that wait for you, the checks of each gate, and every decision are listed here. The gate is computed "
    "from stored rows once the pilot is complete: each check shows what was measured, its interval, the threshold of "
    "the spec, and the samples that count against it."
)


_WORST = (EMPTY, FAILED, NOT_TESTED, PASSED)
NAME_WIDTH = 22  # of a check where the table is narrow
_COLUMNS = (  # the gate's name comes last: at 80 columns it is the one to scroll to
    ("", 1),
    ("what", NAME_WIDTH),
    ("measured", 8),
    ("needs", 8),
    ("95 % int.", 11),
    ("n", 5),
    ("against", 7),
    ("where", 11),
)


class QuestionTable(PlainTable):
    """Enter on an open question gives it the keys before the next key is looked at, which is meant for it."""

    def action_select_cursor(self) -> None:
        if not self.query_ancestor(QuestionsRoom).to_the_question(self.under_cursor):
            super().action_select_cursor()


class QuestionsRoom(TableRoom):
    BINDINGS: ClassVar[list[BindingType]] = [*vi_keys("questions")]

    def __init__(self) -> None:
        super().__init__(id="questions")
        self._run_id, self._spec = "", ""
        self._asks: Sequence[str] = ()  # decisions that the spec has reviewed
        self._rows: dict[str, Mapping[str, Any]] = {}
        self._decisions: dict[str, Mapping[str, Any]] = {}
        self._open: dict[str, QuestionAsked] = {}
        self._shown: tuple[object, ...] = ()
        self._pointed: tuple[str, ...] = ()  # the figures whose failed check the cursor was put on
        self._name_width = 0

    def compose(self) -> ComposeResult:
        yield QuestionTable("Questions, gates, decisions", id="gate-table")
        with VerticalScroll(id="gate-evidence", classes="panel") as evidence:
            evidence.border_title = "Evidence"
            yield Static(id="gate-evidence-text", markup=False)

    def on_mount(self) -> None:
        self._fit()

    on_resize = on_mount

    def _fit(self) -> None:
        """Give the names of the checks what the other columns leave."""
        table = self.table
        taken = sum(width + 2 * table.cell_padding for _, width in _COLUMNS) - NAME_WIDTH
        longest = max((len(title_of(item)) for item in self._rows.values()), default=0)
        width = max(NAME_WIDTH, min(longest, self.size.width - 6 - taken))
        if width != self._name_width:
            self._name_width, self._shown = width, ()
            here = table.cursor_row
            table.clear(columns=True)
            for name, wide in _COLUMNS:
                table.add_column(name, key=name or "shape", width=width if name == "what" else wide)
            self._paint()
            table.move_cursor(row=here, animate=False)

    def know(self, history: RunHistory) -> None:
        self._run_id, self._spec = str(history.status["run"]), str(history.status["spec"])
        self._asks = ((history.status.get("settings") or {}).get("review") or {}).get("ask") or ()
        self._rows = {f"{item['gate']}/{item['check_name']}": item for item in _worst_first(history.gates)}
        self._decisions = {f"decision:{item['decision_id']}": item for item in history.decisions}
        self._fit()
        self._paint()

    def show(self, state: RunState) -> None:
        self._open = {f"question:{name}": question for name, question in state.questions.items()}
        self._paint()

    def _paint(self) -> None:
        table = self.table
        now = (self._rows, self._decisions, self._open)
        if now == self._shown:
            return
        self._shown = now
        if not any(now):
            table.clear()
            table.border_subtitle = "not decided yet"
            self._tell(row((_EMPTY, QUIET)))
            return
        checks = self._rows.values()
        told = [f"? {len(self._open)} for you"] if self._open else []
        told += [f"{RESULTS[gate_result(checks)][0]} {tally(checks)}"] if checks else []
        told += [f"✎ {len(self._decisions)} decided"] if self._decisions else []
        table.border_subtitle = " · ".join(told)
        colours = self.app.theme_variables
        with table.keep_cursor():
            for key, question in self._open.items():
                topic = one_line(question.topic or question.question, 60)
                asked = Text(topic, style=f"bold {colours.get('warning', '')}")
                table.add_row(Text("?"), asked, *[Text("")] * 5, Text("for you"), key=key)
            for key, item in self._rows.items():
                table.add_row(*_cells(item, colours), key=key)
            for key, item in self._decisions.items():
                cells = ("✎", str(item["topic"]), str(item["answer"]), "", "", "", "", "decided")
                table.add_row(*map(Text, cells), key=key)
        self._point_at_what_failed(table)

    def _point_at_what_failed(self, table: PlainTable) -> None:
        """Once for each run and its figures: the cursor to the first failed check, unless a question is open."""
        now = (self._run_id, *sorted({str(item["evidence_sha256"]) for item in self._rows.values()}))
        if now == self._pointed:
            return
        self._pointed = now
        failed = next((key for key, item in self._rows.items() if item["result"] in FAILING), None)
        if not self._open:
            table.move_cursor(row=0 if failed is None else table.get_row_index(failed), animate=False)

    def show_offenders(self, key: str, subjects: Sequence[Mapping[str, Any]]) -> None:
        item = self._rows.get(key)
        if item is None:
            return
        total = len(item["subject_ids"] or ())
        shape, word, tone = RESULTS[item["result"]]
        needs = f"{item['op']} {measured_plain(item['threshold'])}"
        figure, _, needs = in_percent(item) or (measured_plain(item["measured"]), "", needs)
        head = row(
            (f"{shape} {title_of(item)} {word}", f"bold {TONES[tone]}"),
            f"   measured {figure}, needs {needs}",
            f", n={item['n']:,}",
            (f"   evidence {str(item['evidence_sha256'])[:12]}", QUIET),
        )
        rows = [head]
        if item["untested"]:
            rows.append(row(("shows nothing: ", QUIET), item["untested"]))
        rows += self._ways_on(str(item["gate"]))
        rows.append(row((_against(total, len(subjects)), QUIET)))
        for subject in subjects:
            name = f"{subject['kind']} {str(subject['id'])[:16]}  "
            rows += [Content(""), row((name, QUIET), one_line(subject["instruction"] or "", 200))]
            if subject["response"]:
                rows.append(row(("→ ", "$accent"), make_visible(subject["response"], limit=600)))
        self._tell(lines(rows))

    def _ways_on(self, gate: str) -> list[Content]:
        """What may be done about the gate of a check, where it has not passed."""
        if gate == "gap":  # the room Evaluation says what to do about that one
            return []
        told = what_may_be_done(self._rows.values(), gate, self._run_id, self._spec, self._asks)
        if not told:
            return []
        head = row((f"what may be done about the {gate} gate", "bold"))
        return [head, *(row(("· ", "$accent"), make_visible(line)) for line in told), Content("")]

    def home(self) -> None:
        if self._open:  # whoever comes here then comes to read about the question
            self.table.move_cursor(row=0, animate=False)
        super().home()

    def _tell(self, content: Content) -> None:
        self.query_one("#gate-evidence-text", Static).update(content)

    @on(DataTable.RowHighlighted, "#gate-table")
    def open_row(self, event: DataTable.RowHighlighted) -> None:
        key = (event.row_key.value or "") if event.row_key is not None else ""
        if (question := self._open.get(key)) is not None:
            text = make_visible(question.question, limit=8000)
            hint = row(("Enter goes to the question below, where it is answered.", QUIET))
            rows = [row((one_line(question.topic, 80), "bold")), row(text), hint]
            self._tell(lines(rows))
            self._review(key.partition(":")[2], rows)
        elif (decision := self._decisions.get(key)) is not None:
            told = _decision(decision, {str(item["evidence_sha256"]) for item in self._rows.values()})
            self._tell(told)
            self._review(str(decision["decision_id"]), [told])
        elif (item := self._rows.get(key)) is not None:
            subjects, run_id = list(item["subject_ids"] or ()), self._run_id
            self.read(
                "reading a gate's evidence",
                lambda library: library.offenders(run_id, subjects),
                lambda found: self.show_offenders(key, found),
            )

    def _review(self, question_id: str, above: list[Content]) -> None:
        """Add what a reviewer said, and all that it was asked with, to what is told of a question or a decision."""
        run_id = self._run_id

        def told(review: Mapping[str, Any] | None) -> None:
            if review is not None:
                self._tell(lines([*above, *_review_lines(review)]))

        self.look_up("reading a review", lambda reader: review_of(reader, run_id, question_id), told)

    @on(DataTable.RowSelected, "#gate-table")
    def answer(self, event: DataTable.RowSelected) -> None:
        """Enter on an open question goes to the dock, on what is to be read to reading; on all else to its evidence."""
        key = event.row_key.value or ""
        if self.to_the_question(key):
            return
        if self._is_to_be_read(key):
            self.post_message(GoTo("samples", READING))
        else:
            self.query_one("#gate-evidence").focus()

    def to_the_question(self, key: str) -> bool:
        """Give an open question the keys; False where the row is of none."""
        if key in self._open:
            self.host.action_question()
        return key in self._open

    def _is_to_be_read(self, key: str) -> bool:
        """Whether a row is about what a person reads, and some of that is left."""
        here = self._rows.get(key)
        return (
            here is not None and here["check_name"] == READ and bool(reading_offer(self._rows.values(), self._run_id))
        )


def _worst_first(gates: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The checks of the gate that was decided last come first, and of each gate those that failed."""
    when: dict[str, Any] = {}
    for item in gates:
        when[item["gate"]] = max(item["decided_at"], when.get(item["gate"], item["decided_at"]))
    order = [item["gate"] for item in gates]  # the store's own order settles gates of one moment: later ones win
    return sorted(
        sorted(gates, key=lambda item: _WORST.index(item["result"])),
        key=lambda item: (when[item["gate"]], order.index(item["gate"])),
        reverse=True,
    )


def _review_lines(review: Mapping[str, Any]) -> list[Content]:
    fields = review["review"]
    rows = [Content("")]
    if fields is not None:
        good = fields["approval"] == "Yes"
        rows.append(
            row((f"{one_line(str(review['reviewer']), 40)} says ", QUIET),
                (str(fields["approval"]).upper(), f"bold {TONES['good' if good else 'bad']}"))
        )  # fmt: skip
        rows += [
            row((f"{name:<15}", QUIET), make_visible(str(fields[name]), limit=4000))
            for name in ("recommendation", "reasoning", "risks")
        ]
    elif review["why"]:
        rows.append(row((make_visible(str(review["why"]), limit=1000), QUIET)))
    rows += [row(("files          ", QUIET), one_line(str(path), 200)) for path in review["files"]]
    return [*rows, Content(""), row(("what was sent", "bold")), row(make_visible(review["prompt"], limit=20_000))]


def _decision(item: Mapping[str, Any], current: set[str]) -> Content:
    stands = item["evidence_sha256"] in current or not current
    return lines(
        [
            row((f"✎ {one_line(str(item['topic']), 60)}", "bold"), f"  {one_line(str(item['answer']), 60)}"),
            row(make_visible(str(item["question"]), limit=4000)),
            Content(""),
            row(("reason    ", QUIET), make_visible(str(item["reason"]), limit=4000)),
            row(("by        ", QUIET), f"{item['decided_by']}, {item['at']:%Y-%m-%d %H:%M:%S} UTC"),
            row(("evidence  ", QUIET), str(item["evidence_sha256"])[:16]),
            row(("made on the figures that the gate has now" if stands else "! the figures have changed since", QUIET)),
        ]
    )


def _cells(item: Mapping[str, Any], colours: Mapping[str, str]) -> list[Text]:
    shape, _, name = RESULTS[item["result"]]
    tone = colours.get({"good": "success", "bad": "error"}.get(name, ""), "")
    bad = item["result"] in FAILING
    interval = "" if item["lo"] is None else f"{measured_plain(item['lo'])}–{measured_plain(item['hi'])}"
    against = len(item["subject_ids"] or ())
    needs = f"{item['op']:>2} {measured_plain(item['threshold'])}"
    figure, interval, needs = in_percent(item) or (measured_plain(item["measured"]), interval, needs)
    return [
        Text(shape, style=tone),
        Text(title_of(item), style=f"bold {tone}" if bad else ""),
        Text(figure, justify="right", style="bold"),
        Text(needs),
        Text(interval, justify="right"),
        Text(f"{item['n']:,}", justify="right"),
        Text(f"{against:,}" if against else "–", justify="right"),
        Text(str(item["gate"])),
    ]


def _against(total: int, shown: int) -> str:
    if not total:
        return "No sample counts against it."
    return f"{total:,} count against it" + (f", the first {shown}:" if shown < total else ":")
