"""When the engine asks for a review by itself, and what it does with the outcome.

The spec says which decisions wait for one (`review.ask`); who is asked is the machine's configuration. A run that is
not approved of waits: nothing is lost, and `cai resume` asks again or finds the answer that was given meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from engine.budget.ledger import Ledger
from engine.budget.prices import api_price
from engine.core.control import Control
from engine.core.errors import NotApproved, ReviewError, SettingsModified
from engine.core.events import Emit, Noted
from engine.core.key import find_key
from engine.review.context import Decision, asks, context_of
from engine.review.desk import Desk
from engine.review.form import Review
from engine.review.model import Effort, ModelReviewer
from engine.review.options import ReviewOptions
from engine.review.prompt import Context, Section
from engine.review.reviewers import Answer, Chain, PersonReviewer, PolicyReviewer, Request, Reviewer, Unanswered
from engine.spec.stage import StageSpec
from store.db import Store
from store.read import Reader

QUESTIONS: dict[Decision, str] = {
    "override": "This run deviates from its spec in the settings shown. May it go on with them?",
    "pilot": "The pilot passed its gates. May the run be scaled from the pilot to its target?",
    "gap": "The gap gate passed: the base lacks what is to be trained. Is that shown well enough to train on?",
    "sft": "May the model be trained by supervised fine-tuning on the accepted examples, with these settings?",
    "dpo": "May the model be trained on the kept preference pairs, with these settings?",
    "claim": "May the registered result be claimed, with the figures and the settings shown?",
}
CHARACTERS_A_TOKEN = 3  # at least: what a call is reserved at is no less than what it costs
JUDGE_TOKENS = 2_000  # of an answer that says which of two is better, thoughts included
NOT_BILLED = frozenset(
    {"no_key", "auth", "not_found", "bad_request", "too_long", "rate_limit", "left_alone", "connect"}
)


class Paid:
    """A model as the reviewer, each call of which is reserved in the ledger before and settled after.

    `phase` is what the ledger books a call under; its answer has at most the tokens that the model's settings allow.
    """

    kind = "model"

    def __init__(
        self,
        inner: ModelReviewer,
        ledger: Ledger,
        stage: int,
        prices: tuple[float, float] | None,
        phase: str = "review",
    ) -> None:
        self.inner, self.name, self.key = inner, inner.name, inner.key
        self._ledger, self._stage, self._phase = ledger, stage, phase
        self._answer = inner.settings.output_tokens
        self._prices = api_price(inner.settings.model, prices)
        self.warning = self._prices.warning

    def ask(self, request: Request) -> Answer | Unanswered:
        """What the model answers. Raises BudgetReached, with nothing sent, where the call could pass the cap."""
        most = _sent(request)
        entry = self._ledger.reserve(self._prices, self._phase, self._stage, most, self._answer)
        found = self.inner.ask(request)
        if isinstance(found, Answer) and "input_tokens" in found.facts:
            self._ledger.settle(entry, found.facts["input_tokens"], found.facts.get("output_tokens", 0))
        elif isinstance(found, Unanswered) and found.failure.kind in NOT_BILLED:
            self._ledger.settle(entry, 0, 0)
        else:  # nobody can say whether the answer that did not arrive was billed
            self._ledger.settle(entry, most, self._answer)
        return found

    def at_most(self, requests: Iterable[Request]) -> float:
        """US dollars that these calls may cost together."""
        sent = [_sent(request) for request in requests]
        each = zip(self._prices.each, (sum(sent), len(sent) * self._answer), strict=True)
        return sum(price.micro_usd(quantity) for price, quantity in each) / 1e6


def _sent(request: Request) -> float:
    """The tokens that a request has at most."""
    sent = len(request.instructions) + len(request.prompt) + sum(len(text) for _, text in request.turns)
    return sent / CHARACTERS_A_TOKEN


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


@dataclass
class Consultant:
    """Asks for one run. Nothing is opened, and nobody asked, before the spec wants a decision reviewed."""

    store: Store
    run_id: str
    options: ReviewOptions
    control: Control
    emit: Emit
    ledger: Ledger | None = None
    sections: Callable[[Reader], tuple[Section, ...]] = lambda reader: ()
    _desk: Desk | None = None

    def consult(self, spec: StageSpec, decision: Decision) -> None:
        """Return where the run may go on: it was approved on this very evidence, or the spec does not ask.

        Raises NotApproved where it waits or was rejected, SettingsModified where a person changed settings, and
        Interrupted where the run is stopped meanwhile.
        """
        if not asks(spec, decision):
            return
        if self._desk is None:
            reviewer = reviewer_of(self.options, self.control, self.emit, ledger=self.ledger, stage=spec.stage)
            self._desk = Desk(self.store, self.run_id, reviewer, control=self.control, emit=self.emit)
        with self.store.reader() as reader:
            context = context_of(reader, reader.run(self.run_id), spec, decision, self.sections(reader))
        self._heed(decision, self._desk.review(decision, QUESTIONS[decision], context))

    def permit(self, spec: StageSpec, topic: str, question: str, context: Context) -> None:
        """Return where a person, or the policy of an unattended run, approved of it. Raises as `consult`.

        It is for what a model would be paid for, so no model is asked.
        """
        options = self.options
        if options.reviewer in ("model", "chain"):
            options = replace(options, reviewer="person")
        reviewer = reviewer_of(options, self.control, self.emit, ledger=self.ledger, stage=spec.stage)
        desk = Desk(self.store, self.run_id, reviewer, control=self.control, emit=self.emit)
        self._heed(topic, desk.review(topic, question, context))

    def judge(self, spec: StageSpec) -> Paid:
        """The reviewer's model as a judge of pairs: with little effort and short answers, because pairs are many.

        Raises ReviewError for a key file that others can read, and where no ledger counts what it costs.
        """
        if self.ledger is None:
            raise ReviewError("nobody counts what a judge would cost", "Nothing was sent.")
        told = self.options.settings
        effort: Effort = None if told.effort is None else "low"
        settings = replace(told, effort=effort, output_tokens=min(JUDGE_TOKENS, told.output_tokens))
        key = find_key(self.options.key_file)
        model = ModelReviewer(settings, key, stopped=lambda: self.control.stopping)
        return Paid(model, self.ledger, spec.stage, self.options.prices, "judging")

    def _heed(self, decision: str, review: Review) -> None:
        """Return where the outcome lets the run go on."""
        outcome = review.outcome
        assert outcome is not None
        if outcome.proceed:
            self.emit(Noted(self.run_id, "info", f"{decision}: approved by {outcome.by}: {outcome.reason}"[:400]))
            return
        if outcome.state == "modified":
            raise SettingsModified(outcome.changes, f"a person changed {', '.join(outcome.changes)}: {outcome.reason}")
        answer = f"cai review answer {self.run_id} {outcome.review_id[:12]}"
        how = f"Answer it in the control center, or with `{answer} approve`; then give the same command again."
        if outcome.state == "rejected":
            how = f"Only a person's override goes on: `{answer} override --reason TEXT`, then the same command again."
        raise NotApproved(f"the decision {decision!r} was not approved: {outcome.reason}", how)
