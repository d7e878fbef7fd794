"""How much work a stage, a control, another seed and an ablation are: units, and tokens of each.

Amounts follow from the specs and from what runs of them have yielded.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from engine.evaluation import BASE_CONDITIONS, CAPABILITIES, IN_CONTEXT, SPLITS
from engine.evaluation.items import item_set
from engine.planning.priors import (
    ALONE,
    CRITIQUED,
    FITS,
    HALF,
    ITEM,
    KEPT,
    LEARN,
    LEARN_PAIRS,
    LINE,
    LISTED,
    OWN,
    READ,
    RESPONSE,
    REVISED,
    START,
    WRITE,
    MeasuredWork,
    asked_alone,
    scores_of,
)
from engine.quality.corruptions import RULES
from engine.spec.constitution import CONDITIONS
from engine.spec.stage import StageSpec
from store.names import CONTROL_TRAININGS, TRAINING_PHASES

ABLATION_ITEMS = 50
PRIOR, MEASURED = "prior", "measured"
JUDGED = ("instruction", "sample", "pair")  # what critics are named for

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class PlannedWork:
    """A part of a stage: so many units, each of so many tokens of some kind, or of seconds where `way` is None.

    `prompt` is the number of tokens that are read for each unit before it is written; what many prompts begin with is
    not among them.
    """

    part: str
    units: float
    unit: str
    way: str | None
    each: float
    requests: float = 0  # that the model is asked for each unit
    rate: str = ""  # whose measured rate counts, by default that of the part
    prompt: float = 0

    def row(self, speed: Mapping[str, float], measured: MeasuredWork, usd_per_hour: float | None) -> Row:
        """What it takes and costs, and where the rate is from."""
        known = measured.rates.get(self.rate or self.part)
        each = self.each if self.way is None else self.each / speed[self.way] + self.prompt / speed[READ]
        seconds = self.units * (known.seconds if known is not None else each)
        return {
            "part": self.part, "units": self.units, "unit": self.unit, "requests": self.units * self.requests,
            "seconds": seconds,
            "usd": None if usd_per_hour is None else seconds * usd_per_hour / 3600,
            "rate": PRIOR if known is None else MEASURED, "n": known.n if known else 0,
            "runs": list(known.runs) if known else [],
        }  # fmt: skip


def stage_work(spec: StageSpec, measured: MeasuredWork, *, first: bool = True) -> Iterator[PlannedWork]:
    """All parts of a stage up to its target: data, trainings, and the evaluation before and after them.

    The base is asked the held-out items in the `first` stage; those after it find its answers in the store.
    """
    judged, written = _candidates(spec, measured)
    response = min(RESPONSE.value, spec.responses.max_tokens)
    trainings = [kind for kind in TRAINING_PHASES if getattr(spec, kind) is not None]
    asked = 2 if spec.evaluation is not None else 0
    yield PlannedWork("start", 1 + len(trainings) + asked, "starts", None, START.value)
    of_one, of_two = scores_of(spec.critics, "instruction"), scores_of(spec.critics, "sample")
    shown = OWN.value + response
    yield _audit(spec, shown)
    if any("probe" in getattr(spec.critics, kind) for kind in JUDGED) and "audit" not in measured.rates:
        yield PlannedWork("fits", 1, "audit", None, FITS.value)
    lines = max(spec.instructions.max_tokens / LINE.value, 1)  # that a list has
    listed = LISTED.value / lines
    yield PlannedWork("instructions", judged, "instructions", WRITE, LINE.value, 1 / lines, prompt=listed)
    yield PlannedWork("instruction_judgements", judged, "instructions", READ, of_one * OWN.value, of_one)
    drafts = spec.responses.drafts
    yield PlannedWork("responses", written, "samples", WRITE, drafts * response, drafts, prompt=drafts * OWN.value)
    judgements = drafts * of_two
    yield PlannedWork("response_judgements", written, "samples", READ, judgements * shown, judgements)
    if spec.revisions is not None and spec.candidates is not None:
        yield from _preferences(spec, response, "candidates" in measured.rates)
    for kind in trainings:
        yield _training(spec, kind, kind)
    if spec.evaluation is not None:
        yield from _answers(spec, len(BASE_CONDITIONS) * first + len(trainings))


def _audit(spec: StageSpec, shown: float) -> PlannedWork:
    """What critics are asked before they may filter: a probe reads each labelled text once, for its fit and its audit.

    The others score `audit_items` planted items and as many of the model's own.
    """
    from engine.critics.probed import n_labelled  # heavy

    read = requests = 0.0
    for kind, tokens in zip(JUDGED, (OWN.value, shown, shown), strict=True):
        probed = "probe" in getattr(spec.critics, kind)
        sides = 2 if kind == "pair" else 1
        texts = sides * n_labelled(kind, spec.instructions.kind) if probed else 0
        asked = texts + 2 * spec.critics.audit_items * (scores_of(spec.critics, kind) - sides * probed)
        read, requests = read + asked * tokens, requests + asked
    return PlannedWork("audit", 1, "audit", READ, read, requests)


def _preferences(spec: StageSpec, response: float, measured: bool) -> Iterator[PlannedWork]:
    """Revisions, candidates and comparisons; where candidates are `measured`, their rate holds their judgement, too."""
    assert spec.revisions is not None and spec.candidates is not None
    critics, kinds = spec.critics, spec.candidates.hard_negatives
    learned = spec.target * spec.splits.train
    rounds, more = spec.revisions.rounds, spec.candidates.best_of - 1
    shown, of_two = OWN.value + response, scores_of(critics, "sample")
    yield _revisions(spec, learned * rounds)
    drawn = learned * max(spec.candidates.best_of - spec.responses.drafts, 0)
    by_model = sum(kind not in RULES for kind in kinds) / max(len(kinds), 1)  # each sample is made worse in one way
    asked = drawn + learned * by_model + 2 * spec.candidates.boundary_prompts
    judged = 1 + of_two * measured * drawn / max(asked, 1)
    yield PlannedWork("candidates", asked, "responses", WRITE, response, judged, prompt=OWN.value)
    if not measured:
        yield PlannedWork("candidate_judgements", drawn, "responses", READ, of_two * shown, of_two)
    compared = learned * (rounds + more + 1)
    in_both = 2 * critics.shuffles * ("compare" in critics.pair)
    # Critics that judge each side alone: what they said of samples and candidates is known where they judged those.
    fresh, known = learned * (rounds + 1), learned * (more + 1)
    alone = sum(
        asked_alone(name, critics.shuffles) * (fresh + known * (name == "probe" or name not in critics.sample))
        for name in critics.pair
        if name != "compare"
    ) / max(compared, 1)
    read = in_both * (OWN.value + 2 * response) + alone * shown
    yield PlannedWork("pairs", compared, "pairs", READ, read, in_both + alone)


def control_work(spec: StageSpec, control: str) -> Iterator[PlannedWork]:
    """What a control adds to a stage: its own SFT, or a longer prompt, and its answers to all items."""
    assert spec.evaluation is not None
    if control in CONTROL_TRAININGS:
        yield PlannedWork("start", 2, "starts", None, START.value)
        yield _training(spec, control, "sft")
    elif control == IN_CONTEXT:
        # The examples in front are read once for all items where the backend keeps what prompts share.
        yield PlannedWork("prompt", 1, "prompt", READ, spec.evaluation.context_tokens)
    yield from _answers(spec, 1)


def seed_work(spec: StageSpec) -> Iterator[PlannedWork]:
    """Training and evaluation of a stage with another seed, on the same data."""
    trainings = [kind for kind in TRAINING_PHASES if getattr(spec, kind) is not None]
    if not trainings:
        return
    yield PlannedWork("start", len(trainings) + 1, "starts", None, START.value)
    for kind in trainings:
        yield _training(spec, kind, kind)
    if spec.evaluation is not None:
        yield from _answers(spec, len(trainings))


def ablation_work(spec: StageSpec) -> Iterator[PlannedWork]:
    """`cai ablate` of one principle: a critique and a revision of each item under three conditions, and comparisons."""
    if spec.revisions is not None:
        yield PlannedWork("start", 1, "starts", None, START.value)
        yield _revisions(spec, ABLATION_ITEMS * len(CONDITIONS))


def _candidates(spec: StageSpec, measured: MeasuredWork) -> tuple[float, float]:
    """Instructions to be judged and samples to be judged until the target is accepted."""
    judged, written, accepted = measured.yields.get(spec.stage, (0, 0, 0))
    if accepted:
        return spec.target * judged / accepted, spec.target * written / accepted
    needed = spec.target * spec.expected_candidates_per_accepted
    least = spec.gate.pair_acceptance_at_least  # what the gate lets pass at the least
    return needed, min(needed, spec.target / least) if least else needed


def _revisions(spec: StageSpec, times: float) -> PlannedWork:
    """Critiques and revisions; of a critique's prompt nothing is left in a cache by the time of its revision."""
    assert spec.revisions is not None
    critique = HALF.value * spec.revisions.critique_tokens
    text = LINE.value + min(RESPONSE.value, spec.responses.max_tokens)
    prompts = (text + CRITIQUED.value) + (text + critique + REVISED.value)
    written = critique + min(RESPONSE.value, spec.revisions.revision_tokens)
    return PlannedWork("revisions", times, "revisions", WRITE, written, 2, prompt=prompts)


