"""Candidates: other responses to put beside a sample, drawn again, made worse on purpose, or on the refusal's border.

Best-of-N draws more responses to the same instruction. A hard negative has one known fault, put there by a rule or by
asking the model for it. Shipped prompts on both sides of the line of what should be refused are answered and refused.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from engine.core.data import read_data
from engine.core.errors import SpecError
from engine.critics.audit import Calibrated
from engine.models.answers import Answered
from engine.models.requests import Completion, Decoding, Generate
from engine.phases.flow import Lane, Request, Tally
from engine.phases.judgements import accepting
from engine.phases.responses import BEST_OF, decoding_of, response_examples
from engine.phases.revisions import eligible
from engine.phases.work import HELD, Work
from engine.quality import corruptions
from engine.quality.pair_selection import held_out_index
from engine.spec import prompts
from engine.spec.provenance import derived_seed, short_hash
from engine.spec.sections import CandidatesSpec, PairsSpec

ANSWER, REFUSAL = "answer", "refusal"
BY_MODEL = ("unwarranted_refusal", "over_verbose")
KINDS = (*corruptions.RULES, *BY_MODEL)
SHIPPED = "shipped"  # the status of an instruction that came with the program
NEIGHBOURS = 200  # samples among which a wrong name or an off-topic response is looked for

_NOT_JUDGED = """
    SELECT c.candidate_id AS id, i.text AS instruction, c.response, c.raw, c.stop_reason FROM candidates c
    JOIN instructions i ON i.run_id = c.run_id AND i.instruction_id = c.instruction_id
    ANTI JOIN (SELECT subject_id AS candidate_id FROM verdicts WHERE run_id = ? AND subject_kind = 'candidate')
        USING (candidate_id)
    WHERE c.run_id = ? AND c.source = 'best_of' ORDER BY c.ordinal, c.number
