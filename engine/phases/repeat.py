"""What floating point does to a run: a few of its own model calls, computed again one at a time and compared.

A request's answer is meant to be the same alone and among others. Sums in another order differ in the last bits all the
same, and a sampled token can tip over. The run measures that on itself, and reports it beside its gates.
"""

from __future__ import annotations

from dataclasses import dataclass

from engine.critics.adapted import read_by
from engine.models.answers import completion_of, label_scores_of, score_request_of, scores_of
from engine.models.requests import Decoding, Generate, Model
from store.read import Reader

TEXTS = 2
SCORES = 8


@dataclass(frozen=True, slots=True)
class Repeated:
    """Texts and label scores computed again; the difference is the largest of a label's logprob, in nats."""

    texts: int
    texts_differing: int
    scores: int
    largest_difference_nats: float

    def __str__(self) -> str:
        return (
            f"{self.texts - self.texts_differing} of {self.texts} texts are the same when generated alone, "
            f"{self.scores} label scores differ by {self.largest_difference_nats:.1e} nats at most"
        )


def repeat(model: Model, reader: Reader, run_id: str) -> Repeated:
    """Compute a slice of a run's responses and scores again, each in a batch of its own.

    The slice is chosen by the hash of the requests, so it is the same for whoever repeats it. Nothing is stored.
    """
    texts = reader.query(
        "SELECT DISTINCT request_id FROM samples WHERE run_id = ? ORDER BY request_id LIMIT ?",
        [run_id, TEXTS],
    )
    differing = 0
    for row in reader.completions([row["request_id"] for row in texts]).values():
        decoding = Decoding(**(row["decoding"] | {"stop": tuple(row["decoding"]["stop"])}))
        before = completion_of(Generate(row["prompt"], decoding, row["seed"]), row)
        (again,) = model.generate([before.request])
        differing += (again.text, again.token_ids) != (before.text, before.token_ids)
    ids = reader.query(  # the ids first: sorting the prompts with them would take all of their memory
        "SELECT DISTINCT unnest(parts->>'$[*].request_id') AS request_id FROM judgements WHERE run_id = ? "
        "ORDER BY request_id LIMIT ?",
        [run_id, SCORES],
    )
    largest = 0.0
    scored = reader.scores([row["request_id"] for row in ids])
    for row in scored.values():
        stored = label_scores_of(score_request_of(row, lambda sha256: read_by(reader, sha256)), row)
        (anew,) = scores_of(model, [stored.request])
        largest = max(largest, *(abs(a - b) for a, b in zip(anew.logprobs, stored.logprobs, strict=True)))
    return Repeated(len(texts), differing, len(scored), largest)
