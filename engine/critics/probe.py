"""A probe: the log-odds, in nats, that a text is good, read from the base model's own hidden states.

A regularised logistic regression on one layer's states of the last token and of the mean over tokens (linear probes:
Alain and Bengio 2016, arXiv 1610.01644, section 3). Layer and strength are chosen by cross-validation inside the part
that an item was held out from, so that no figure of an audit comes from items that had a say in the fit (nested
cross-validation: Varma and Simon 2006, doi 10.1186/1471-2105-7-91). Near-duplicates always lie in one fold.
"""

from __future__ import annotations

import functools
import hashlib
import json
import math
import os
import warnings
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.core.errors import SpecError
from engine.stats.intervals import auc
from engine.stats.shares import wilson
from store.errors import StoreError
from store.query import Query

FOLDS = 5
INNER_FOLDS = 4
STRENGTHS = (0.001, 0.01)  # of the fit, as scikit-learn's C: the inverse of the penalty
DEPTHS = (0.45, 0.55, 0.67, 0.78)  # of the layers that are tried, as shares of the model's depth
LEAST_OF_A_CLASS = 20
ROUGHLY, EXACTLY = 1e-4, 1e-8  # tolerances of a fit: to choose by, and to keep
MOST_AT_ONCE = 16  # fits, each with a copy of the states that it is of
_LARGEST = 30.0  # nats: beyond that a log-odds says nothing more

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Probe:
    """A fitted probe of what is judged (`kind`): its log-odds are slope * (weights . state + bias) + offset.

    `weights` are [2 * size], of the raw states of the last token and of the mean, one behind the other. `facts` say
    what it was fitted on and with.
    """

    kind: str
    layer: int
    weights: Floats
    bias: float
    slope: float
    offset: float
    facts: Mapping[str, Any] = field(default_factory=dict)

    @functools.cached_property
    def sha256(self) -> str:
        """The hash of all that its log-odds follow from, beside the model and the text, by which alone it is known."""
        digest = hashlib.sha256(self.weights.tobytes())
        digest.update(json.dumps([self.kind, self.layer, self.bias, self.slope, self.offset]).encode())
        return digest.hexdigest()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Probe) and self.sha256 == other.sha256

    def __hash__(self) -> int:
        return hash(self.sha256)

    def log_odds(self, state: NDArray[np.float32]) -> float:
        """In nats, positive is good; `state` is its layer's, [2, size]."""
        raw = float(state.reshape(-1).astype(np.float64) @ self.weights) + self.bias
        return max(-_LARGEST, min(_LARGEST, self.slope * raw + self.offset))


@dataclass(frozen=True)
class Labelled:
    """Texts that somebody labelled: `states` are [texts, layers, 2, size], the others have one entry a text.

    `passable` are those that a lenient reader would take, the good ones among them. `clusters` names near-duplicates
    alike; `parts` says where a text is from; `natural` whether its part is as it fell, so that its share of good ones
    says something of the model. Of two texts each, `states` are the first's less the second's, good says that the first
    is better, and `centre`, [layers, 2, size], is the mean state of all those texts.
    """

    states: NDArray[np.float32]
    layers: tuple[int, ...]
    good: NDArray[np.bool_]
    passable: NDArray[np.bool_]
    clusters: Sequence[str]
    parts: Sequence[str]
    natural: NDArray[np.bool_]
    centre: NDArray[np.float32] | None = None

    def at(self, places: NDArray[np.int64]) -> Labelled:
        """Those at some places."""
        return Labelled(
            self.states[places],
            self.layers,
            self.good[places],
            self.passable[places],
            [self.clusters[place] for place in places],
            [self.parts[place] for place in places],
            self.natural[places],
            self.centre,
        )


@dataclass(frozen=True)
class Fitted:
    """A probe, and for each labelled text the log-odds of a probe that was fitted without its fold, [texts]."""

    probe: Probe
    held_out: Floats
    chosen: tuple[tuple[int, float], ...]  # layer and strength of each outer fold


def probe_of_row(row: Mapping[str, Any]) -> Probe:
    """The probe that a row of the table `probes` holds."""
    weights = np.asarray(row["weights"], dtype=np.float64)
    return Probe(row["kind"], row["layer"], weights, row["bias"], row["slope"], row["offset"])


def stored_probe(reader: Query, sha256: str) -> Probe:
    """A probe that was fitted before. Raises StoreError where the store has none of that hash."""
    rows = reader.query("SELECT * FROM probes WHERE sha256 = ?", [sha256])
    if not rows:
        raise StoreError(f"the probe {sha256[:12]} is not in the store", "Its judgements cannot be computed again.")
    return probe_of_row(rows[0])


def layers_of(depth: int) -> tuple[int, ...]:
    """The layers that are tried of a model with so many: middle ones tell good from bad better than the last."""
    return tuple(sorted({max(1, round(depth * share)) for share in DEPTHS}))


