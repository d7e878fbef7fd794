"""Responses: each accepted instruction is answered after solved examples that end with a marker.

Where the spec asks for several drafts, one of them becomes the sample; see `best_of`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from engine.core.data import read_data
from engine.core.events import PhaseProgressed
from engine.critics import Subject
from engine.critics.audit import Calibrated, judge
from engine.models.requests import Decoding, Generate
from engine.phases.judgements import judgement_row
from engine.phases.work import HELD, Work, keep
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


def respond(work: Work, upto: int, critics: Sequence[Calibrated]) -> None:
    """Answer every accepted instruction that has no response yet and whose ordinal is at most `upto`.

    Where the spec asks for several drafts, the one that `best_of` says becomes the sample, the others are kept as
    candidates beside it, with what the critic said of each.
    """
    place = [work.run_id, upto]
    counts = work.reader.query(f"SELECT count(*) AS planned, count(sample_id) AS done FROM ({_ACCEPTED})", place)[0]
    planned, done = int(counts["planned"]), int(counts["done"])
    rows = work.reader.in_order(f"SELECT * FROM ({_ACCEPTED}) WHERE sample_id IS NULL", place)
    if work.spec.responses.drafts == 1:
        done = keep(work, "samples", map(_sample_row, _drafts(work, rows)), PHASE, done, planned)
    else:
        deciding = [critic for critic in critics if critic.may_filter][:1]
        while some := list(itertools.islice(rows, TOGETHER)):
            done = _choose(work, deciding, some, done, planned)
    work.emit(PhaseProgressed(work.run_id, PHASE, done, planned, None))


def _drafts(work: Work, rows: Iterable[Row]) -> Iterator[Row]:
    """All drafts of all instructions, as they are written."""
    decoding, examples = decoding_of(work), response_examples(work)
    asked: dict[Generate, tuple[Row, int]] = {}  # and not answered yet

    def requests() -> Iterator[Generate]:
        for row in rows:
            prompt = prompts.response(examples, row["text"])
            for number in range(1, work.spec.responses.drafts + 1):
                # The seed belongs to the instruction's text, so that it survives a change of anything around it.
                seed = derived_seed(work.seed, PHASE, row["text"], *([number] if number > 1 else []))
                request = Generate(prompt.text, decoding, seed, prompt.shared)
                asked[request] = row, number
                yield request

    for key, completion in work.answers.complete(requests()):
        row, number = asked.pop(completion.request)
        kept, trims = prompts.clean_response(completion.text, row["text"])
        yield {
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


def _choose(work: Work, deciding: Sequence[Calibrated], rows: Sequence[Row], done: int, planned: int) -> int:
    """Write the drafts of some instructions, and keep one of each as its sample; returns how many are done then."""
    of: dict[str, list[Row]] = {row["instruction_id"]: [] for row in rows}
    for n, draft in enumerate(_drafts(work, rows), 1):
        of[draft["instruction_id"]].append(draft)
        if not n % HELD:  # each is a row of the store
            whole = sum(len(drafts) == work.spec.responses.drafts for drafts in of.values())
            work.emit(PhaseProgressed(work.run_id, PHASE, done + whole, planned, None))
    subjects = [
        Subject(draft["id"], draft["instruction"], draft["response"], draft["stop_reason"])
        for drafts in of.values()
        for draft in drafts
    ]
    said = {found[0].item.key: found[0] for found in judge(work.answers, deciding, subjects)} if deciding else {}
    scores = {key: judgement.score for key, judgement in said.items()}
    samples, candidates, judgements = [], [], []
    for drafts in of.values():
        drafts.sort(key=lambda draft: draft["number"])
        best = best_of(drafts, scores, work.spec.rules)
        samples.append(_sample_row(best))
        others = [draft for draft in drafts if draft is not best]
        for number, draft in enumerate(others, 2):
            name = f"c-{draft['id'][2:]}"
            candidates.append(_candidate_row(draft, best, name, number))
            if draft["id"] in said:
                critic = said[draft["id"]]
                row = judgement_row(work.run_id, "candidate", critic, [one.critic.name for one in deciding])
                judgements.append(row | {"subject_id": name})
    work.store.append({"samples": samples, "candidates": candidates, "judgements": judgements})
    return done + len(samples)


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
