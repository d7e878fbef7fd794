"""What would be trained before it is: locks with their keys, the memory forecast, examples, steps, settings."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.content import Content

from store.names import TRAINING_PHASES
from tui.widgets.marks import QUIET, TONES, hanging, progress_bar, row
from tui.widgets.plan import Plan, PlanScreen, fact, scroll_keys
from tui.words.training import (
    examples_words,
    memory_words,
    section_of,
    settings_words,
    stands_words,
    start_words,
    steps_words,
    title_of,
)

Ask = Callable[[str, Callable[[Plan | str], None]], None]
BAR = 16
NAMES = {"sft": "SFT", "dpo": "Preferences"}


class TrainingPlanScreen(PlanScreen):
    """`ask` works a plan out in the background, and calls back with it or with what is wrong."""

    NAME = "plan"
    WAITING = "Working out what would be trained …"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "start", "Train", id="plan.start", priority=True, tooltip="Train where every lock is open"),
        Binding("tab,right,left,l,h", "other", "Other", id="plan.other", priority=True,
                tooltip="SFT or preferences"),
        Binding("escape,n,q", "back", "Back", id="plan.back", priority=True, tooltip="Train nothing"),
        *scroll_keys("plan"),
    ]  # fmt: skip

    def __init__(self, run_id: str, kind: str, ask: Ask, busy: Callable[[], str]) -> None:
        hints = "Enter trains · Tab other · j k scroll · Esc back"
        super().__init__(f"Train the model of run {run_id}", hints, busy)
        self._kind = kind
        self._ask = ask
        self._plans: dict[str, Plan | str] = {}

    def on_mount(self) -> None:
        self._look()

    def _look(self) -> None:
        kind = self._kind
        self.paint()
        if kind not in self._plans:

            def arrived(plan: Plan | str) -> None:
                self._plans[kind] = plan
                if self.is_attached and kind == self._kind:
                    self.paint()

            self._ask(kind, arrived)

    def plan(self) -> Plan | str | None:
        return self._plans.get(self._kind)

    def head(self) -> list[Content]:
        tabs: list[tuple[str, str] | str] = []
        for kind in TRAINING_PHASES:
            tabs += [(f" {NAMES[kind]} ", "bold reverse" if kind == self._kind else QUIET), " "]
        return [row(*tabs)]

    def verdict(self, plan: Plan) -> Content:
        told = verdict_of(plan)
        begins = not plan["done"] and all(lock["open"] for lock in plan["locks"])
        return Content.assemble(told, (" · Enter trains", "$accent")) if begins else told

    def body(self, plan: Plan, width: int) -> list[Content]:
        return [line for part in parts_of(plan, width) for line in part]

    def why_not(self, plan: Plan) -> str:
        if plan["done"]:
            kind, section = plan["kind"], section_of(plan)
            return f"Nothing is left to do. Train it otherwise with: cai train {kind} --set {section}.KEY=VALUE"
        shut = [lock for lock in plan["locks"] if not lock["open"]]
        if not shut:
            return ""
        more = f" And {len(shut) - 1} more." if shut[1:] else ""
        return f"Locked: {shut[0]['name']}. To open it: {shut[0]['key']}{more}"

    def action_other(self) -> None:
        self._kind = next(kind for kind in TRAINING_PHASES if kind != self._kind)
        self._box.scroll_home(animate=False)
        self._look()


def verdict_of(plan: Plan) -> Content:
    """Whether it can be trained now, and how many locks bar it."""
    shut = [lock for lock in plan["locks"] if not lock["open"]]
    name = f"{title_of(plan)} {plan['training_id']} "
    if plan["done"]:
        return row(("✓ ", TONES["good"]), (name, "bold"), (stands_words(plan), TONES["good"]))
    if shut:
        told = "one lock is shut" if len(shut) == 1 else f"{len(shut)} locks are shut"
        return row(("✗ ", TONES["bad"]), (name, "bold"), (told, TONES["bad"]))
    return row(("▶ ", "$accent"), (name, "bold"), (stands_words(plan), "$accent"))


def plan_lines(plan: Plan | str, width: int, room: int) -> list[Content]:
    """The verdict, how many locks are open, then the parts, with lines between them where there is room for those."""
    if isinstance(plan, str):
        return hanging(("✗ ", TONES["bad"]), plan, width, "bold")
    opened, many = sum(lock["open"] for lock in plan["locks"]), len(plan["locks"])
    tone = TONES["good"] if opened == many else TONES["warn"]
    bar = progress_bar(opened / many if many else 1.0, BAR, tone)
    rows = [verdict_of(plan), row(bar, f" {opened} of {many} locks open")]
    parts = [part for part in parts_of(plan, width) if part]
    spread = len(rows) + sum(map(len, parts)) + len(parts) <= room
    for part in parts:
        rows += [*([Content("")] if spread else []), *part]
    return rows


def parts_of(plan: Plan, width: int) -> list[list[Content]]:
    """Shut locks first, since they are what has to be done; then what it is, and the locks that are open."""
    memory, parts, fits = memory_words(plan["memory"])
    shut, about, opened = [], [], []
    for lock in plan["locks"]:
        if lock["open"]:
            opened += hanging(("✓ ", TONES["good"]), f"{lock['name']}: {lock['found']}", width)
        else:
            shut += hanging(("✗ ", TONES["bad"]), f"{lock['name']}: {lock['found']}", width, "bold")
            shut += hanging(("  to open it: ", QUIET), lock["key"], width)
    stands = plan.get("stands")
    if stands and stands["reason"] and not plan["done"]:
        about += fact(stands["state"], stands["reason"], width)
    about += fact("examples", examples_words(plan), width)
    about += fact("steps", steps_words(plan), width)
    about += fact("begins with", start_words(plan), width)
    about += fact("memory", memory, width, "" if fits else TONES["warn"])
    about += fact("", parts, width, QUIET) if parts else []
    for at, line in enumerate(settings_words(plan)):
        about += fact("" if at else "settings", line, width)
    return [shut, about, opened]
