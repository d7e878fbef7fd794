"""The critic adapter: a small LoRA of the base, trained so that the next token says whether a text is good.

For backends that show no hidden states and take adapters. Which items train it, which calibrate it and which its audit
reports is settled once, by clusters of near-duplicates: a training for each of five folds would cost five times as
much. It is trained by `engine/phases/tuning.py` before the audit, and found here by its id.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from engine.core.errors import ModelError, SpecError
from engine.critics import CriticRequest, Scale, Subject
from engine.critics.probe import LEAST_OF_A_CLASS, stored_probe
from engine.critics.probed import (
    FRESH,
    NATURAL,
    SAME_AT,
    LabelledItem,
    clusters_of,
    labelled_items,
    read_labelled,
)
from engine.models.answers import Answers
from engine.models.checkpoints import tree_sha256
from engine.models.files import faults
from engine.models.files.source import local_folder, resolve
from engine.models.requests import Adapted, LabelScores, LoraFiles, Model, Readout
from engine.spec import prompts
from engine.spec.provenance import short_hash
from engine.spec.sections import SftSpec
from engine.stats.similarity import NearDuplicateIndex
from store.query import Query

KINDS = ("instruction", "sample")  # of two responses nobody has labelled enough
LABELS = (" good", " bad")
LIBRARIES = ("torch", "transformers", "peft", "trl")  # that train
TRAINED_AT_MOST = 1000  # items, as many good as bad where there are so many
REPORTED, CALIBRATING, OF = 2, 1, 10  # clusters of ten that the audit reports, and that calibrate; the others train
SEED = 0
LORA: Mapping[str, Any] = {
    "kind": "lora", "rank": 8, "alpha": 16, "dropout": 0.0, "target_modules": "all-linear", "loader": "plain",
}  # fmt: skip
TRAINING = SftSpec(
    learning_rate=1e-3, schedule="cosine", warmup_share=0.1, effective_batch=16, epochs=1.0, max_length=512,
    weight_decay=0.0, max_grad_norm=1.0, checkpoint_every=20, patience=0, examples_at_least=2 * LEAST_OF_A_CLASS,
    packing=False,
)  # fmt: skip
ALWAYS_REPORTED = ("planted", "fresh")  # and nothing near one of them is trained on


@dataclass(frozen=True)
class Split:
    """What is labelled, in three sets that share no near-duplicates; `reported` by part of the audit."""

    trained: list[LabelledItem]
    calibrating: list[LabelledItem]
    reported: dict[str, list[LabelledItem]]


class AdapterCritic:
    """Margin: log p(" good") - log p(" bad") as the next token after the bare text, in nats, with the adapter."""

    name = "adapter"

    def __init__(self, kind: str, files: LoraFiles) -> None:
        self.kind = kind
        self.files = files

    def asks(self, item: Subject) -> list[CriticRequest]:
        """One score of the item alone."""
        return [CriticRequest("bare", Adapted(prompt_of(item), self.files, LABELS))]

    def margin(self, item: Subject, scores: Sequence[LabelScores]) -> float:
        """In nats."""
        good, bad = scores[0].logprobs
        return good - bad


@dataclass(frozen=True)
class AdapterFit:
    """What a critic adapter of a kind is, before and after it was trained: `fit_id` is the hash of all it follows from.

    `facts` are ready for JSON.
    """

    kind: str
    split: Split
    fit_id: str
    fingerprint: str  # of the base weights
    facts: Mapping[str, Any]


@dataclass(frozen=True)
class FittedAdapter:
    """A critic adapter that was trained: log-odds are slope * margin + offset, in nats."""

    critic: AdapterCritic
    slope: float
    offset: float
    reported: dict[str, list[LabelledItem]]

    def scale(self, level: float) -> Scale:
        """The scale on which a margin is its log-odds less the `level`; none where margins did not tell the labels."""
        return Scale((level - self.offset) / self.slope, 1 / self.slope) if self.slope else Scale(0.0, math.inf)


def prompt_of(item: Subject) -> str:
    """What the adapter is asked of an instruction or of a response."""
    return prompts.bare_grade(item.instruction, item.response)


def fit_of(model: Model, kind: str, asked: str = "explicit") -> AdapterFit:
    """What the adapter of a kind would be for a model. Raises SpecError where labels are too few or all of one kind."""
    found = split(kind, asked)
    fingerprint = str(model.facts.get("base_fingerprint", model.fingerprint))
    facts = {
        "kind": kind,
        "adapter": dict(LORA),
        "training": TRAINING.model_dump(),
        "seed": SEED,
        "trained_sha256": short_hash(*[one.told for one in found.trained]),
        "calibrating_sha256": short_hash(*[one.told for one in found.calibrating]),
        "versions": {name: importlib.metadata.version(name) for name in LIBRARIES},
    }
    return AdapterFit(kind, found, short_hash(fingerprint, repr(facts)), fingerprint, facts)


def stored_fit(answers: Answers, fit: AdapterFit) -> dict[str, Any] | None:
    """The row of a fit that was made before, None where there is none or its folder is gone.

    Raises ModelError where its files are others than were written.
    """
    row = answers.stored("SELECT * FROM critic_adapters WHERE fit_id = ?", fit.fit_id)
    if row is None or not (folder := answers.folder / row["path"]).is_dir():
        return None
    if tree_sha256(folder) != row["sha256"]:
        raise ModelError(
            f"the critic adapter {fit.fit_id} of {fit.kind}s was changed since it was trained",
            f"Restore its files, or remove the folder {folder} to have it trained anew. Nothing was judged by it.",
        )
    return row


def fitted_adapter(answers: Answers, kind: str, asked: str = "explicit") -> FittedAdapter:
    """The adapter of a kind as a critic. Raises ModelError where it was not trained for this model and these labels."""
    fit = fit_of(answers.model, kind, asked)
    row = stored_fit(answers, fit)
    if row is None:
        raise ModelError(
            f"no critic adapter of {kind}s was trained for the model {answers.model.fingerprint} and these labels",
            "The run trains it in its audit: go on with `cai resume`. Nothing was judged.",
        )
    files = LoraFiles(answers.folder / row["path"], row["sha256"])
    return FittedAdapter(AdapterCritic(kind, files), row["slope"], row["offset"], fit.split.reported)


def can_train(model: Model, kind: str, asked: str) -> bool:
    """Whether a model takes an adapter that can be trained here, and enough is labelled to train it on."""
    if kind not in KINDS or model.adaptable is None or not trainable(model.adaptable):
        return False
    try:
        split(kind, asked)
    except SpecError:
        return False
    return True


def trainable(weights: str) -> bool:
    """Whether the libraries that train are installed, and whole weights of that name, not quantised, are here."""
    if not all(map(importlib.util.find_spec, LIBRARIES)):
        return False
    try:
        folder = local_folder(resolve(weights))
        if folder is None or faults.quantisation(folder):
            return False
        faults.require_sound(folder)
    except ModelError:
        return False
    return True


def read_by(reader: Query, sha256: str) -> Readout | LoraFiles:
    """What a stored score is of: an adapter or a probe. Raises StoreError where the store has none of that hash."""
    rows = reader.query("SELECT path FROM critic_adapters WHERE sha256 = ?", [sha256])
    if rows:
        return LoraFiles(reader.path.parent / rows[0]["path"], sha256)
    return stored_probe(reader, sha256)


@lru_cache
def split(kind: str, asked: str = "explicit") -> Split:
    """The labelled items of a kind by what they are for. Raises SpecError where there are too few to train on.

    Planted and fresh items are always reported, and nothing that is near one of them is trained on; of the model's own
    two clusters in ten are reported and one calibrates. Which ones follows from the text that a cluster begins with.
    """
    labelled = [*labelled_items(kind, asked), *read_labelled("fresh", kind, FRESH[kind], asked)]
    clusters = clusters_of([one.item for one in labelled])
    trained: list[LabelledItem] = []
    calibrating: list[LabelledItem] = []
    reported: dict[str, list[LabelledItem]] = {}
    for name, one in zip(clusters, labelled, strict=True):
        place = _place(labelled[int(name)].item.instruction)
        if one.part in ALWAYS_REPORTED or (one.part == NATURAL and place < REPORTED):
            reported.setdefault(one.part, []).append(one)
        elif one.part == NATURAL and place < REPORTED + CALIBRATING:
            calibrating.append(one)
        else:
            trained.append(one)
    known = NearDuplicateIndex(SAME_AT)  # a text can be near one of another cluster, too
    _learn(known, [one for of in reported.values() for one in of])
    calibrating = [one for one in calibrating if known.nearest(one.item.instruction) is None]
    _learn(known, calibrating)
    trained = [one for one in trained if known.nearest(one.item.instruction) is None]
    if len({one.good for one in calibrating}) < 2:
        raise SpecError(
            f"a critic adapter of {kind}s needs good and bad texts of the model's own to be calibrated on",
            "Name another critic in critics, such as grade. Nothing was trained.",
        )
    return Split(_balanced(kind, trained), calibrating, reported)


def _learn(known: NearDuplicateIndex, items: Sequence[LabelledItem]) -> None:
    for text in dict.fromkeys(one.item.instruction for one in items):
        known.add(text, text)


def _place(text: str) -> int:
    return int(short_hash("critic adapter", text), 16) % OF


def _balanced(kind: str, items: Sequence[LabelledItem]) -> list[LabelledItem]:
    """At most so many, drawn by the hash of their texts, half of them good where there are as many."""
    of = {good: [one for one in items if one.good is good] for good in (True, False)}
    counts = {good: len(found) for good, found in of.items()}
    if min(counts.values()) < LEAST_OF_A_CLASS:
        raise SpecError(
            f"a critic adapter of {kind}s needs {LEAST_OF_A_CLASS} good and {LEAST_OF_A_CLASS} bad labelled texts to "
            f"train on: there are {counts[True]} good and {counts[False]} bad",
            "Name another critic in critics, such as grade. Nothing was trained.",
        )
    n_good = min(counts[True], max(TRAINED_AT_MOST // 2, TRAINED_AT_MOST - counts[False]))
    wanted = {True: n_good, False: TRAINED_AT_MOST - n_good}
    drawn = {
        id(one)
        for good, found in of.items()
        for one in sorted(found, key=lambda one: short_hash("drawn", one.told))[: wanted[good]]
    }
    return [one for one in items if id(one) in drawn]
