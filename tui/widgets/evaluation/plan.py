"""What an evaluation would ask before it does: conditions, items, missing answers, and what is registered."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.content import Content

from engine.core.figures import count
from tui.widgets.marks import QUIET, TONES, hanging, row
from tui.widgets.plan import Plan as Offer
from tui.widgets.plan import PlanScreen, fact, scroll_keys
from tui.words.evaluation import registration_caveat
from tui.words.judging import offer_words

NAME = 18
_fact = partial(fact, cells=NAME)


class EvaluationPlanScreen(PlanScreen):
    """Returns what would be asked where it is to be.

    `ask` works the offer out in the background and calls back with it or with what is wrong; `settle` registers, and
    calls back with what is wrong or "".
    """

    NAME = "offer"
    WAITING = "Working out what would be asked …"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "start", "Evaluate", id="offer.start", priority=True, tooltip="Ask what is missing; compare"),
        Binding("p", "settle", "Preregister", id="offer.settle", priority=True,
                tooltip="Settle hypotheses and tests now, before results exist"),
        Binding("escape,e,q", "back", "Back", id="offer.back", priority=True, tooltip="Ask nothing"),
        *scroll_keys("offer"),
    ]  # fmt: skip

    def __init__(
        self,
        run_id: str,
        ask: Callable[[Callable[[Offer | str], None]], None],
        settle: Callable[[Callable[[str], None]], None],
        busy: Callable[[], str],
    ) -> None:
        super().__init__(f"Evaluate run {run_id}", "Enter evaluates · p preregisters · j k scroll · Esc back", busy)
        self._ask, self._settle = ask, settle
        self._offer: Offer | str | None = None

    def on_mount(self) -> None:
        self.paint()
        self._ask(self._arrived)

    def _arrived(self, offer: Offer | str) -> None:
        self._offer = offer
        if self.is_attached:
            self.paint()

    def plan(self) -> Offer | str | None:
        return self._offer

    def verdict(self, plan: Offer) -> Content:
        missing = sum(one["missing"] for one in plan["conditions"])
        what = "every answer is there: verified and compared anew"
        if missing:
            what = f"{count(missing)} answers are missing"
        return row(("▶ ", "$accent"), (f"{what} · Enter evaluates", "$accent"))

    def body(self, plan: Offer, width: int) -> list[Content]:
        return offer_lines(plan, max(40, width))

    def action_settle(self) -> None:
        if self._offer is None or isinstance(self._offer, str):
            return

        def settled(wrong: str) -> None:
            if self.is_attached:
                self.paint(wrong or "Registered. It counts as long as no tuned model has answered before it.")
                self._ask(self._arrived)

        self._settle(settled)


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
        told = f"{capability.replace('_', ' ')}{about}: {count(test)} test and {count(dev)} development items in "
        told += f"{len(types)} types"
        rows += _fact("items", told, width)
        rows += _fact("", ", ".join(name.replace("_", " ") for name in types), width, QUIET)
    frozen = f"items {offer['items_sha256'][:16]} · verifiers {offer['scorer_sha256'][:16]}"
    rows += _fact("frozen", frozen, width, QUIET)
    if offer["judge"] is not None:
        rows += _fact("judge", offer_words(offer["judge"]), width)
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
    power = f"power {forecast['power']:.2f} with n {count(forecast.get('n', sum(body['n'].values())))}"
    if "clusters" in forecast:
        power += f" of {count(forecast['clusters'])} templates, alike by {forecast['icc']:.2f}"
    if forecast["detectable"] is not None:
        power += f", smallest difference shown {100 * forecast['detectable']:.1f} points"
    if forecast["n_needed"] is not None:
        power += f"; {body['power']:.0%} power needs n {count(forecast['n_needed'])}"
        if "clusters_needed" in forecast:
            power += f" of {count(forecast['clusters_needed'])} templates"
    return [*rows, *_fact("", power, width, QUIET)]


def _plain(value: object) -> str:
    if isinstance(value, list):
        return "+".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value).lower()
