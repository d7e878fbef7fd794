"""A screen that tells what would be done before it is: worked out in the background, begun with one key."""

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

Plan = Mapping[str, Any]


def scroll_keys(name: str) -> list[BindingType]:
    return [
        Binding("down,j", "scroll(1)", "Down", id=f"{name}.down", show=False, tooltip="Scroll down"),
        Binding("up,k", "scroll(-1)", "Up", id=f"{name}.up", show=False, tooltip="Scroll up"),
    ]


class PlanScreen(ModalScreen["Plan | None"]):
    """Returns the plan that is to be carried out, or None where it was left.

    `busy` says why nothing can be started now, "" where something can.
    """

    NAME: ClassVar[str]
    WAITING: ClassVar[str]  # what is said until the plan is there
    DEFAULT_CSS = """
    PlanScreen { align: center middle; background: $background 60%; }
    .plan { width: 96%; max-width: 120; height: auto; max-height: 100%; margin: 0 0 2 0; background: $background; }
    .plan-told { height: auto; }
    .plan-box { height: auto; max-height: 1fr; scrollbar-size-vertical: 1; }
    .plan-text { height: auto; }
    """

    def __init__(self, title: str, hints: str, busy: Callable[[], str]) -> None:
        super().__init__()
        self._title, self._hints, self._busy = title, hints, busy

    def compose(self) -> ComposeResult:
        with Vertical(id=self.NAME, classes="panel plan") as panel:
            panel.border_title = Content(self._title)
            panel.border_subtitle = self._hints
            yield Static(id=f"{self.NAME}-told", classes="plan-told", markup=False)
            with VerticalScroll(id=f"{self.NAME}-box", classes="plan-box", can_focus=False):
                yield Static(id=f"{self.NAME}-text", classes="plan-text", markup=False)

    # -- what a plan is ----------------------------------------------------------------------------------------------

    def plan(self) -> Plan | str | None:
        """The plan, what is wrong with it, or None until it is worked out."""
        raise NotImplementedError

    def head(self) -> list[Content]:
        """What stands above the verdict."""
        return []

    def verdict(self, plan: Plan) -> Content:
        raise NotImplementedError

    def body(self, plan: Plan, width: int) -> list[Content]:
        raise NotImplementedError

    def why_not(self, plan: Plan) -> str:
        """Why this plan cannot be carried out, and what changes that; "" where it can."""
        return ""

    # -- how it is shown ---------------------------------------------------------------------------------------------

    def paint(self, said: str = "") -> None:
        plan, text = self.plan(), Content("")
        if plan is None:
            told = row((self.WAITING, QUIET))
        elif isinstance(plan, str):
            told = row(("✗ ", TONES["bad"]), (make_visible(plan, limit=600), "bold"))
        else:
            told = self.verdict(plan)
            text = lines(self.body(plan, self._box.size.width - 1))  # without a scrollbar that may come
        rows = [*self.head(), told]
        if said:
            rows.append(row(("→ ", TONES["warn"]), (make_visible(said, limit=600), TONES["warn"])))
        self.query_one(f"#{self.NAME}-told", Static).update(lines(rows))
        self.query_one(f"#{self.NAME}-text", Static).update(text)

    @property
    def _box(self) -> VerticalScroll:
        return self.query_one(f"#{self.NAME}-box", VerticalScroll)

    def on_resize(self) -> None:
        self.call_after_refresh(self.paint)

    def action_scroll(self, by: int) -> None:
        self._box.scroll_relative(y=by, animate=False)

    def action_back(self) -> None:
        self.dismiss(None)

    def action_start(self) -> None:
        plan = self.plan()
        if plan is None or isinstance(plan, str):
            return
        if why := self.why_not(plan) or self._busy():
            self.paint(why)
        else:
            self.dismiss(plan)


def fact(name: str, told: str, width: int, style: str = "", *, cells: int = 12) -> list[Content]:
    """A fact behind its name, in as many lines as it takes."""
    return hanging((f"{name:<{cells}}", QUIET), told, width, style)
