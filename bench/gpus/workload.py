"""What the shipped specs ask of a model: how many requests of each kind a stage makes for its data, and some of them.

Amounts are those of `engine/planning/work.py`. The texts in the requests are instructions and responses that the
embedded model wrote (`engine/data/own`), so that prompts are as long as those of a run.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import cache, cached_property, partial
from types import SimpleNamespace
from typing import Any

import numpy as np

from engine.core.data import read_data
from engine.critics import Critic, Scale, Subject, items_of
from engine.critics.audit import Calibrated, _build
from engine.critics.pair import DifferenceCritic
from engine.critics.probe import Probe
from engine.critics.probed import FRESH, ProbeCritic, labelled_items, read_labelled, texts_of
from engine.models.requests import Decoding, Generate, Probed, Score, Scored
from engine.phases.revisions import solved_examples
from engine.planning.priors import HALF, NOTHING_MEASURED, WRITE
from engine.planning.work import JUDGED, PlannedWork, stage_work
from engine.spec import prompts
from engine.spec.constitution import load_constitution
from engine.spec.sections import CriticsSpec
from engine.spec.stage import StageSpec

STAGES = ("stage_1_explicit_instructions", "stage_6_constitutional_integration")  # the first and the last for a 32B
TRIED = 200  # units of a part whose requests are looked at
CANDIDATES = 2500  # where the texts begin that stand for candidates; those before stand for samples

Critics = Mapping[str, Mapping[str, Critic]]  # by kind and name

# A probe reads the bare text; label critics, which stand in where none passes its audit, choose between two labels.
KINDS: dict[str, type] = {"written": Generate, "reads": Probed, "labels": Score}


@dataclass(frozen=True)
class Amounts:
    """What the data of a stage takes: tokens written, texts that probes read, texts whose labels are scored."""

    tokens: float
    reads: float
    labels: float


@dataclass(frozen=True)
class Part:
    """A part of a stage's data, and the requests that unit number n of it makes."""

    work: PlannedWork
    asks: Callable[[int], list[Any]]

    @cached_property
    def each(self) -> dict[str, float]:
        """Requests of each kind that one unit makes, on average."""
        units = min(TRIED, round(self.work.units))
        made = [one for n in range(units) for one in self.asks(n)]
        return {kind: sum(isinstance(one, of) for one in made) / units for kind, of in KINDS.items()}


def amounts(spec: StageSpec) -> Amounts:
    """The whole stage up to its target, trainings and evaluations apart."""
    tokens = reads = labels = 0.0
    for part in parts(spec):
        work = part.work
        if work.way == WRITE:
            tokens += work.units * work.each
        else:
            read = part.each["reads"]
            reads += work.units * read
            labels += work.units * (work.requests - read)
    return Amounts(tokens, reads, labels)


def sample(spec: StageSpec, kind: str, wanted: int, first: int = 0) -> list[Any]:
    """About so many requests of a kind, of every part of the stage as many as it has of them, from unit `first` on."""
    of = [(part, part.each[kind]) for part in parts(spec) if part.work.units > TRIED]
    share = wanted / sum(part.work.units * each for part, each in of)
    some = [
        one
        for part, each in of
        if each
        for n in range(first, first + round(part.work.units * share))
        for one in part.asks(n)
        if isinstance(one, KINDS[kind])
    ]
    # Together by what they share, as critics ask for them.
    return sorted(dict.fromkeys(some), key=lambda one: one.prompt[: one.shared])


def parts(spec: StageSpec) -> list[Part]:
    """The parts of a stage in which a model is asked for data."""
    critics = {kind: _critics(spec.critics, kind) for kind in JUDGED}
    asked: dict[str, Callable[[PlannedWork, int], list[Any]]] = {
        "audit": lambda _, __: _audited(critics, spec),
        "instructions": partial(_lists, spec),
        "instruction_judgements": lambda _, n: _judged(critics, _instruction(n)),
        "responses": partial(_responses, spec),
        "response_judgements": lambda _, n: _judged(critics, _sample(n)),
        "revisions": partial(_revisions, spec),
        "candidates": lambda work, n: _responses(spec, work, n + CANDIDATES),
        "candidate_judgements": lambda _, n: _judged(critics, _sample(n + CANDIDATES)),
        "pairs": partial(_compared, critics, spec),
    }
    return [
        Part(work, partial(asked[work.part], work)) for work in stage_work(spec, NOTHING_MEASURED) if work.part in asked
    ]


def _lists(spec: StageSpec, work: PlannedWork, n: int) -> list[Generate]:
    """A list has many instructions: most units need none of their own."""
    rng, settings = random.Random(n), spec.instructions
    seeds = [row["text"] for row in read_data(settings.shown("seeds"))]
    found = []
    for number in range(_whole(n, work.requests)):
        prompt = prompts.instruction_list(rng.sample(seeds, settings.examples), kind=settings.kind)
        found.append(_generate(prompt, settings, work.each / work.requests, n + number))
    return found


