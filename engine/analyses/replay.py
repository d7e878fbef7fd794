"""A slice of a run's model calls computed again, and compared with what is stored: texts, scores, verdicts, figures.

The slice is chosen by a hash of the requests, so that whoever repeats it repeats the same one. Calls are made in
batches as they were, by the same weights and adapter; nothing of what is computed replaces what is stored.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from engine.core.control import Control
from engine.core.errors import EvaluationError, ModelError
from engine.critics.adapted import read_by
from engine.evaluation import REFERENCE, Item
from engine.evaluation.conditions import answer_of
from engine.evaluation.verifiers import verify
from engine.models import adapters, registry
from engine.models.answers import completion_of, label_scores_of, score_request_of, scores_of
from engine.models.requests import Completion, Decoding, Generate, LabelScores, Model, Scored
from engine.phases.work import begin_session, loaded_work
from engine.quality.rules import flags_of, measure
from engine.spec.prompts import clean_response
from engine.spec.provenance import new_session_id, short_hash
from engine.spec.stage import StageSpec, settings_of
from store.db import Store
from store.names import TRAINING_PHASES
from store.read import Reader
from store.salvage.clock import utc_now

SAME_WITHIN_NATS = 0.01  # a larger difference of a label's log-probability is no rounding
DIFFERING_KEPT = 20

# The model calls of a phase: by request id, with what a verdict on its text needs.
_TEXTS = {
    "instructions": "SELECT DISTINCT request_id, '' AS asked FROM instructions WHERE run_id = ?",
    "responses": "SELECT s.request_id, i.text AS asked FROM samples s JOIN instructions i USING (run_id, "
    "instruction_id) WHERE s.run_id = ?",
    "revisions": "SELECT r.request_id, i.text AS asked FROM revisions r JOIN instructions i USING (run_id, "
    "instruction_id) WHERE r.run_id = ?",
    "evaluation": "SELECT request_id, condition, item_id, items_sha256 FROM evaluation_answers WHERE run_id = ?",
}
_SCORES = {"instruction_judgements": "instruction", "response_judgements": "sample"}
_JUDGED = (
    "SELECT DISTINCT unnest(parts->>'$[*].request_id') AS request_id FROM judgements WHERE run_id = ? "
    "AND subject_kind = ?"
)


@dataclass
class _Found:
    texts: int = 0
    texts_same: int = 0
    scores: int = 0
    largest_difference_nats: float = 0.0
    verdicts: int = 0
    verdicts_same: int = 0
    before: float = 0.0  # sums that figures are means of
    after: float = 0.0
    differing: list[str] = field(default_factory=list)

    def compare(self, request_id: str, same: bool, verdict_same: bool, before: float, after: float) -> None:
        """Count one call of which the verdict and a figure were computed again."""
        self.verdicts += 1
        self.verdicts_same += verdict_same
        self.before += before
        self.after += after
        if not (same and verdict_same):
            self.differing.append(request_id)


def replay(path: Path, run_id: str, phase: str, fraction: float, *, batch_size: int | None = None) -> dict[str, Any]:
    """Compute the share `fraction` of a phase's model calls again and keep the comparison as a row of `replays`.

    Returns that row as plain values with `run`, and `certified`: every text and verdict is the same, and no label's
    log-probability moved by more than 0.01 nats. Raises EvaluationError where the phase has no calls, ModelError where
    the weights or adapters that answered are not there any more.
    """
    with Store.open(path) as store, store.reader() as reader:
        run = reader.run(run_id)
        spec = settings_of(run)
        chosen = _chosen(reader, run["run_id"], phase, fraction)
        session_id = new_session_id()
        begin_session(store, run["run_id"], session_id)
        found = _Found()
        again = _texts if phase in _TEXTS else _scores
        reference = run["manifest"].get(REFERENCE) or {}
        own = {name: rows for name, rows in chosen.items() if name != reference.get("fingerprint")}
        if own:
            with _models(store, reader, run, spec, session_id, batch_size) as models:
                for fingerprint, rows in own.items():
                    again(reader, models(fingerprint), spec, phase, rows, found)
        for fingerprint in chosen.keys() - own.keys():  # one model in memory at a time: the base was closed before
            with _reference(reference["name"], fingerprint, batch_size) as model:
                again(reader, model, spec, phase, chosen[fingerprint], found)
        row = _row(run["run_id"], phase, fraction, found, sorted(chosen))
        store.put({"replays": [row]})
        same = found.texts == found.texts_same and found.verdicts == found.verdicts_same
        return {**row, "run": run["run_id"], "certified": same and found.largest_difference_nats <= SAME_WITHIN_NATS}


def _chosen(reader: Reader, run_id: str, phase: str, fraction: float) -> dict[str, list[dict[str, Any]]]:
    """The calls of the slice by the fingerprint that answered them."""
    if phase in _TEXTS:
        calls, answers_to = reader.query(_TEXTS[phase], [run_id]), reader.completions
    else:
        calls, answers_to = reader.query(_JUDGED, [run_id, _SCORES[phase]]), reader.scores
    if not calls:
        raise EvaluationError(
            f"run {run_id} made no model calls in the phase {phase}", "Replay a phase that it has been through."
        )
    by_id = {row["request_id"]: row for row in calls}
    names = sorted(by_id, key=lambda name: short_hash("replay", name))
    names = names[: max(1, round(fraction * len(names)))]
    stored = answers_to(names)
    groups: dict[str, list[dict[str, Any]]] = {}
    for name in names:
        row = stored[name]
        groups.setdefault(row["fingerprint"], []).append({**row, "call": by_id[name]})
    return groups


@contextmanager
def _models(
    store: Store, reader: Reader, run: Mapping[str, Any], spec: StageSpec, session_id: str, batch_size: int | None
) -> Iterator[Callable[[str], Model]]:
    """A function that gives the model of a fingerprint: the base, or one of its adapters."""
    with loaded_work(
        store, reader, run, spec, session_id=session_id, control=Control(), emit=lambda event: None,
        batch_size=batch_size,
    ) as work:  # fmt: skip
        model = work.answers.model
        known = [work.adapter, *(adapters.of_run(reader, run["run_id"], name) for name in TRAINING_PHASES)]
        earlier = [adapters.of_run(reader, run["run_id"], row["training_id"]) for row in reader.query(
            "SELECT training_id FROM trainings WHERE run_id = ? AND state = 'done'", [run["run_id"]])]  # fmt: skip

        def give(fingerprint: str) -> Model:
            for adapter in (None, *known, *earlier):
                if adapter is not None and not adapters.is_whole(adapter):
                    continue  # what it would answer is not what was answered
                model.use(None) if adapter is None else model.use(adapter.folder, adapter.sha256)
                if model.fingerprint == fingerprint:
                    return model
            raise _gone(fingerprint)

        yield give


@contextmanager
def _reference(name: str, fingerprint: str, batch_size: int | None) -> Iterator[Model]:
    model = registry.load(name, batch_size=batch_size, chat=True)
    try:
        if model.fingerprint != fingerprint:
            raise _gone(fingerprint)
        yield model
    finally:
        model.close()


def _gone(fingerprint: str) -> ModelError:
    return ModelError(
        f"the weights or the adapter with fingerprint {fingerprint} are not here any more",
        "Put them back where the run's manifest says. Nothing was changed.",
    )


def _texts(
    reader: Reader, model: Model, spec: StageSpec, phase: str, rows: Sequence[dict[str, Any]], found: _Found
) -> None:
    asked: dict[Generate, tuple[Completion, dict[str, Any]]] = {}
    for row in rows:
        decoding = Decoding(**(row["decoding"] | {"stop": tuple(row["decoding"]["stop"])}))
        request = Generate(row["prompt"], decoding, row["seed"])
        asked[request] = completion_of(request, row), row["call"]
    items = _items(reader, [call for _, call in asked.values()]) if phase == "evaluation" else {}
    for again in model.generate(asked):
        before, call = asked[again.request]
        same = (again.text, again.token_ids) == (before.text, before.token_ids)
        was, now = (_verdict(spec, phase, one, call, items) for one in (before, again))
        found.texts += 1
        found.texts_same += same
        found.compare(call["request_id"], same, was == now, _figure(phase, before, was), _figure(phase, again, now))


def _verdict(
    spec: StageSpec, phase: str, completion: Completion, call: Mapping[str, Any], items: Mapping[str, Item]
) -> Any:
    """What the rules say of a text; of an evaluation's answer whether it is right."""
    if phase == "evaluation":
        item = items[call["item_id"]]
        return verify(item, answer_of(call["condition"], item, completion.text)).correct
    if phase == "instructions":
        return completion.text.strip().split("\n")
    kept, _ = clean_response(completion.text, call["asked"])
    return flags_of(measure(call["asked"], completion.text, kept, completion.stop_reason), spec.rules)