"""

Row = dict[str, Any]


def drawing(work: Work, critics: Sequence[Calibrated], tally: Tally) -> tuple[Lane, Lane]:
    """The lanes of all candidates that the spec asks for, and of the verdicts on those of Best-of-N."""
    spec, pairs = work.spec.candidates, work.spec.pairs
    assert spec is not None and pairs is not None
    if unknown := [kind for kind in spec.hard_negatives if kind not in KINDS]:
        raise SpecError(f"no kind of hard negative {unknown[0]!r}", f"There are: {', '.join(KINDS)}.")
    wanted, missing = _missing(work, spec, pairs)
    tally.done, tally.planned = wanted - len(missing), wanted
    asked: dict[Request, Row] = {}  # and not answered yet

    def ask(rows: list[Row]) -> list[Generate]:
        here = [_row(work, row, None, row["raw"], "stop", row["n_tokens"]) for row in rows if row["request"] is None]
        keep(here)
        found = {row["request"]: row for row in rows if row["request"] is not None}
        asked.update(found)
        return list(found)

    def told(batch: Sequence[Answered]) -> None:
        rows = []
        for key, completion in batch:
            assert isinstance(completion, Completion)
            row = asked.pop(completion.request)
            rows.append(_completed(work, row, key, completion))
            if row["source"] == BEST_OF:
                of[rows[-1]["candidate_id"]] = row["instruction"]
        keep(rows)
        judging.put(
            {**row, "id": row["candidate_id"], "instruction": of.pop(row["candidate_id"])}
            for row in rows
            if row["source"] == BEST_OF
        )

    def keep(rows: list[Row]) -> None:
        if rows:
            work.store.append({"candidates": rows})
            tally.done += len(rows)
            tally.tell()

    def not_judged() -> Iterator[Row]:
        yield from work.reader.query(_NOT_JUDGED, [work.run_id, work.run_id])

    of: dict[str, str] = {}
    writing = Lane(tally, ask, told, size=HELD)
    judging = accepting(work, "candidate", critics, tally, lambda decided: None)  # as samples are
    writing.put(missing)
    judging.put(not_judged())
    return writing, judging


def _missing(work: Work, spec: CandidatesSpec, pairs: PairsSpec) -> tuple[int, list[Row]]:
    """How many candidates the spec asks for, and those that are not there."""
    samples = eligible(work)
    there = {
        (row["instruction_id"], row["source"], row["number"])
        for row in work.reader.query(
            "SELECT instruction_id, source, number FROM candidates WHERE run_id = ?", [work.run_id]
        )
    }
    wanted: list[Row] = []
    if pairs.best_of:
        wanted += _best_of(work, spec, samples)
    if pairs.hard_negative and spec.hard_negatives:
        wanted += _hard_negatives(work, spec, samples)
    if pairs.boundary and spec.boundary_prompts:
        wanted += _boundary(work, spec)
    worse = {name for name, source, _ in there if source in KINDS}  # a sample has one hard negative, whatever its turn
    missing = [
        row
        for row in wanted
        if (row["instruction_id"], row["source"], row["number"]) not in there
        and not (row["source"] in KINDS and row["instruction_id"] in worse)
    ]
    return len(wanted), missing


def _best_of(work: Work, spec: CandidatesSpec, samples: Sequence[Row]) -> Iterator[Row]:
    responses = work.spec.responses
    decoding = Decoding(responses.max_tokens, spec.temperature, spec.top_k, spec.top_p, prompts.RESPONSE_STOPS)
    examples = response_examples(work)
    for sample in samples:
        prompt = prompts.response(examples, sample["instruction"])
        for number in range(2, spec.best_of + 1):
            seed = derived_seed(work.seed, BEST_OF, sample["instruction"], number)
            request = Generate(prompt.text, decoding, seed, prompt.shared)
            yield _wanted(sample, BEST_OF, number, request)


def _hard_negatives(work: Work, spec: CandidatesSpec, samples: Sequence[Row]) -> Iterator[Row]:
    """One kind for each sample, in turn; a rule that cannot be applied leaves the sample to the next kind."""
    kinds = spec.hard_negatives
    around = [corruptions.Neighbour(sample["instruction"], sample["response"]) for sample in samples]
    for at, sample in enumerate(samples):
        some = random.Random(derived_seed(work.seed, "neighbours", sample["sample_id"]))
        others = [around[n] for n in some.sample(range(len(around)), min(NEIGHBOURS, len(around))) if n != at]
        for turn in range(len(kinds)):
            kind = kinds[(at + turn) % len(kinds)]
            if kind in BY_MODEL:
                yield _wanted(sample, kind, 1, _asked_for(work, spec, kind, sample), sample["response"])
                break
            rng = random.Random(derived_seed(work.seed, kind, sample["sample_id"]))
            worse = corruptions.RULES[kind](rng, sample["instruction"], sample["response"], others)
            if worse is not None:
                # Where no model counted, tokens are estimated from the sample's, by length in characters.
                n_tokens = round(sample["n_tokens"] * len(worse.text) / max(1, len(sample["response"])))
                found = {"raw": worse.text, "detail": worse.detail, "n_tokens": max(1, n_tokens)}
                yield _wanted(sample, kind, 1, None) | found
                break


def _asked_for(work: Work, spec: CandidatesSpec, kind: str, sample: Row) -> Generate:
    seed = derived_seed(work.seed, kind, sample["instruction"])
    if kind == "over_verbose":
        prompt = prompts.padding(sample["instruction"], sample["response"])
        return Generate(prompt.text, decoding_of(work), seed, prompt.shared)
    prompt = prompts.refusal(_refusals(), sample["instruction"])
    return Generate(prompt.text, decoding_of(work), seed, prompt.shared)


def _boundary(work: Work, spec: CandidatesSpec) -> Iterator[Row]:
    """The shipped prompts, answered and refused; they become instructions of the run, in the training split.

    One that is near an instruction of validation or test is left out.
    """
    held_out = held_out_index(work.reader, work.run_id, work.spec.instructions.cluster_at)
    examples, refusals = response_examples(work), _refusals()
    shown = read_data("boundary_prompts")[: spec.boundary_prompts]
    kept = [(number, row) for number, row in enumerate(shown) if held_out.nearest(row["text"]) is None]
    rows = []
    for number, row in kept:
        found = {"run_id": work.run_id, "instruction_id": row["id"], "ordinal": -1 - number, "request_id": SHIPPED}
        found |= {"line": number, "seed_ids": [], "text": row["text"], "opening": "", "topic": row["topic"]}
        rows.append(found | {"status": SHIPPED, "cluster_id": row["id"], "split": "train"})
    work.store.append({"instructions": rows})
    for number, row in kept:
        place = {"sample_id": None, "instruction_id": row["id"], "ordinal": -1 - number, "n_tokens": 0}
        place["instruction"] = row["text"]
        asked = ((ANSWER, prompts.response(examples, row["text"])), (REFUSAL, prompts.refusal(refusals, row["text"])))
        for source, prompt in asked:
            seed = derived_seed(work.seed, source, row["text"])
            request = Generate(prompt.text, decoding_of(work), seed, prompt.shared)
            yield _wanted(place, source, 1, request) | {"detail": row["kind"]}


def _refusals() -> list[tuple[str, str]]:
    return [(row["instruction"], row["response"]) for row in read_data("refusal_examples")]


def _wanted(sample: Mapping[str, Any], source: str, number: int, request: Generate | None, before: str = "") -> Row:
    """A candidate that is still to be written; `before` stands in front of what the model goes on with."""
    return {
        "ordinal": sample["ordinal"],
        "instruction_id": sample["instruction_id"],
        "instruction": sample["instruction"],
        "sample_id": sample["sample_id"],
        "source": source,
        "number": number,
        "request": request,
        "before": before if source == "over_verbose" else "",
        "n_tokens": sample["n_tokens"],
        "raw": "",
        "detail": "",
    }


def _completed(work: Work, row: Row, key: str, completion: Completion) -> Row:
    kept, _ = prompts.clean_response(completion.text, row["instruction"])
    before = prompts.flat(row["before"])
    raw = completion.text if not before else f"{before} In other words, {kept}" if kept else before
    n_tokens = len(completion.token_ids) + (row["n_tokens"] if row["before"] else 0)
    # A padded response may run into the limit: its length is the fault that it is there for.
    reason = "stop" if row["before"] else completion.stop_reason
    return _row(work, row, key, raw, reason, n_tokens)


def _row(work: Work, row: Row, request_id: str | None, raw: str, stop_reason: str, n_tokens: int) -> Row:
    kept, trims = prompts.clean_response(raw, row["instruction"])
    name = f"c-{short_hash(row['instruction_id'], row['source'], row['number'], request_id or raw)}"
    found = {key: row[key] for key in ("ordinal", "instruction_id", "sample_id", "source", "number", "detail")}
    return found | {
        "run_id": work.run_id,
        "candidate_id": name,
        "request_id": request_id,
        "raw": raw,
        "response": kept,
        "trimmed": [asdict(trim) for trim in trims],
        "stop_reason": stop_reason,
        "n_tokens": n_tokens,
    }
