"""When the engine asks for a review by itself, and what it does with the outcome.

The spec says which decisions wait for one (`review.ask`); who is asked is the machine's configuration. A run that is
not approved of waits: nothing is lost, and `cai resume` asks again or finds the answer that was given meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from engine.budget import Ledger
from engine.budget_prices import api_price
from engine.control import Control
from engine.errors import NotApproved, SettingsModified
from engine.events import Emit, Noted
from engine.review import Chain, Desk, ModelReviewer, ModelSettings, PersonReviewer, PolicyReviewer, find_key
from engine.review.context import Decision, asks, context_of
from engine.review.prompt import Section
from engine.review.reviewers import Answer, Request, Reviewer, Unanswered
from engine.spec import StageSpec, change
from store import Reader, Store

QUESTIONS: dict[Decision, str] = {
    "override": "This run deviates from its spec in the settings shown. May it go on with them?",
    "pilot": "The pilot passed its gates. May the run be scaled from the pilot to its target?",
    "gap": "The gap gate passed: the base lacks what is to be trained. Is that shown well enough to train on?",
    "sft": "May the model be trained by supervised fine-tuning on the accepted examples, with these settings?",
    "dpo": "May the model be trained on the kept preference pairs, with these settings?",
    "claim": "May the registered result be claimed, with the figures and the settings shown?",
}
CHARACTERS_A_TOKEN = 3  # at least: what a call is reserved at is no less than what it costs
ANSWER_TOKENS = 16_000  # at most, thoughts included
NOT_BILLED = frozenset(
    {"no_key", "auth", "not_found", "bad_request", "too_long", "rate_limit", "left_alone", "connect"}
)


@dataclass(frozen=True)
class ReviewOptions:
    """Who is asked: a person, a model, a model and then a person (chain), or fixed answers (policy).

    `present` says whether a person is there to answer; `confirm` has a person asked in any case. `prices` are dollars
    of a million input and output tokens, where the shipped table does not know the model.
    """

    reviewer: Literal["person", "model", "chain", "policy"] = "person"
    settings: ModelSettings = field(default_factory=ModelSettings)
    key_file: Path | None = None
    confirm: bool = False
    policy: Mapping[str, bool] = field(default_factory=dict)
    present: bool = False
    prices: tuple[float, float] | None = None


def modify(store: Store, reader: Reader, run_id: str, changed: SettingsModified) -> dict[str, Any]:
    """Make the changed settings the run's own, beside its other deviations from the spec; returns the run.

    Raises SpecError for a setting that is none or out of bounds.
    """
    run = reader.run(run_id)
    old, new = run["settings"], change(run["settings"], changed.changes).model_dump()
    overrides = dict(run["overrides"])
    for key in changed.changes:
        was = overrides[key][0] if key in overrides else _value(old, key)
        overrides[key] = [was, _value(new, key)]
    store.update_run(run_id, settings=new, overrides=overrides)
    return reader.run(run_id)


def _value(settings: Mapping[str, Any], key: str) -> Any:
    found: Any = settings
    for part in key.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found


class Paid:
    """A model as the reviewer, each call of which is reserved in the ledger before and settled after."""

    kind = "model"

    def __init__(self, inner: ModelReviewer, ledger: Ledger, stage: int, prices: tuple[float, float] | None) -> None:
        self.inner, self.name, self.key = inner, inner.name, inner.key
        self._ledger, self._stage = ledger, stage
        self._prices = api_price(inner.settings.model, prices)
        self.warning = self._prices.warning

    def ask(self, request: Request) -> Answer | Unanswered:
        """What the model answers. Raises BudgetReached, with nothing sent, where the call could pass the cap."""
        sent = len(request.instructions) + len(request.prompt) + sum(len(text) for _, text in request.turns)
        most = sent / CHARACTERS_A_TOKEN
        entry = self._ledger.reserve(self._prices, "review", self._stage, most, ANSWER_TOKENS)
        found = self.inner.ask(request)
        if isinstance(found, Answer) and "input_tokens" in found.facts:
            self._ledger.settle(entry, found.facts["input_tokens"], found.facts.get("output_tokens", 0))
        elif isinstance(found, Unanswered) and found.failure.kind in NOT_BILLED:
            self._ledger.settle(entry, 0, 0)
        else:  # nobody can say whether the answer that did not arrive was billed
            self._ledger.settle(entry, most, ANSWER_TOKENS)
        return found


def reviewer_of(
    options: ReviewOptions, control: Control, emit: Emit, *, ledger: Ledger | None = None, stage: int = 0
) -> Reviewer | Chain:
    """The reviewer that the options name. Raises ReviewError for a key file that others can read."""
    person = PersonReviewer(control, emit, present=options.present)
    if options.reviewer == "person":
        return person
    if options.reviewer == "policy":
        return PolicyReviewer(options.policy)
    model = ModelReviewer(options.settings, find_key(options.key_file), stopped=lambda: control.stopping)
    asked: Reviewer = model
    if ledger is not None:
        asked = paid = Paid(model, ledger, stage, options.prices)
        if paid.warning:
            emit(Noted(ledger.run_id, "warning", paid.warning))
    return Chain(asked, person, confirm=options.confirm) if options.reviewer == "chain" else asked


def forecast_section(reader: Reader, run_id: str, price_per_hour: float | None) -> Section:
    """What the rest of a run's stage takes and costs, forecast from its pilot; no part of a decision's evidence."""
    from engine.planning import plan_of

    found = plan_of(reader, run_id, price_per_hour=price_per_hour)
    stage, pipeline = found["forecast"]["stage"], found["forecast"]["pipeline"]
    left = found["budget"]["left_usd"]
    lines = [
        f"- budget left: {'no cap' if left is None else f'${left:,.2f}'}",
        f"- this stage from here on: {_forecast(stage['seconds'])} s of the device, {_forecast(stage['usd'])} dollars",
        f"- the pipeline from here on: {_forecast(pipeline['usd'])} dollars",
        f"- one accepted example: {_forecast(found['costs']['accepted_example']['seconds'])} s of the device",
    ]
    return Section("Forecast from the pilot [95 % interval]", "\n".join(lines), quoted=False)


def _forecast(figure: Mapping[str, Any]) -> str:
    if figure["value"] is None:
        return f"not known ({figure['reason']})"
    interval = "" if figure["lo"] is None else f" [{figure['lo']:,.3g}, {figure['hi']:,.3g}]"
    return f"{figure['value']:,.3g}{interval}"


class Consultant:
    """Asks for one run. Nothing is opened, and nobody asked, before the spec wants a decision reviewed."""

    def __init__(
        self,
        store: Store,
        run_id: str,
        options: ReviewOptions,
        control: Control,
        emit: Emit,
        *,
        ledger: Ledger | None = None,
        sections: Callable[[Reader], tuple[Section, ...]] = lambda reader: (),
    ) -> None:
        self._store, self._run_id, self._options = store, run_id, options
        self._control, self._emit, self._ledger, self._sections = control, emit, ledger, sections
        self._desk: Desk | None = None

    def consult(self, spec: StageSpec, decision: Decision) -> None:
        """Return where the run may go on: it was approved on this very evidence, or the spec does not ask.

        Raises NotApproved where it waits or was rejected, SettingsModified where a person changed settings, and
        Interrupted where the run is stopped meanwhile.
        """
        if not asks(spec, decision):
            return
        if self._desk is None:
            reviewer = reviewer_of(self._options, self._control, self._emit, ledger=self._ledger, stage=spec.stage)
            self._desk = Desk(self._store, self._run_id, reviewer, control=self._control, emit=self._emit)
        with self._store.reader() as reader:
            context = context_of(reader, reader.run(self._run_id), spec, decision, self._sections(reader))
        review = self._desk.review(decision, QUESTIONS[decision], context)
        outcome = review.outcome
        assert outcome is not None
        if outcome.proceed:
            self._emit(Noted(self._run_id, "info", f"{decision}: approved by {outcome.by}: {outcome.reason}"[:400]))
            return
        if outcome.state == "modified":
            raise SettingsModified(outcome.changes, f"a person changed {', '.join(outcome.changes)}: {outcome.reason}")
        named = outcome.review_id[:12]
        answer = f"cai review answer {self._run_id} {named}"
        how = f"Answer it in the control center, or with `{answer} approve`; then give the same command again."
        if outcome.state == "rejected":
            how = f"Only a person's override goes on: `{answer} override --reason TEXT`, then the same command again."
        raise NotApproved(f"the decision {decision!r} was not approved: {outcome.reason}", how)
