"""What could be trained, both kinds beside each other: what bars each, with its figure, and how that is opened."""

from __future__ import annotations

from textual import events
from textual.app import ComposeResult
from textual.containers import Container, VerticalScroll
from textual.content import Content
from textual.widgets import Static

from store.names import TRAINING_PHASES
from tui.widgets.marks import QUIET, TONES, lines, progress_bar, row
from tui.widgets.plan import Plan
from tui.widgets.training.plan import NAMES, parts_of, verdict_of
from tui.words.text import make_visible

BAR = 16
BESIDE = 56  # cells from which two columns can be read


class TrainingPlans(Container):
    """A column for each kind; below each other where it is too narrow for that."""

    DEFAULT_CSS = """
    TrainingPlans { layout: horizontal; height: 1fr; }
    TrainingPlans > VerticalScroll { width: 1fr; height: 1fr; border-top: solid $foreground 20%; padding: 0 1 0 0;
                                     border-title-color: $text-accent; border-title-style: bold;
                                     scrollbar-size-vertical: 1; scrollbar-color: $primary 50%;
                                     scrollbar-background: $background; }
    TrainingPlans > VerticalScroll > Static { height: auto; }
    """

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self._plans: dict[str, Plan | str] = {}

    def compose(self) -> ComposeResult:
        for kind in TRAINING_PHASES:
            with VerticalScroll(id=f"would-{kind}", can_focus=False) as box:
                box.border_title = NAMES[kind]
                yield Static(row(("Working out what would be trained …", QUIET)), markup=False)

    def show(self, kind: str, plan: Plan | str) -> None:
        """Show a plan, or in words why there is none."""
        self._plans[kind] = plan
        self._paint(kind)

    def _paint(self, kind: str) -> None:
        plan, box = self._plans[kind], self.query_one(f"#would-{kind}", VerticalScroll)
        if isinstance(plan, str):
            told = [row(("✗ ", TONES["bad"]), (make_visible(plan, limit=600), "bold"))]
        else:
            told = plan_lines(plan, box.size.width - 2, box.size.height)
        box.query_one(Static).update(lines(told))

    def on_resize(self, event: events.Resize) -> None:
        self.styles.layout = "horizontal" if event.size.width >= BESIDE else "vertical"
        for kind in self._plans:
            self.call_after_refresh(self._paint, kind)

    def scroll(self, by: int) -> None:
        for box in self.query(VerticalScroll):
            box.scroll_relative(y=by, animate=False)


def plan_lines(plan: Plan, width: int, room: int) -> list[Content]:
    """The verdict, how many locks are open, then the parts; with lines between them where there is room."""
    opened, many = sum(lock["open"] for lock in plan["locks"]), len(plan["locks"])
    tone = TONES["good"] if opened == many else TONES["warn"]
    rows = [
        verdict_of(plan),
        row(progress_bar(opened / many if many else 1.0, BAR, tone), f" {opened} of {many} locks open"),
    ]
    parts = [part for part in parts_of(plan, width) if part]
    spread = len(rows) + sum(map(len, parts)) + len(parts) <= room
    for part in parts:
        rows += [*([Content("")] if spread else []), *part]
    return rows
