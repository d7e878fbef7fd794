"""What would be trained before it is: locks with their keys, the memory forecast, examples, steps, settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from tui.widgets.marks import QUIET, TONES, hanging, lines, row
from tui.words.text import make_visible
from tui.words.training import (
    examples_words,
    memory_words,
    settings_words,
    stands_words,
    start_words,
    steps_words,
    title_of,
)
from tui.words.wording import TRAINING_PHASES

Plan = Mapping[str, Any]
Ask = Callable[[str, Callable[["Plan | str"], None]], None]
_NAMES = {"sft": "SFT", "dpo": "Preferences"}


class TrainingPlanScreen(ModalScreen["Plan | None"]):
    """Returns the plan that is to be carried out, or None where it was left.

    `ask` works a plan out in the background, and calls back with it or with what is wrong; `busy` says why nothing can
    be started now, "" where something can.
    """

    DEFAULT_CSS = """
    TrainingPlanScreen { align: center middle; background: $background 60%; }
    #plan { width: 96%; max-width: 120; height: auto; max-height: 100%; margin: 0 0 2 0; background: $background; }
    #plan-told { height: auto; }
    #plan-box { height: auto; max-height: 1fr; scrollbar-size-vertical: 1; }
    #plan-text { height: auto; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "start", "Train", id="plan.start", priority=True, tooltip="Train where every lock is open"),
        Binding("tab,right,left,l,h", "other", "Other", id="plan.other", priority=True,
                tooltip="SFT or preferences"),
        Binding("escape,n,q", "back", "Back", id="plan.back", priority=True, tooltip="Train nothing"),
        Binding("down,j", "scroll(1)", "Down", id="plan.down", show=False, tooltip="Scroll down"),
        Binding("up,k", "scroll(-1)", "Up", id="plan.up", show=False, tooltip="Scroll up"),
    ]  # fmt: skip

    def __init__(self, run_id: str, kind: str, ask: Ask, busy: Callable[[], str]) -> None:
        super().__init__()
        self._run_id = run_id
        self._kind = kind
        self._ask = ask
        self._busy = busy
        self._plans: dict[str, Plan | str] = {}

    def compose(self) -> ComposeResult:
        with Vertical(id="plan", classes="panel") as panel:
            panel.border_title = Content(f"Train the model of run {self._run_id}")
            panel.border_subtitle = "Enter trains · Tab other · j k scroll · Esc back"
            yield Static(id="plan-told", markup=False)
            with VerticalScroll(id="plan-box", can_focus=False):
                yield Static(id="plan-text", markup=False)

    def on_mount(self) -> None:
        self._look()

    def _look(self) -> None:
        kind = self._kind
        self._paint()
        if kind not in self._plans:

            def arrived(plan: Plan | str) -> None:
                self._plans[kind] = plan
                if self.is_attached and kind == self._kind:
                    self._paint()

            self._ask(kind, arrived)

    def _paint(self, refused: str = "") -> None:
        plan = self._plans.get(self._kind)
        tabs: list[tuple[str, str] | str] = []
        for kind in TRAINING_PHASES:
            tabs += [(f" {_NAMES[kind]} ", "bold reverse" if kind == self._kind else QUIET), " "]
        if plan is None:
            told, text = row(("Working out what would be trained …", QUIET)), Content("")
        elif isinstance(plan, str):
            told, text = row(("✗ ", TONES["bad"]), (make_visible(plan, limit=600), "bold")), Content("")
        else:
            told, text = _verdict(plan), lines(plan_lines(plan, self._width))
        rows = [row(*tabs), told]
        if refused:
            rows.append(row(("→ ", TONES["warn"]), (make_visible(refused, limit=600), TONES["warn"])))
        self.query_one("#plan-told", Static).update(lines(rows))
        self.query_one("#plan-text", Static).update(text)

    @property
    def _width(self) -> int:
        box = self.query_one("#plan-box")
        return box.size.width - 1  # without a scrollbar that may come

    def on_resize(self) -> None:
        self.call_after_refresh(self._paint)

    def action_other(self) -> None:
        self._kind = next(kind for kind in TRAINING_PHASES if kind != self._kind)
        self.query_one("#plan-box").scroll_home(animate=False)
        self._look()

    def action_scroll(self, by: int) -> None:
        self.query_one("#plan-box").scroll_relative(y=by, animate=False)

    def action_back(self) -> None:
        self.dismiss(None)

    def action_start(self) -> None:
        plan = self._plans.get(self._kind)
        if plan is None or isinstance(plan, str):
            return
        if why := why_not(plan) or self._busy():
            self._paint(why)
        else:
            self.dismiss(plan)


def why_not(plan: Plan) -> str:
    """Why this plan cannot be carried out, and what changes that; "" where it can."""
    if plan["done"]:
        kind = plan["kind"]
        return f"Nothing is left to do. Train it otherwise with: cai train {kind} --set {kind}.KEY=VALUE"
    shut = [lock for lock in plan["locks"] if not lock["open"]]
    if not shut:
        return ""
    more = f" And {len(shut) - 1} more." if shut[1:] else ""
    return f"Locked: {shut[0]['name']}. To open it: {shut[0]['key']}{more}"


def _verdict(plan: Plan) -> Content:
    shut = [lock for lock in plan["locks"] if not lock["open"]]
    name = f"{title_of(plan)} {plan['training_id']} "
    if plan["done"]:
        return row(("✓ ", TONES["good"]), (name, "bold"), (stands_words(plan), TONES["good"]))
    if shut:
        told = "one lock is shut" if len(shut) == 1 else f"{len(shut)} locks are shut"
        return row(("✗ ", TONES["bad"]), (name, "bold"), (told, TONES["bad"]))
    return row(("▶ ", "$accent"), (name, "bold"), (f"{stands_words(plan)} · Enter trains", "$accent"))


def plan_lines(plan: Plan, width: int) -> list[Content]:
    """Shut locks first, since they are what has to be done; then what it is, and the locks that are open."""
    memory, parts, fits = memory_words(plan["memory"])
    shut = [lock for lock in plan["locks"] if not lock["open"]]
    rows = []
    for lock in shut:
        rows += hanging(("✗ ", TONES["bad"]), f"{lock['name']}: {lock['found']}", width, "bold")
        rows += hanging(("  to open it: ", QUIET), lock["key"], width)
    stands = plan.get("stands")
    if stands and stands["reason"] and not plan["done"]:
        rows += _fact(stands["state"], stands["reason"], width)
    rows += _fact("examples", examples_words(plan), width)
    rows += _fact("steps", steps_words(plan), width)
    rows += _fact("begins with", start_words(plan), width)
    rows += _fact("memory", memory, width, "" if fits else TONES["warn"])
    rows += _fact("", parts, width, QUIET) if parts else []
    for at, line in enumerate(settings_words(plan)):
        rows += _fact("" if at else "settings", line, width)
    for lock in plan["locks"]:
        if lock["open"]:
            rows += hanging(("✓ ", TONES["good"]), f"{lock['name']}: {lock['found']}", width)
    return rows


def _fact(name: str, told: str, width: int, style: str = "") -> list[Content]:
    return hanging((f"{name:<12}", QUIET), told, width, style)
