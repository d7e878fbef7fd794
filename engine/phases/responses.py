"""Responses: each accepted instruction is answered after solved examples that end with a marker.

Where the spec asks for several drafts, one of them becomes the sample; see `best_of`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any, cast

from engine.core.data import read_data
from engine.critics import Judgement, Subject
from engine.critics.audit import Calibrated, Hearing, chunk_of
from engine.models.answers import Answered
from engine.models.requests import Completion, Decoding, Generate, LabelScores, Scored
from engine.phases.flow import Lane, Request, Tally
from engine.phases.judgements import judgement_row
from engine.phases.work import Work
from engine.quality.rules import BLOCKING, response_flags
from engine.spec import prompts
from engine.spec.provenance import derived_seed, short_hash
from engine.spec.sections import RulesSpec
from engine.stats.similarity import token_f1

PHASE = "responses"
BEST_OF = "best_of"  # the source of candidates: drafts beside the sample, and what Best-of-N draws after them
TOGETHER = 128  # instructions whose drafts are chosen from together: their samples appear at once

Row = dict[str, Any]

_ACCEPTED = """
    SELECT i.instruction_id, i.ordinal, i.text, s.sample_id
    FROM instructions i
    JOIN verdicts v ON v.run_id = i.run_id AND v.subject_kind = 'instruction' AND v.subject_id = i.instruction_id
    LEFT JOIN samples s ON s.run_id = i.run_id AND s.instruction_id = i.instruction_id
    WHERE i.run_id = $1 AND i.ordinal > $3 AND i.ordinal <= $2 AND v.verdict = 'accepted'
"""


def decoding_of(work: Work) -> Decoding:
    """How responses are decoded; the marker and a second turn end them."""
    spec = work.spec.responses
    return Decoding(spec.max_tokens, spec.temperature, spec.top_k, spec.top_p, prompts.RESPONSE_STOPS)


def response_examples(work: Work) -> list[tuple[str, str]]:
    """The solved examples shown before an instruction of the stage's kind."""
    rows = read_data(work.spec.instructions.shown("response_examples"))
    return [(row["instruction"], row["response"]) for row in rows[: work.spec.responses.examples]]


def unanswered(work: Work, tally: Tally, after: int, upto: int) -> Iterator[Row]:
    """Accepted instructions in ordinals (after, upto] that have no response yet; those that have one are counted."""
    place = [work.run_id, upto, after]
    done = work.reader.query(f"SELECT count(sample_id) AS n FROM ({_ACCEPTED})", place)[0]["n"]
    tally.done += int(done)
    return work.reader.in_order(f"SELECT * FROM ({_ACCEPTED}) WHERE sample_id IS NULL", place)


def responding(
    work: Work, critics: Sequence[Calibrated], tally: Tally, then: Callable[[list[Row]], None]
) -> list[Lane]:
    """The lanes in which accepted instructions are answered; `then` is given samples, once they are committed.

    Where the spec asks for several drafts, the one that `best_of` says becomes the sample, the others are kept as
    candidates beside it, with what the critic said of each.
    """
    decoding, examples, n = decoding_of(work), response_examples(work), work.spec.responses.drafts
    deciding = [critic for critic in critics if critic.may_filter][:1]
    asked: dict[Request, tuple[Row, int]] = {}  # and not answered yet
    written: dict[str, list[Row]] = {}  # the drafts of instructions that lack some

    def ask(rows: list[Row]) -> Iterator[Generate]:
        for row in rows:
            prompt = prompts.response(examples, row["text"])
            for number in range(1, n + 1):
                # The seed belongs to the instruction's text, so that it survives a change of anything around it.
                seed = derived_seed(work.seed, PHASE, row["text"], *([number] if number > 1 else []))
                request = Generate(prompt.text, decoding, seed, prompt.shared)
                asked[request] = row, number
                yield request

    def told(batch: Sequence[Answered]) -> None:
        whole = []
        for key, completion in batch:
            assert isinstance(completion, Completion)
            draft = _draft(work, *asked.pop(completion.request), key, completion)
            drafts = written.setdefault(draft["instruction_id"], [])
            drafts.append(draft)
            if len(drafts) == n:
                whole.append(sorted(written.pop(draft["instruction_id"]), key=lambda draft: draft["number"]))
        if n > 1 and deciding:
            judging.put(whole)
        else:
            keep(whole, {})

    def keep(of: Sequence[list[Row]], said: Mapping[str, Judgement]) -> None:
        if not of:
            return
        rows = _rows_of(work, of, said, [one.critic.name for one in deciding])
        work.store.append(rows)
        tally.done += len(rows["samples"])
        tally.tell()
        then(
            [{**row, "instruction": drafts[0]["instruction"]} for row, drafts in zip(rows["samples"], of, strict=True)]
        )

    writing = Lane(tally, ask, told, burst=TOGETHER if n > 1 else None, key="instruction_id")
    if n == 1 or not deciding:
        return [writing]
    judging = _judging_drafts(work, deciding, tally, keep)
    return [writing, judging]