def fit(kind: str, labelled: Labelled, facts: Mapping[str, Any]) -> Fitted:
    """Fit a probe, and hold each text out once. Raises SpecError where labels are too few or all of one kind."""
    counts = int(labelled.good.sum()), int((~labelled.good).sum())
    if min(counts) < LEAST_OF_A_CLASS:
        raise SpecError(
            f"a probe of {kind}s needs {LEAST_OF_A_CLASS} good and {LEAST_OF_A_CLASS} bad labelled texts: there are "
            f"{counts[0]} good and {counts[1]} bad",
            "Label more (`cai label`), or take the probe out of critics. Nothing was fitted.",
        )
    from threadpoolctl import threadpool_limits  # comes with scikit-learn

    with threadpool_limits(1):  # fits of milliseconds: threads would wait for each other, and sums change their order
        return _fit(kind, labelled, {**facts, "n_good": counts[0], "n_bad": counts[1]})


def _fit(kind: str, labelled: Labelled, facts: Mapping[str, Any]) -> Fitted:
    held_out = np.zeros(len(labelled.good))
    chosen = []
    for train, test in _folds(labelled, FOLDS):
        inside = labelled.at(train)
        layer, strength, values = _choose(inside)
        chosen.append((labelled.layers[layer], strength))
        weights, bias = _regression(inside, layer, strength)
        slope, offset = _calibration(values, inside)
        raw = _rows(labelled.states, layer, test) @ weights + bias
        held_out[test] = np.clip(slope * raw + offset, -_LARGEST, _LARGEST)
    layer, strength, values = _choose(labelled)
    weights, bias = _regression(labelled, layer, strength)
    slope, offset = _calibration(values, labelled)
    if labelled.centre is not None:  # which texts of their own are read against, so that no log-odds runs off
        bias = -float(labelled.centre[layer].reshape(-1).astype(np.float64) @ weights)
    told = {**facts, "strength": strength}
    return Fitted(Probe(kind, labelled.layers[layer], weights, bias, slope, offset, told), held_out, tuple(chosen))


def reliability(log_odds: Sequence[float], good: Sequence[bool], bins: int = 10) -> list[dict[str, Any]]:
    """Bins of equal count by probability, each {n, probability, share, lo, hi}: its mean, the share of good ones.

    The interval of the share is Wilson's. Drawn against each other both are a reliability diagram (Niculescu-Mizil and
    Caruana 2005, section 4).
    """
    probability = 1 / (1 + np.exp(-np.asarray(log_odds, dtype=np.float64)))
    labels = np.asarray(good, dtype=np.float64)
    parts = [part for part in np.array_split(np.argsort(probability, kind="stable"), bins) if len(part)]
    found = []
    for part in parts:
        lo, hi = wilson(int(labels[part].sum()), len(part))
        means = {"probability": float(probability[part].mean()), "share": float(labels[part].mean())}
        found.append({"n": len(part), **means, "lo": lo, "hi": hi})
    return found


def expected_calibration_error(log_odds: Sequence[float], good: Sequence[bool], bins: int = 10) -> float:
    """Mean distance of probability and share of good ones over bins of equal count (Naeini et al. 2015, section 2)."""
    found = reliability(log_odds, good, bins)
    return math.fsum(one["n"] * abs(one["probability"] - one["share"]) for one in found) / len(log_odds)


def doubtful(log_odds: Sequence[float], good: Sequence[bool]) -> list[int]:
    """Places of labels that a probe fitted without them contradicts.

    That is where an item is at least as probable of the other class as that class's own items are in the mean
    (Northcutt et al. 2021, arXiv 1911.00068, section 3.1).
    """
    probability = 1 / (1 + np.exp(-np.asarray(log_odds, dtype=np.float64)))
    labels = np.asarray(good, dtype=bool)
    if labels.all() or not labels.any():
        return []
    wrongly_bad = ~labels & (probability >= probability[labels].mean())
    wrongly_good = labels & (probability <= probability[~labels].mean())
    return [int(place) for place in np.flatnonzero(wrongly_bad | wrongly_good)]


