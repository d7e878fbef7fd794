"""Responses: each accepted instruction is answered once, after solved examples that end with a marker."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from engine.core.data import read_data
from engine.core.events import PhaseProgressed
from engine.models.requests import Decoding, Generate
from engine.phases.work import Work, keep
from engine.spec import prompts
from engine.spec.provenance import derived_seed, short_hash

PHASE = "responses"

_ACCEPTED = """
    SELECT i.instruction_id, i.ordinal, i.text, s.sample_id
    FROM instructions i
    JOIN verdicts v ON v.run_id = i.run_id AND v.subject_kind = 'instruction' AND v.subject_id = i.instruction_id
    LEFT JOIN samples s ON s.run_id = i.run_id AND s.instruction_id = i.instruction_id
    WHERE i.run_id = $1 AND i.ordinal <= $2 AND v.verdict = 'accepted'
"""


def decoding_of(work: Work) -> Decoding:
    """How responses are decoded; the marker and a second turn end them."""
    spec = work.spec.responses
    return Decoding(spec.max_tokens, spec.temperature, spec.top_k, spec.top_p, prompts.RESPONSE_STOPS)


def response_examples(work: Work) -> list[tuple[str, str]]:
    """The solved examples shown before an instruction of the stage's kind."""
    rows = read_data(work.spec.instructions.shown("response_examples"))
    return [(row["instruction"], row["response"]) for row in rows[: work.spec.responses.examples]]


def respond(work: Work, upto: int) -> None:
    """Answer every accepted instruction that has no response yet and whose ordinal is at most `upto`."""
    decoding, examples = decoding_of(work), response_examples(work)
    place = [work.run_id, upto]
    counts = work.reader.query(f"SELECT count(*) AS planned, count(sample_id) AS done FROM ({_ACCEPTED})", place)[0]
    planned, done = int(counts["planned"]), int(counts["done"])
    asked: dict[Generate, dict[str, Any]] = {}  # and not answered yet

    def requests() -> Iterator[Generate]:
        for row in work.reader.in_order(f"SELECT * FROM ({_ACCEPTED}) WHERE sample_id IS NULL", place):
            prompt = prompts.response(examples, row["text"])
            # The seed belongs to the instruction's text, so that it survives a change of anything around it.
            seed = derived_seed(work.seed, PHASE, row["text"])
            request = Generate(prompt.text, decoding, seed, prompt.shared)
            asked[request] = row
            yield request

    def samples() -> Iterator[dict[str, Any]]:
        for key, completion in work.answers.complete(requests()):
            row = asked.pop(completion.request)
            kept, trims = prompts.clean_response(completion.text, row["text"])
            yield {
                "run_id": work.run_id,
                "sample_id": f"s-{short_hash(row['instruction_id'], key)}",
                "ordinal": row["ordinal"],
                "instruction_id": row["instruction_id"],
                "request_id": key,
                "raw": completion.text,
                "response": kept,
                "trimmed": [asdict(trim) for trim in trims],
                "stop_reason": completion.stop_reason,
                "n_tokens": len(completion.token_ids),
            }

    done = keep(work, "samples", samples(), PHASE, done, planned)
    work.emit(PhaseProgressed(work.run_id, PHASE, done, planned, None))
