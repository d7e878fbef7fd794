"""The probe as a critic: fitted once on what is labelled, kept in the store, and asked like any other critic."""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from engine.core.data import has_data, read_data
from engine.core.errors import ModelError
from engine.critics import CriticRequest, Subject, for_kind, items_of
from engine.critics.probe import (
    DEPTHS,
    FOLDS,
    INNER_FOLDS,
    STRENGTHS,
    Fitted,
    Labelled,
    Probe,
    fit,
    layers_of,
    probe_of_row,
)
from engine.critics.states import states_of
from engine.models.answers import Answers
from engine.models.requests import LabelScores, Probed
from engine.spec import prompts
from engine.spec.provenance import short_hash
from engine.stats.similarity import NearDuplicateIndex
from store.names import PERSON
from store.salvage.clock import utc_now

# What a probe is fitted on: the parts of the audit, and what other critics are shown and scaled by.
LABELLED: dict[str, dict[str, tuple[str, ...]]] = {
    "instruction": {
        "planted": ("calibration_instructions",),
        "own": ("own_instructions", "read_instructions"),
        "shown": ("anchors_instructions", "grade_instructions"),
    },
    "sample": {
        "planted": ("calibration_pairs",),
        "own": ("own_pairs", "read_pairs"),
        "shown": ("anchors_pairs", "grade_pairs"),
    },
    "pair": {
        "planted": ("calibration_comparisons",),
        "own": ("own_comparisons",),
        "shown": ("anchors_comparisons",),
    },
}
SHIPPED = Path(__file__).parent.parent / "data" / "probes"
FRESH = {"instruction": "fresh_instructions", "sample": "fresh_pairs", "pair": "fresh_comparisons"}  # in no fit
NATURAL = "own"  # the part whose share of good ones is the model's
SAME_AT = 0.7  # ROUGE-L from which two instructions lie in one fold


class ProbeCritic:
    """Margin: the log-odds that a text is good, in nats, off one layer's states of the bare text."""

    name = "probe"

    def __init__(self, kind: str, probe: Probe) -> None:
        self.kind = kind
        self.probe = probe

    def asks(self, item: Subject) -> list[CriticRequest]:
        """One pass over the item alone."""
        return [CriticRequest(f"layer {self.probe.layer}", Probed(text_of(item), self.probe))]

    def margin(self, item: Subject, scores: Sequence[LabelScores]) -> float:
        """In nats."""
        good, bad = scores[0].logprobs
        return good - bad


@dataclass(frozen=True)
class FittedCritic:
    """A probe as a critic, and by part each labelled item, its label, and its log-odds by a probe fitted without it.

    Of the part "fresh", which is in no fit, they are the critic's own.
    """

    critic: ProbeCritic
    held_out: dict[str, list[tuple[Subject, bool, float]]]


@dataclass(frozen=True)
class Taught:
    """A sample that a person labelled; where it was drawn `at_random` its label says something of the model."""

    item: Subject
    good: bool
    at_random: bool


@dataclass(frozen=True)
class LabelledItem:
    """One labelled item: `passable` where a lenient reader would take it; `natural` as of `Labelled`."""

    item: Subject
    part: str
    good: bool
    passable: bool
    natural: bool

    @property
    def told(self) -> str:
        """What a fit follows from, as text; of a person's label also how it was drawn."""
        drawn = f" {self.natural}" if self.part == PERSON else ""
        return f"{self.item.key} {self.good} {chr(10).join(texts_of(self.item))}{drawn}"


def text_of(item: Subject) -> str:
    """What a probe reads of an instruction or of one response: nothing but the item."""
    return prompts.bare(item.instruction, item.response)


def texts_of(item: Subject) -> list[str]:
    """What a probe reads of an item: of two responses each alone."""
    return [text_of(item), *([prompts.bare(item.instruction, item.rival)] if item.rival is not None else [])]


def fitted(answers: Answers, kind: str, asked: str = "explicit", taught: Sequence[Taught] = ()) -> FittedCritic:
    """The probe of a kind, fitted on the labelled items; the stored one where the same was fitted before.

    `taught` are samples that persons labelled, in an order of their own; they are the part "person".

    Raises ModelError where the model shows no hidden states, SpecError where labels are too few or all of one kind.
    """
    model = answers.model
    if not model.layers:
        raise ModelError(
            f"a probe of {kind}s reads hidden states, which the backend {model.facts.get('backend')} does not show",
            "Name another critic in critics, or run with CAI_BACKEND=transformers. Nothing was generated.",
        )
    labelled, fresh = labelled_items(kind, asked, taught), read_labelled("fresh", kind, FRESH[kind], asked)
    layers = layers_of(model.layers)
    clusters = clusters_of([one.item for one in labelled])
    wanted = {
        "kind": kind,
        "layers": layers,
        "folds": [FOLDS, INNER_FOLDS],
        "strengths": STRENGTHS,
        "labelled_sha256": short_hash(*[one.told for one in labelled]),
        "clusters_sha256": short_hash(*clusters),  # which lie in one fold
        "fresh_sha256": short_hash(*[one.told for one in fresh]),
        "versions": {name: importlib.metadata.version(name) for name in ("scikit-learn", "numpy")},
    }
    fit_id = short_hash(model.fingerprint, repr(wanted))
    row = answers.stored("SELECT * FROM probes WHERE fit_id = ?", fit_id)
    if row is None:
        row = _shipped(fit_id) or _fit(answers, kind, labelled, clusters, fresh, layers, wanted)
        row |= {"fit_id": fit_id, "fingerprint": model.fingerprint, "created_at": utc_now()}
        answers.keep("probes", row)
    held_out: dict[str, list[tuple[Subject, bool, float]]] = {}
    for one, log_odds in zip([*labelled, *fresh], row["held_out"], strict=True):
        held_out.setdefault(one.part, []).append((one.item, one.good, log_odds))
    return FittedCritic(ProbeCritic(kind, probe_of_row(row)), held_out)