def _folds(labelled: Labelled, n: int) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Training and test places of each fold: clusters whole, parts and labels spread as evenly as that allows."""
    from sklearn.model_selection import StratifiedGroupKFold  # heavy: only where something is fitted

    strata = [f"{part} {label}" for part, label in zip(labelled.parts, labelled.good, strict=True)]
    splitter = StratifiedGroupKFold(n, shuffle=True, random_state=0)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The least populated class")  # of a person's first labels
        return list(splitter.split(np.zeros(len(strata)), strata, labelled.clusters))


def _choose(labelled: Labelled) -> tuple[int, float, Floats]:
    """The place of the layer and the strength whose held-out values rank best, and those values, [texts].

    Fits share threads, as many as there are cores but one, which the screen needs: of a large model one fit takes
    seconds, and there are 32.
    """
    tried = [(layer, strength) for layer in range(len(labelled.layers)) for strength in STRENGTHS]
    values = np.zeros((len(tried), len(labelled.good)))

    def hold_out(at: int, train: NDArray[np.int64], test: NDArray[np.int64]) -> None:
        layer, strength = tried[at]
        weights, bias = _regression(labelled, layer, strength, ROUGHLY, train)
        values[at, test] = _rows(labelled.states, layer, test) @ weights + bias

    at_once = min(max((os.cpu_count() or 1) - 1, 1), MOST_AT_ONCE)
    with ThreadPoolExecutor(at_once, "probe") as threads:
        folds = _folds(labelled, INNER_FOLDS)
        for done in [threads.submit(hold_out, at, *fold) for at in range(len(tried)) for fold in folds]:
            done.result()
    where = labelled.natural if _both(labelled.good[labelled.natural]) else np.ones(len(labelled.good), dtype=bool)
    good, bad = where & labelled.good, where & ~labelled.good
    reached = [auc(of[good].tolist(), of[bad].tolist()) or 0.0 for of in values]
    best = reached.index(max(reached))
    return *tried[best], values[best]


def _regression(
    labelled: Labelled, layer: int, strength: float, tolerance: float = EXACTLY, at: NDArray[np.int64] | None = None
) -> tuple[Floats, float]:
    """Weights and bias for raw states, of a regression on standardised ones with both classes weighing the same.

    It is of all texts, or of those at some places.

    Where some texts are passable and not good there are two, for good and for passable, and their values on these texts
    are added with equal spread: three grades tell more than two. Differences have neither a mean nor a bias: to turn
    two texts round turns the sign.
    """
    from sklearn.linear_model import LogisticRegression

    where = np.arange(len(labelled.good)) if at is None else at
    rows = _rows(labelled.states, layer, where)
    single = labelled.centre is None
    mean = rows.mean(0) if single else np.zeros(rows.shape[1])
    scale = np.sqrt(((rows - mean) ** 2).mean(0))
    scale[scale == 0] = 1.0
    standard = (rows - mean) / scale
    found = np.zeros(rows.shape[1]), 0.0
    good, passable = labelled.good[where], labelled.passable[where]
    graded = bool((good != passable).any())
    for target in (good, passable) if graded else (good,):
        model = LogisticRegression(
            C=strength, class_weight="balanced", tol=tolerance, max_iter=2000, fit_intercept=single
        )
        model.fit(standard, target)
        spread = float(np.std(standard @ model.coef_[0])) or 1.0 if graded else 1.0
        found = found[0] + model.coef_[0] / spread, found[1] + float(np.ravel(model.intercept_)[0]) / spread
    weights = found[0] / scale
    return weights, float(found[1] - weights @ mean)


def _calibration(values: Floats, labelled: Labelled) -> tuple[float, float]:
    """Slope and offset that make held-out values log-odds.

    Fitted on the natural parts where both labels occur there, since planted ones are half good by design.
    """
    where = labelled.natural if _both(labelled.good[labelled.natural]) else np.ones(len(values), dtype=bool)
    return platt(values[where], labelled.good[where], shifted=labelled.centre is None)


def platt(x: Floats, good: NDArray[np.bool_], *, shifted: bool = True) -> tuple[float, float]:
    """Slope and offset that make values log-odds (Platt 1999, with his targets against certainty).

    The offset is 0 unless `shifted`.
    """
    from scipy.optimize import minimize

    n_good, n_bad = int(good.sum()), int((~good).sum())
    target = np.where(good, (n_good + 1) / (n_good + 2), 1 / (n_bad + 2))

    def loss(given: Floats) -> float:
        log_odds = given[0] * x + (given[1] if shifted else 0.0)
        return float(np.logaddexp(0, log_odds).sum() - (target * log_odds).sum())

    spread = float(np.std(x)) or 1.0
    start = np.array([1 / spread, -float(np.mean(x)) / spread])
    slope, offset = minimize(loss, start, method="BFGS", options={"gtol": 1e-9}).x
    offset = offset if shifted else 0.0
    return max(float(slope), 0.0), float(offset)  # an order that was learnt is never turned round


def _rows(states: NDArray[np.float32], layer: int, at: NDArray[np.int64]) -> Floats:
    """One layer's states of the texts at some places, [places, 2 * size]; no other layer is copied."""
    found: Floats = states[:, layer][at].reshape(len(at), -1).astype(np.float64)
    return found


def _both(good: NDArray[np.bool_]) -> bool:
    return min(int(good.sum()), int((~good).sum())) >= LEAST_OF_A_CLASS