def _responses(spec: StageSpec, work: PlannedWork, n: int) -> list[Generate]:
    settings = spec.responses
    rows = read_data(spec.instructions.shown("response_examples"))[: settings.examples]
    prompt = prompts.response([(row["instruction"], row["response"]) for row in rows], _sample(n).instruction)
    drafts = round(work.requests)
    return [_generate(prompt, settings, work.each / drafts, n * drafts + number) for number in range(drafts)]


def _revisions(spec: StageSpec, work: PlannedWork, n: int) -> list[Generate]:
    settings, item, said = spec.revisions, _sample(n), _sample(n + 1).response
    assert settings is not None and item.response is not None and said is not None
    constitution = _constitution()
    principle = asdict(constitution.principles[n % len(constitution.principles)])
    shown = solved_examples(SimpleNamespace(constitution=constitution), settings)  # type: ignore[arg-type]
    asked = prompts.critique(shown, item.instruction, item.response, principle, settings.form)
    then = prompts.revision(asked, prompts.flat(said), principle, settings.form)
    critique = HALF.value * settings.critique_tokens
    return [
        _generate(asked, settings, critique, 2 * n),
        _generate(then, settings, work.each - critique, 2 * n + 1),
    ]


def _generate(prompt: prompts.Prompt, settings: Any, tokens: float, seed: int) -> Generate:
    """Without an end of its own: what made-up weights write means nothing, and has the length that is planned for."""
    how = Decoding(round(tokens), settings.temperature, settings.top_k, settings.top_p)
    return Generate(prompt.text, how, seed, prompt.shared)


def _audited(critics: Critics, spec: StageSpec) -> list[Scored]:
    """Each labelled text, which a probe reads for its fit and its audit; others score planted items and the model's."""
    found: list[Scored] = []
    for kind, item_of in zip(JUDGED, (_instruction, _sample, _pair), strict=True):
        if "probe" in critics[kind]:
            asked = spec.instructions.kind
            labelled = labelled_items(kind, asked) + read_labelled("fresh", kind, FRESH[kind], asked)
            found += [Probed(text, _unfitted(kind)) for one in labelled for text in texts_of(one.item)]
        others = {kind: {name: critic for name, critic in critics[kind].items() if name != "probe"}}
        found += [one for n in range(2 * spec.critics.audit_items) for one in _judged(others, item_of(n))]
    return found


def _compared(critics: Critics, spec: StageSpec, work: PlannedWork, n: int) -> list[Scored]:
    """Both places of each order, or each response alone, of which some are asked for by several pairs.

    What critics said of samples and candidates is known by then, but for a probe: that of pairs is another one.
    """
    assert spec.revisions is not None and spec.candidates is not None
    fresh, known = spec.revisions.rounds + 1, spec.candidates.best_of
    found: list[Scored] = []
    for name, critic in critics["pair"].items():
        asked = [ask.request for ask in critic.asks(_pair(n))]
        if name != "compare":  # a response's first, then its rival's
            sides = fresh + known * (name == "probe" or name not in critics["sample"])
            asked = asked[: len(asked) // 2 * _whole(n, sides / (fresh + known - 1))]
        found += asked
    return found


def _judged(critics: Critics, item: Subject) -> list[Scored]:
    """What several critics ask alike is asked once."""
    return list(dict.fromkeys(ask.request for critic in critics[item.kind].values() for ask in critic.asks(item)))


def _critics(critics: CriticsSpec, kind: str) -> dict[str, Critic]:
    before: list[Calibrated] = []
    for name in getattr(critics, kind):
        before.append(Calibrated(_probe(kind) if name == "probe" else _build(name, kind, critics, before), Scale()))
    return {one.critic.name: one.critic for one in before}


def _probe(kind: str) -> Critic:
    critic = ProbeCritic(kind, _unfitted(kind))
    return DifferenceCritic(critic) if kind == "pair" else critic


@cache
def _unfitted(kind: str) -> Probe:
    """What stands for a probe in its requests. Which layer is read is for the model to say that is asked."""
    return Probe(kind, 1, np.zeros(0), 0.0, 1.0, 0.0)


def _whole(n: int, each: float) -> int:
    """How many of a fractional number unit number n has, so that all before it and it together have theirs."""
    return int((n + 1) * each + 1e-9) - int(n * each + 1e-9)


def _sample(n: int) -> Subject:
    return _samples()[n % len(_samples())]


def _pair(n: int) -> Subject:
    return _pairs()[n % len(_pairs())]


def _instruction(n: int) -> Subject:
    return _instructions()[n % len(_instructions())]


@cache
def _samples() -> list[Subject]:
    found = {(item.instruction, item.response): item for item, _ in items_of("read_pairs") if item.response}
    return list(found.values())


@cache
def _instructions() -> list[Subject]:
    return list({item.instruction: item for item, _ in items_of("read_instructions")}.values())


@cache
def _pairs() -> list[Subject]:
    return [item for item, _ in items_of("own_comparisons") if item.response and item.rival]


@cache
def _constitution() -> Any:
    return load_constitution()