def _shipped(fit_id: str) -> dict[str, Any] | None:
    """A fit that comes with the program, for the embedded model on the shipped labels: `bench/probes.py` makes them."""
    path = SHIPPED / f"{fit_id}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def _fit(
    answers: Answers,
    kind: str,
    labelled: Sequence[LabelledItem],
    clusters: Sequence[str],
    fresh: Sequence[LabelledItem],
    layers: tuple[int, ...],
    wanted: dict[str, Any],
) -> dict[str, Any]:
    """A fit as a row of the table `probes`; its held-out values are followed by what the probe says of fresh items."""
    found = fit(kind, _states(answers, labelled, clusters, layers), wanted)
    row = _row(found)
    if fresh:
        at = layers.index(found.probe.layer)
        sides = [
            states_of(answers, list(texts), layers)[:, at]
            for texts in zip(*(texts_of(one.item) for one in fresh), strict=True)
        ]
        said = [[found.probe.log_odds(state) for state in states] for states in sides]
        row["held_out"] += [first - sum(rival) for first, *rival in zip(*said, strict=True)]
    return row


def _states(
    answers: Answers, items: Sequence[LabelledItem], clusters: Sequence[str], layers: tuple[int, ...]
) -> Labelled:
    """What a probe is fitted on: states of each item, of two responses their difference."""
    texts = [texts_of(one.item) for one in items]
    states, centre = states_of(answers, [first for first, *_ in texts], layers), None
    if any(len(of) == 2 for of in texts):
        rivals = states_of(answers, [of[1] for of in texts], layers)
        states, centre = states - rivals, (states.mean(0) + rivals.mean(0)) / 2
    return Labelled(
        states,
        layers,
        np.array([one.good for one in items]),
        np.array([one.passable for one in items]),
        list(clusters),
        [one.part for one in items],
        np.array([one.natural for one in items]),
        centre,
    )


def labelled_items(kind: str, asked: str, taught: Sequence[Taught] = ()) -> list[LabelledItem]:
    """What is labelled of a kind: the shipped files, then what persons labelled; fresh candidates are not in it."""
    files = [(part, name) for part, names in LABELLED[kind].items() for name in names]
    found = [one for part, name in files for one in read_labelled(part, kind, name, asked)]
    return found + [LabelledItem(one.item, PERSON, one.good, one.good, one.at_random) for one in taught]


@lru_cache
def n_labelled(kind: str, asked: str) -> int:
    """How many items a fit of a kind and its audit read, fresh ones among them."""
    return len(labelled_items(kind, asked)) + len(read_labelled("fresh", kind, FRESH[kind], asked))


def read_labelled(part: str, kind: str, name: str, asked: str) -> list[LabelledItem]:
    """The rows of a shipped file, none where there is no such file."""
    file = for_kind(name, asked) if kind == "instruction" else name
    if not has_data(file):
        return []
    return [
        LabelledItem(item, part, good, good or row.get("grade") == "pass", part == NATURAL)
        for (item, good), row in zip(items_of(file), read_data(file), strict=True)
    ]


def clusters_of(items: Sequence[Subject]) -> list[str]:
    """The same name for items whose instructions are nearly the same, and for those that others join.

    No two clusters hold near-duplicates of each other. A cluster's name is the place of its first item.
    """
    known = NearDuplicateIndex(SAME_AT)
    texts = list(dict.fromkeys(item.instruction for item in items))
    pairs = []
    for number, text in enumerate(texts):
        pairs += [(number, int(key)) for key in known.near(text)]
        known.add(str(number), text)
    joined = np.array(pairs, dtype=int).reshape(-1, 2).T
    graph = coo_array((np.ones(len(pairs)), tuple(joined)), shape=(len(texts), len(texts)))
    of = dict(zip(texts, connected_components(graph, directed=False)[1], strict=True))
    first: dict[int, str] = {}
    return [first.setdefault(of[item.instruction], str(place)) for place, item in enumerate(items)]


def _row(found: Fitted) -> dict[str, Any]:
    probe = found.probe
    return {
        "sha256": probe.sha256,
        "kind": probe.kind,
        "layer": probe.layer,
        "weights": probe.weights.tolist(),
        "bias": probe.bias,
        "slope": probe.slope,
        "offset": probe.offset,
        "held_out": found.held_out.tolist(),
        "facts": {**probe.facts, "chosen": found.chosen, "depths": DEPTHS},
    }
