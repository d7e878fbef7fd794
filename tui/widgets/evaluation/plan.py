"""What an evaluation would ask before it does: conditions, items, missing answers, and what is registered."""

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
from tui.words.evaluation import registration_caveat
from tui.words.text import make_visible
from tui.words.wording import count

Offer = Mapping[str, Any]
NAME = 18


class EvaluationPlanScreen(ModalScreen["bool | None"]):
    """Returns True where the evaluation is to be done.

    `ask` works the offer out in the background and calls back with it or with what is wrong; `settle` registers, and
    calls back with what is wrong or ""; `busy` says why nothing can be started now, "" where something can.
    """

    DEFAULT_CSS = """
    EvaluationPlanScreen { align: center middle; background: $background 60%; }
    #offer { width: 96%; max-width: 120; height: auto; max-height: 100%; margin: 0 0 2 0; background: $background; }
    #offer-told { height: auto; }
    #offer-box { height: auto; max-height: 1fr; scrollbar-size-vertical: 1; }
    #offer-text { height: auto; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "start", "Evaluate", id="offer.start", priority=True, tooltip="Ask what is missing; compare"),
        Binding("p", "settle", "Preregister", id="offer.settle", priority=True,
                tooltip="Settle hypotheses and tests now, before results exist"),
        Binding("escape,e,q", "back", "Back", id="offer.back", priority=True, tooltip="Ask nothing"),
        Binding("down,j", "scroll(1)", "Down", id="offer.down", show=False, tooltip="Scroll down"),
        Binding("up,k", "scroll(-1)", "Up", id="offer.up", show=False, tooltip="Scroll up"),
    ]  # fmt: skip

    def __init__(
        self,
        run_id: str,
        ask: Callable[[Callable[[Offer | str], None]], None],
        settle: Callable[[Callable[[str], None]], None],
        busy: Callable[[], str],
    ) -> None:
        super().__init__()
        self._run_id, self._ask, self._settle, self._busy = run_id, ask, settle, busy
        self._offer: Offer | str | None = None

    def compose(self) -> ComposeResult:
        with Vertical(id="offer", classes="panel") as panel:
            panel.border_title = Content(f"Evaluate run {self._run_id}")
            panel.border_subtitle = "Enter evaluates · p preregisters · j k scroll · Esc back"
            yield Static(id="offer-told", markup=False)
            with VerticalScroll(id="offer-box", can_focus=False):
                yield Static(id="offer-text", markup=False)

    def on_mount(self) -> None:
        self._paint()
        self._ask(self._arrived)

    def _arrived(self, offer: Offer | str) -> None:
        self._offer = offer
        if self.is_attached:
            self._paint()

    def _paint(self, said: str = "") -> None:
        offer = self._offer
        told = row(("Working out what would be asked …", QUIET))
        text = Content("")
        if isinstance(offer, str):
            told = row(("✗ ", TONES["bad"]), (make_visible(offer, limit=600), "bold"))
        elif offer is not None:
            missing = sum(one["missing"] for one in offer["conditions"])
            what = (
                f"{count(missing)} answers are missing"
                if missing
                else "every answer is there: verified and compared anew"
            )
            told = row(("▶ ", "$accent"), (f"{what} · Enter evaluates", "$accent"))
            text = lines(offer_lines(offer, max(40, self.query_one("#offer-box").size.width - 1)))
        rows = [told]
        if said:
            rows.append(row(("→ ", TONES["warn"]), (make_visible(said, limit=600), TONES["warn"])))
        self.query_one("#offer-told", Static).update(lines(rows))
        self.query_one("#offer-text", Static).update(text)

    def on_resize(self) -> None:
        self.call_after_refresh(self._paint)

    def action_scroll(self, by: int) -> None:
        self.query_one("#offer-box").scroll_relative(y=by, animate=False)

    def action_back(self) -> None:
        self.dismiss(None)

    def action_settle(self) -> None:
        if self._offer is None or isinstance(self._offer, str):
            return

        def settled(wrong: str) -> None:
            if self.is_attached:
                self._paint(wrong or "Registered. It counts as long as no tuned model has answered before it.")
                self._ask(self._arrived)

        self._settle(settled)

    def action_start(self) -> None:
        if self._offer is None or isinstance(self._offer, str):
            return
        if why := self._busy():
            self._paint(why)
        else:
            self.dismiss(True)


def offer_lines(offer: Offer, width: int) -> list[Content]:
    """Conditions with what is missing, items by type, the registration, and the settings."""
    rows = []
    for one in offer["conditions"]:
        done = one["items"] - one["missing"]
        shape, tone = ("✓", TONES["good"]) if not one["missing"] else ("◐" if done else "○", QUIET)
        who = f" ({one['adapter']})" if one["adapter"] else f" ({one['model']})" if one["name"] == "reference" else ""
        told = f"{count(done)} of {count(one['items'])} · {one['in_words']}{who}"
        rows += hanging((f"{shape} {one['name']:<{NAME - 2}}", tone), told, width)
    for capability, types in offer["items"].items():
        test, dev = (sum(splits.get(name, 0) for splits in types.values()) for name in ("test", "dev"))
        about = " (the claim is about these)" if capability == offer["capability"] else ""
        told = f"{capability.replace('_', ' ')}{about}: {count(test)} test, {count(dev)} dev, in {len(types)} types"
        rows += _fact("items", told, width)
        rows += _fact("", ", ".join(name.replace("_", " ") for name in types), width, QUIET)
    rows += _fact(
        "frozen", f"items {offer['items_sha256'][:16]} · verifiers {offer['scorer_sha256'][:16]}", width, QUIET
    )
    rows += _registered(offer, width)
    settings = ", ".join(f"{name} {_plain(value)}" for name, value in offer["settings"].items() if value is not None)
    return [*rows, *_fact("settings", settings, width, QUIET)]


def _registered(offer: Offer, width: int) -> list[Content]:
    found = offer["registered"]
    if found is None:
        told = "nothing yet: results will be exploratory. p settles what will be tested, before a tuned model answers"
        return _fact("registered", told, width, TONES["warn"])
    body = found["body"]
    forecast = body["forecast"]
    rows = _fact("registered", f"{found['at']:%Y-%m-%d %H:%M} UTC · {body['statement']}", width)
    if caveat := registration_caveat(body, offer["items_sha256"], offer["scorer_sha256"]):
        rows += _fact("", caveat, width, TONES["warn"])
    detectable = (
        ""
        if forecast["detectable"] is None
        else f", smallest difference shown {100 * forecast['detectable']:.1f} points"
    )
    power = f"power {forecast['power']:.2f} with n {count(sum(body['n'].values()))}{detectable}"
    needed = (
        "" if forecast["n_needed"] is None else f"; {body['power']:.0%} power needs n {count(forecast['n_needed'])}"
    )
    return [*rows, *_fact("", power + needed, width, QUIET)]


def _plain(value: object) -> str:
    if isinstance(value, list):
        return "+".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value).lower()


def _fact(name: str, told: str, width: int, style: str = "") -> list[Content]:
    return hanging((f"{name:<{NAME}}", QUIET), told, width, style)
