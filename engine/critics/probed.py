"""The probe as a critic: fitted once on what is labelled, kept in the store, and asked like any other critic."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np

from engine.core.data import has_data
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
from engine.models.answers import Answers
from engine.models.requests import LabelScores, Probed, Read
from engine.spec import prompts
from engine.spec.provenance import short_hash
from engine.stats.similarity import NearDuplicateIndex

# What a probe is fitted on: the parts of the audit, and what other critics are shown and scaled by.
LABELLED = {
    "instruction": {
        "planted": "calibration_instructions",
        "own": "own_instructions",
        "anchors": "anchors_instructions",
        "grades": "grade_instructions",
    },
    "sample": {
        "planted": "calibration_pairs",
        "own": "own_pairs",
        "anchors": "anchors_pairs",
        "grades": "grade_pairs",
    },
}
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
    """A probe as a critic, and the log-odds of each labelled item, by key, of a probe that was fitted without it."""

    critic: ProbeCritic
    held_out: dict[str, float]


def text_of(item: Subject) -> str:
    """What a probe reads of an item: nothing but the item."""
    return prompts.bare(item.instruction, item.response)


def fitted(answers: Answers, kind: str, asked: str = "explicit") -> FittedCritic:
    """The probe of a kind, fitted on the labelled items; the stored one where the same was fitted before.

    Raises ModelError where the model shows no hidden states, SpecError where labels are too few or all of one kind.
    """
    model = answers.model
    if not model.layers:
        raise ModelError(
            f"a probe of {kind}s reads hidden states, which the backend {model.facts.get('backend')} does not show",
            "Name another critic in critics, or run with CAI_BACKEND=transformers. Nothing was generated.",
        )
    items, good, parts = _labelled(kind, asked)
    layers = layers_of(model.layers)
    wanted = {
        "kind": kind,
        "layers": layers,
        "folds": [FOLDS, INNER_FOLDS],
        "strengths": STRENGTHS,
        "labelled_sha256": short_hash(
            *[f"{item.key} {text_of(item)} {y}" for item, y in zip(items, good, strict=True)]
        ),
        "versions": {name: importlib.metadata.version(name) for name in ("scikit-learn", "numpy")},
    }
    fit_id = short_hash(model.fingerprint, repr(wanted))
    row = answers.stored("SELECT * FROM probes WHERE fit_id = ?", fit_id)
    if row is None:
        labelled = Labelled(
            _states(answers, items, layers),
            layers,
            np.array(good),
            _clusters(items),
            parts,
            np.array([part == NATURAL for part in parts]),
        )
        found = fit(kind, labelled, wanted)
        row = {**_row(found), "fit_id": fit_id, "fingerprint": model.fingerprint, "created_at": datetime.now(UTC)}
        answers.keep("probes", row)
    keys = [item.key for item in items]
    return FittedCritic(ProbeCritic(kind, probe_of_row(row)), dict(zip(keys, row["held_out"], strict=True)))


def _labelled(kind: str, asked: str) -> tuple[list[Subject], list[bool], list[str]]:
    """Items, whether each is good, and the part that each is from."""
    items: list[Subject] = []
    good: list[bool] = []
    parts: list[str] = []
    for part, name in LABELLED[kind].items():
        file = for_kind(name, asked) if kind == "instruction" else name
        for item, is_good in items_of(file) if has_data(file) else ():
            items.append(item)
            good.append(is_good)
            parts.append(part)
    return items, good, parts


def _states(answers: Answers, items: Sequence[Subject], layers: tuple[int, ...]) -> Any:
    """Hidden states of the items, [items, layers, 2, size]."""
    requests = [Read(text_of(item), layers) for item in items]
    found = {}
    for states in answers.model.hidden(dict.fromkeys(requests)):
        found[states.request] = states.states
        answers.check()
    return np.stack([found[request] for request in requests])


def _clusters(items: Sequence[Subject]) -> list[str]:
    """The same name for items whose instructions are nearly the same."""
    known = NearDuplicateIndex(SAME_AT)
    clusters: dict[str, str] = {}
    found = []
    for number, item in enumerate(items):
        near = known.nearest(item.instruction)
        name = str(number)
        clusters[name] = clusters[near.key] if near else name
        known.add(name, item.instruction)
        found.append(clusters[name])
    return found


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
