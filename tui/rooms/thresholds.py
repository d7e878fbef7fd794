"""What if a threshold were another one: acceptance, QC and the samples that change sides, from stored rows, at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Static

from store.errors import CaiError
from store.outcomes import FAILED, FAILING, PASSED, gate_result, tally
from tui.live.state import RunState
from tui.messages import RunWanted, WriteWanted
from tui.reads.audits import Calibration, calibrations
from tui.rooms import Room
from tui.widgets.marks import QUIET, TONES, lines, row
from tui.widgets.runs.calibration import calibration_lines
from tui.widgets.runs.knobs import KnobList, acceptance_line, check_line, others_moved, verdict_mark
from tui.words.questions import Choice, DockedQuestion
from tui.words.text import make_visible, one_line
from tui.words.wording import RESULTS

if TYPE_CHECKING:
    from engine.analyses.whatif import Consequence, Knob, WhatIf
    from store.db import Store
    from store.read import Reader
    from tui.reads.library import Library

_EMPTY = (
    "Once samples are judged, every threshold can be moved here: the arrow keys show at once what would be accepted, "
    "which QC checks would pass, and which samples would change sides. Nothing changes until it is applied."
)


_UNCALIBRATED = (
    "No critic of this run has a score that is a probability: only a probe's is, on labels of the model's own or of "
    "fresh candidates."
)
ABOVE = "critics.accept_above"


class ThresholdsRoom(Room):
    DEFAULT_CSS = """
    ThresholdsRoom { layout: horizontal; }
    #knobs { width: 2fr; min-width: 34; height: 100%; text-wrap: nowrap; }
    #whatif { width: 3fr; height: 100%; }
    #outcome-box { height: auto; max-height: 60%; }
    #changes-box { height: 1fr; }
    #outcome, #changes { height: auto; }
    ThresholdsRoom.-calibration #outcome-box { max-height: 35%; }
    .-narrow #knobs { width: 38; min-width: 30; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down,j", "point(1)", "Next", id="thresholds.down", show=False, tooltip="The next threshold"),
        Binding("up,k", "point(-1)", "Previous", id="thresholds.up", show=False, tooltip="The threshold before"),
        Binding("right,l,plus", "turn(1)", "More", id="thresholds.more", tooltip="Raise it by one step"),
        Binding("left,h,minus", "turn(-1)", "Less", id="thresholds.less", tooltip="Lower it by one step"),
        Binding("shift+right,L", "turn(10)", "Ten more", id="thresholds.ten_more", show=False, tooltip="Ten steps up"),
        Binding("shift+left,H", "turn(-10)", "Ten less", id="thresholds.ten_less", show=False,
                tooltip="Ten steps down"),
        Binding("r,backspace", "reset", "Reset", id="thresholds.reset", show=False, tooltip="Put this one back"),
        Binding("x", "reset_all", "Reset all", id="thresholds.reset_all", tooltip="Put all of them back"),
        Binding("enter", "apply", "Apply", id="thresholds.apply", tooltip="Make them the run's own, with a reason"),
        Binding("g", "calibration", "Calibration", id="thresholds.calibration",
                tooltip="How well the critic is calibrated, or what changes sides"),
        Binding("tab", "app.focus_next", "Samples", id="thresholds.read", show=False,
                tooltip="Scroll the samples that change sides"),
    ]  # fmt: skip

    def __init__(self) -> None:
        super().__init__(id="thresholds")
        self._run_id, self._active = "", False
        self._done, self._paired = 0, 0  # samples judged, pairs decided on
        self._about = ""  # the run that was read
        self._left = ""  # the threshold that the person was at the last time
        self._read_at: tuple[object, ...] = ()
        self._whatif: WhatIf | None = None
        self._knobs: Sequence[Knob] = ()
        self._now: dict[str, float] = {}
        self._moved: dict[str, float] = {}
        self._before: Consequence | None = None
        self._asked = 0
        self._calibrations: Sequence[Calibration] = ()
        self._shows_calibration = False
        self._changes: Sequence[Content] = ()
        self._changed = ""  # how many of them, for the border
        self._accepted: Sequence[Mapping[str, Any]] = ()  # by each of the calibrations' audits
        self._early: list[Callable[[], None]] = []  # keys that came before what they move was read
        self._reading = False

    def compose(self) -> ComposeResult:
        yield KnobList()
        with Vertical(id="whatif"):
            with VerticalScroll(id="outcome-box", classes="panel", can_focus=False) as box:
                box.border_title = "What it would do"
                yield Static(_EMPTY, id="outcome", markup=False)
            with VerticalScroll(id="changes-box", classes="panel") as box:
                box.border_title = "What changes sides"
                yield Static(id="changes", markup=False)

    @property
    def list(self) -> KnobList:
        return self.query_one(KnobList)

    def home(self) -> None:
        self.screen.set_focus(self.list)  # at once: the next key may be here already

    def on_resize(self) -> None:
        self.call_after_refresh(self._paint_list)
        self.call_after_refresh(self._paint_below)

    def left_at(self) -> dict[str, Any]:
        return {"knob": self._knobs[self.list.chosen].key if self._knobs else ""}

    def come_back(self, left: Mapping[str, Any]) -> None:
        self._left = str(left.get("knob") or "")

    def show(self, state: RunState) -> None:
        self._run_id, self._active = state.run_id, state.active
        self._done = state.phase("response_judgements").done
        self._paired = state.phases["pairs"].done if "pairs" in state.phases else 0

    def look(self) -> None:
        """Read the evidence when the room is opened, and again where the run went on."""
        at = (self._run_id, self._done, self._paired)
        if self._run_id and self._run_id != self._about:
            self._forget()
        if not self._run_id or not self._done or at == self._read_at:
            return
        self._read_at, self._reading, run_id = at, True, self._run_id

        def read(reader: Reader) -> tuple[WhatIf, list[Calibration]]:
            from engine.analyses.whatif import WhatIf  # not before the first frame: it brings DuckDB

            return WhatIf(reader, run_id), calibrations(reader, run_id)

        self.look_up("reading what thresholds decide", read, self._known)

    def _forget(self) -> None:
        """Another run is shown: nothing that was read or moved is about it."""
        self._about, self._read_at, self._reading = self._run_id, (), False
        self._moved, self._whatif, self._knobs, self._early = {}, None, (), []
        self._calibrations, self._accepted, self._changes, self._changed = (), (), (), ""
        self._asked += 1
        self._paint_list()
        self.query_one("#outcome", Static).update(_EMPTY)
        self._paint_below()

    def _known(self, found: tuple[WhatIf, Sequence[Calibration]]) -> None:
        whatif, told = found
        if whatif.run_id != self._run_id:
            return
        self._reading, self._calibrations, self._accepted = False, told, ()
        self._whatif, self._knobs = whatif, whatif.knobs
        names = [knob.key for knob in self._knobs]
        left, self._left = self._left, ""
        self.list.chosen = names.index(left) if left in names else min(self.list.chosen, len(names) - 1)
        self._now = {knob.key: whatif.value(knob.key) for knob in self._knobs}
        self._moved = {key: value for key, value in self._moved.items() if value != self._now.get(key, value)}
        self._before = None
        self._paint_list()
        self._ask()
        early, self._early = self._early, []
        for act in early:
            act()

    def _too_early(self, act: Callable[[], None]) -> bool:
        """Keep what a key does until there is something to do it to; False where there is."""
        if not self._knobs and self._reading:
            self._early.append(act)
        return not self._knobs

    # -- moving ------------------------------------------------------------------------------------------------------

    def on_knob_list_pointed(self, event: KnobList.Pointed) -> None:
        self._point(event.index)
        self.home()

    def action_point(self, by: int) -> None:
        if not self._too_early(lambda: self.action_point(by)):
            self._point(max(0, min(len(self._knobs) - 1, self.list.chosen + by)))

    def _point(self, index: int) -> None:
        """The checks of pairs stand last: where not all fit, they are scrolled to with the thresholds of pairs."""
        before, after = (self._knobs[at].key.startswith("pairs.") for at in (self.list.chosen, index))
        self.list.chosen = index
        self._paint_list()
        box = self.query_one("#outcome-box")
        if after and not before:
            box.scroll_end(animate=False)
        elif before and not after:
            box.scroll_home(animate=False)

    def action_turn(self, by: int) -> None:
        if self._too_early(lambda: self.action_turn(by)):
            return
        knob = self._knobs[self.list.chosen]
        value = self._moved.get(knob.key, self._now[knob.key])
        self._set(knob.key, round(max(knob.low, min(knob.high, value + by * knob.step)), 6))

    def action_reset(self) -> None:
        if not self._too_early(self.action_reset):
            key = self._knobs[self.list.chosen].key
            self._set(key, self._now[key])

    def action_reset_all(self) -> None:
        if self._too_early(self.action_reset_all):
            return
        self._moved = {}
        self._paint_list()
        self._ask()

    def _set(self, key: str, value: float) -> None:
        if value == self._now[key]:
            self._moved.pop(key, None)
        else:
            self._moved[key] = value
        self._paint_list()
        self._ask()

    def _paint_list(self) -> None:
        if self._knobs:
            self.list.show(self._knobs, self._now, self._moved)
        else:
            self.list.update(row(("No sample is judged yet.", QUIET)))

    # -- what it would do --------------------------------------------------------------------------------------------

    def _overrides(self) -> dict[str, str]:
        whole = {knob.key for knob in self._knobs if knob.step == 1}
        return {key: str(int(value)) if key in whole else repr(float(value)) for key, value in self._moved.items()}

    @property
    def _above(self) -> float:
        """The score above which samples would be accepted."""
        return self._moved.get(ABOVE, self._now[ABOVE])

    def _ask(self) -> None:
        whatif, run_id, overrides = self._whatif, self._run_id, self._overrides()
        if whatif is None:
            return
        self._asked += 1
        number, told, above = self._asked, self._calibrations, self._above

        def read(library: Library) -> tuple[Consequence, Consequence | str, list[dict[str, Any]], list[dict[str, Any]]]:
            before = self._before or whatif.under({})
            accepted = [one.accepted(above) for one in told]
            try:
                after = whatif.under(overrides)
            except CaiError as error:
                return before, error.title, [], accepted
            return before, after, library.offenders(run_id, [item.sample_id for item in after.changes]), accepted

        def arrived(
            found: tuple[Consequence, Consequence | str, list[dict[str, Any]], list[dict[str, Any]]],
        ) -> None:
            self._before = found[0]
            if number == self._asked:
                self._accepted = found[3]
                self._paint(*found[:3])

        self.read("working out what thresholds would do", read, arrived)

    def _paint(self, before: Consequence, after: Consequence | str, texts: Sequence[Mapping[str, Any]]) -> None:
        if isinstance(after, str):
            rows = [row(("✗ ", TONES["bad"]), (make_visible(after, limit=400), "bold")), row(("Move it back.", QUIET))]
            self.query_one("#outcome", Static).update(lines(rows))
            self._paint_below()
            return
        width = self.query_one("#outcome-box").scrollable_content_region.width
        rows = [acceptance_line(kind, before, after, width) for kind in after.acceptance]
        was = {check.name: check for check in before.checks}  # with no pair left there is no smallest margin
        rows += [check_line(was.get(check.name, check), check) for check in after.checks]
        checks = [check.told() for check in after.checks]
        told = f"{RESULTS[gate_result(checks)][0]} {tally(checks)}"
        box = self.query_one("#outcome-box")
        box.border_subtitle = f"{told} · {'Enter applies' if self._moved else 'as it is'}"
        self.query_one("#outcome", Static).update(lines(rows))
        self._changes = self._changed_lines(before, after, texts)
        self._changed = f"{len(after.changes)} of {after.changed:,}" if after.changed else ""
        self._paint_below()

    def _changed_lines(
        self, before: Consequence, after: Consequence, texts: Sequence[Mapping[str, Any]]
    ) -> Sequence[Content]:
        by_id = {text["id"]: text for text in texts}
        rows = [row((told, "bold $text-warning")) for told in others_moved(before, after)]
        if not after.changed:
            why = "" if after.filters["sample"] else " No critic of pairs may filter: rules decide, its margins do not."
            said = "No sample would change sides." if self._moved else "Move a threshold with ← and →."
            return [*rows, row((said + why, QUIET))]
        for item in after.changes:
            text = by_id.get(item.sample_id, {})
            rows.append(
                row(
                    verdict_mark(item.before), " → ", verdict_mark(item.after),
                    (f"  {item.sample_id[:12]}  {one_line(item.reason, 80)}", QUIET),
                )
            )  # fmt: skip
            rows.append(row(("  ", ""), one_line(text.get("instruction") or "", 200)))
            rows.append(row(("  → ", "$accent"), one_line(text.get("response") or "", 300)))
        return rows

    def action_calibration(self) -> None:
        self._shows_calibration = not self._shows_calibration
        self.set_class(self._shows_calibration, "-calibration")
        self._paint_below()
        self.query_one("#changes-box").scroll_home(animate=False)

    def _paint_below(self) -> None:
        """What changes sides, or how well the critics are calibrated, whichever is chosen."""
        box = self.query_one("#changes-box")
        if not self._shows_calibration:
            box.border_title, box.border_subtitle = "What changes sides", self._changed
            self.query_one("#changes", Static).update(lines(self._changes))
            return
        box.border_title, box.border_subtitle = "How well the critic is calibrated", "g what changes sides"
        width = max(20, box.content_size.width - 1)  # the scrollbar comes with the text
        rows = [
            line
            for one, accepted in zip(self._calibrations, self._accepted, strict=False)
            for line in calibration_lines(one, self._above, accepted, width)
        ]
        self.query_one("#changes", Static).update(lines(rows or [row((_UNCALIBRATED, QUIET))]))

    # -- applying ----------------------------------------------------------------------------------------------------

    def action_apply(self) -> None:
        if self._too_early(self.action_apply):
            return
        if not self._moved:
            self.notify("Nothing is moved yet: ← and → move the threshold under the cursor.")
            return
        if self._active:
            self.notify("The run is going on with its thresholds. Stop it first (s), then apply.", severity="warning")
            return
        overrides, run_id = self._overrides(), self._run_id
        told = "; ".join(f"{key} {self._now[key]:g} → {self._moved[key]:g}" for key in overrides)
        question = DockedQuestion(
            f"thresholds:{run_id}",
            "Apply thresholds",
            f"{told}. Verdicts and the gate are decided anew from stored rows; the decision is kept with your reason.",
            (Choice("y", "apply", "apply", asks="why"), Choice("n", "leave it", "leave")),
            on_escape="leave",
        )

        def answered(answer: str, reason: str) -> None:
            if answer != "apply":
                return

            def write(store: Store) -> tuple[dict[str, int], list[dict[str, Any]]]:
                from engine.analyses.whatif import WhatIf, apply

                changed = apply(store, run_id, overrides, reason)
                with store.reader() as reader:
                    checks = WhatIf(reader, run_id).under({}).checks
                return changed, [check.told() for check in checks]

            self.post_message(WriteWanted("applying thresholds", write, self._applied))

        self.host.ask(question, answered)

    def _applied(self, found: tuple[dict[str, int], Sequence[Mapping[str, Any]]]) -> None:
        changed, checks = found
        pairs = f", {changed['pair']} preference pairs" if "pair" in changed else ""
        sides = f"{changed['sample']} samples and {changed['instruction']} instructions{pairs} changed sides."
        result = gate_result(checks)
        failed = ", ".join(str(check["check_name"]) for check in checks if check["result"] in FAILING)
        says = {PASSED: "The gate passes now", FAILED: f"The gate fails now: {failed}; 4 says what may be done"}
        gate = f"{RESULTS[result][0]} {says.get(result, 'The gate is not tested')}. {tally(checks)}."
        self.notify(
            f"Applied: {sides}\n{gate}", severity="information" if result == PASSED else "warning", markup=False
        )
        self._moved, self._read_at = {}, ()
        self.post_message(RunWanted("show", self._run_id))