def _training(spec: StageSpec, part: str, kind: str) -> PlannedWork:
    """A training on what the target yields; each epoch reads every example once, of a pair both sides."""
    settings = spec.sft if kind == "sft" else spec.dpo
    assert settings is not None
    example = LINE.value + min(RESPONSE.value, spec.responses.max_tokens)
    passes = spec.target * spec.splits.train * settings.epochs
    if kind == "sft":
        return PlannedWork(part, passes, "examples", LEARN, example, rate=kind)
    return PlannedWork(part, passes * KEPT.value, "pairs", LEARN_PAIRS, 2 * example, rate=kind)


def _answers(spec: StageSpec, conditions: int) -> Iterator[PlannedWork]:
    """Answers of so many conditions to all items, and to a share of them again, one at a time."""
    settings = spec.evaluation
    assert settings is not None
    frozen = item_set()
    asked = [name for name in CAPABILITIES if name == settings.capability or settings.conversations]
    items = sum(len(frozen.of(name, split, settings.items_per_type)) for name in asked for split in SPLITS)
    tokens = HALF.value * settings.max_tokens
    yield PlannedWork("evaluation", conditions * items, "answers", WRITE, tokens, 1, prompt=ITEM.value)
    yield PlannedWork("repeats", conditions * settings.repeat_share * items, "answers", ALONE, tokens, 1)