def _figure(phase: str, completion: Completion, verdict: Any) -> float:
    """Of an evaluation's answer whether the rules found it right: one that they leave open is not."""
    return float(verdict is True) if phase == "evaluation" else float(len(completion.token_ids))


def _items(reader: Reader, calls: Sequence[Mapping[str, Any]]) -> dict[str, Item]:
    rows = reader.query(
        "SELECT * FROM evaluation_items WHERE items_sha256 IN (SELECT unnest(?)) AND item_id IN (SELECT unnest(?))",
        [sorted({call["items_sha256"] for call in calls}), sorted({call["item_id"] for call in calls})],
    )
    return {row["item_id"]: Item.of_row(row) for row in rows}


def _scores(
    reader: Reader, model: Model, spec: StageSpec, phase: str, rows: Sequence[dict[str, Any]], found: _Found
) -> None:
    asked: dict[Scored, tuple[LabelScores, dict[str, Any]]] = {}
    for row in rows:
        request = score_request_of(row, lambda sha256: read_by(reader, sha256))
        asked[request] = label_scores_of(request, row), row
    for again in scores_of(model, asked):
        before, row = asked[again.request]
        moved = max(abs(a - b) for a, b in zip(again.logprobs, before.logprobs, strict=True))
        same = _likeliest(again) == _likeliest(before)
        found.scores += 1
        found.largest_difference_nats = max(found.largest_difference_nats, moved)
        found.compare(row["request_id"], moved <= SAME_WITHIN_NATS, same, before.logprobs[0], again.logprobs[0])


def _likeliest(scores: LabelScores) -> int:
    return max(range(len(scores.logprobs)), key=lambda at: scores.logprobs[at])


_FIGURES = {
    "evaluation": "share of right answers",
    "instruction_judgements": "mean log-probability of the first label",
    "response_judgements": "mean log-probability of the first label",
}


def _row(run_id: str, phase: str, fraction: float, found: _Found, used: Sequence[str]) -> dict[str, Any]:
    n = max(found.texts + found.scores, 1)
    figure = _FIGURES.get(phase, "mean tokens")
    counts = asdict(found)
    differing = counts.pop("differing")[:DIFFERING_KEPT]
    before, after = counts.pop("before") / n, counts.pop("after") / n
    assert math.isfinite(before) and math.isfinite(after)
    return {
        "run_id": run_id,
        "replay_id": short_hash(run_id, phase, str(fraction)),
        "phase": phase,
        "fraction": fraction,
        **counts,
        "detail": {"figures": {figure: f"{before:.6g} → {after:.6g}"}, "differing": differing},
        "fingerprint": " ".join(used),
        "at": utc_now(),
    }