def _judging_drafts(
    work: Work,
    deciding: Sequence[Calibrated],
    tally: Tally,
    keep: Callable[[Sequence[list[Row]], Mapping[str, Judgement]], None],
) -> Lane:
    """The lane in which the drafts of each instruction are scored; `keep` is given them with what was said of each."""
    hearing = Hearing(deciding)
    drafts_of: dict[str, list[Row]] = {}
    said_of: dict[str, dict[str, Judgement]] = {}
    owner: dict[str, str] = {}

    def ask(rows: list[list[Row]]) -> list[Scored]:
        subjects = []
        for drafts in rows:
            name = drafts[0]["instruction_id"]
            drafts_of[name], said_of[name] = drafts, {}
            for draft in drafts:
                owner[draft["id"]] = name
                subjects.append(Subject(draft["id"], draft["instruction"], draft["response"], draft["stop_reason"]))
        requests, whole = hearing.ask(subjects)
        settle(whole)
        return requests

    def told(batch: Sequence[Answered]) -> None:
        settle([found for key, scores in batch for found in hearing.told(key, cast(LabelScores, scores))])

    def settle(whole: Sequence[list[Judgement]]) -> None:
        done: list[list[Row]] = []
        said: dict[str, Judgement] = {}
        for (judgement,) in whole:
            name = owner.pop(judgement.item.key)
            said_of[name][judgement.item.key] = judgement
            if len(said_of[name]) == len(drafts_of[name]):
                said |= said_of.pop(name)
                done.append(drafts_of.pop(name))
        keep(done, said)

    return Lane(tally, ask, told, writes=False, size=max(1, chunk_of(work.answers) // work.spec.responses.drafts))


def _draft(work: Work, row: Row, number: int, key: str, completion: Completion) -> Row:
    kept, trims = prompts.clean_response(completion.text, row["text"])
    return {
        "run_id": work.run_id,
        "id": f"s-{short_hash(row['instruction_id'], key)}",
        "ordinal": row["ordinal"],
        "instruction_id": row["instruction_id"],
        "instruction": row["text"],
        "number": number,
        "request_id": key,
        "raw": completion.text,
        "response": kept,
        "trimmed": [asdict(trim) for trim in trims],
        "stop_reason": completion.stop_reason,
        "n_tokens": len(completion.token_ids),
    }


def _rows_of(
    work: Work, of: Sequence[list[Row]], said: Mapping[str, Judgement], named: Sequence[str]
) -> dict[str, list[Row]]:
    """One draft of each instruction as its sample, the others as candidates, and what a critic said of those."""
    scores = {key: judgement.score for key, judgement in said.items()}
    samples, candidates, judgements = [], [], []
    for drafts in of:
        best = best_of(drafts, scores, work.spec.rules) if len(drafts) > 1 else drafts[0]
        samples.append(_sample_row(best))
        others = [draft for draft in drafts if draft is not best]
        for number, draft in enumerate(others, 2):
            name = f"c-{draft['id'][2:]}"
            candidates.append(_candidate_row(draft, best, name, number))
            if draft["id"] in said:
                row = judgement_row(work.run_id, "candidate", said[draft["id"]], named)
                judgements.append(row | {"subject_id": name})
    return {"samples": samples, "candidates": candidates, "judgements": judgements}


def best_of(drafts: Sequence[Row], scores: Mapping[str, float], rules: RulesSpec) -> Row:
    """The draft that becomes the sample: of those that no rule blocks the one that an audited critic scores highest.

    Without scores the medoid of those drafts, by mean token F1 to the others (a consensus of samples as in
    self-consistency: Wang et al. 2022, arXiv 2203.11171, section 2, for free text). The first of equals; where rules
    block all, the first.
    """
    sound = [
        draft
        for draft in drafts
        if not BLOCKING
        & set(response_flags(draft["instruction"], draft["raw"], draft["response"], draft["stop_reason"], rules))
    ]
    if not sound:
        return drafts[0]
    if scores:
        return max(sound, key=lambda draft: scores[draft["id"]])
    texts = [draft["response"] for draft in sound]
    return max(sound, key=lambda draft: math.fsum(token_f1(draft["response"], other) for other in texts))


def _sample_row(draft: Row) -> Row:
    names = (
        "run_id",
        "ordinal",
        "instruction_id",
        "request_id",
        "raw",
        "response",
        "trimmed",
        "stop_reason",
        "n_tokens",
    )
    return {"sample_id": draft["id"], **{name: draft[name] for name in names}}


def _candidate_row(draft: Row, best: Row, name: str, number: int) -> Row:
    row = {key: value for key, value in draft.items() if key not in ("id", "instruction")}
    kept = {"candidate_id": name, "sample_id": best["id"], "source": BEST_OF, "number": number, "detail": ""}
    return row | kept
