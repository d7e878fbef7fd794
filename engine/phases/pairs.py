"""Preference pairs: put together from samples, revisions and candidates, compared by pair critics, and chosen from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from engine.core.events import MarginMeasured
from engine.critics import QUESTIONS, Judgement, Subject
from engine.critics.audit import Calibrated, Hearing, chunk_of
from engine.critics.pair import by_order, preference
from engine.models.answers import Answered
from engine.models.requests import LabelScores, Scored
from engine.phases.candidates import ANSWER, REFUSAL
from engine.phases.flow import Lane, Tally
from engine.phases.judgements import judgement_row
from engine.phases.revisions import eligible
from engine.phases.work import Work
from engine.quality.labels import ranking_critic
from engine.quality.pair_selection import recheck_pairs, verdict_rows
from engine.quality.rules import BLOCKING
from engine.spec.provenance import short_hash

BEST_OF_ROUND = 100  # the number under which principles are allotted to comparisons, apart from those of revisions
# What a hard negative's two sides are compared by.
CATEGORY_OF = {"wrong_fact": "honesty"}

Row = dict[str, Any]

_KEPT = """
    SELECT r.* FROM revisions r
    JOIN verdicts v ON v.run_id = r.run_id AND v.subject_kind = 'revision' AND v.subject_id = r.revision_id
    WHERE r.run_id = ? AND v.verdict = 'accepted'
    QUALIFY row_number() OVER (PARTITION BY r.sample_id ORDER BY r.round DESC) = 1
"""
_JUDGED = """
    SELECT c.candidate_id AS id, c.sample_id, c.number, c.response, c.n_tokens, v.flags
    FROM candidates c
    JOIN verdicts v ON v.run_id = c.run_id AND v.subject_kind = 'candidate' AND v.subject_id = c.candidate_id
    WHERE c.run_id = $1 AND c.source = 'best_of'
    UNION ALL
    SELECT s.sample_id, s.sample_id, 1, s.response, s.n_tokens, v.flags
    FROM samples s JOIN verdicts v ON v.run_id = s.run_id AND v.subject_kind = 'sample' AND v.subject_id = s.sample_id
    WHERE s.run_id = $1
    ORDER BY 2, 3
"""


def pairing(work: Work, critics: Sequence[Calibrated], tally: Tally) -> Lane:
    """The lane in which all pairs that the rows allow are compared. Which are kept is decided over all, by `choose`."""
    drafts = [*_revised(work), *_best_of(work), *_hard_negatives(work), *_boundary(work)]
    there = {row["pair_id"] for row in work.reader.query("SELECT pair_id FROM pairs WHERE run_id = ?", [work.run_id])}
    missing = {row["pair_id"]: row for row in drafts if row["pair_id"] not in there}
    tally.done, tally.planned = len(there), len(there | missing.keys())
    tally.tell()
    may_filter = [c.critic.name for c in critics if c.may_filter]
    deciding = next(iter([*may_filter, *(c.critic.name for c in critics)]))
    spec, hearing = work.spec.pairs, Hearing(critics)
    assert spec is not None

    def ask(rows: list[Row]) -> list[Scored]:
        requests, whole = hearing.ask(
            Subject(row["pair_id"], row["instruction"], row["chosen"], "stop", row["rejected"], row["question"])
            for row in rows
        )
        keep(whole)
        return requests

    def told(batch: Sequence[Answered]) -> None:
        keep([found for key, scores in batch for found in hearing.told(key, cast(LabelScores, scores))])

    def keep(whole: Sequence[list[Judgement]]) -> None:
        if not whole:
            return
        rows, judgements = [], []
        for found in whole:
            row = {key: value for key, value in missing[found[0].item.key].items() if key != "instruction"}
            by_critic = {judgement.critic: judgement for judgement in found}
            decider = by_critic[deciding]
            orders = by_order(decider.parts)
            soft = next((p for j in found if (p := preference(j.parts, spec.clamp)) is not None), None)
            row |= {"run_id": work.run_id, "margin_nats": decider.margin_nats, "preference": soft}
            row |= {"margin_in_front": orders[0] if orders else None, "margin_behind": orders[1] if orders else None}
            rows.append(row)
            judgements += [judgement_row(work.run_id, "pair", judgement, may_filter) for judgement in found]
        work.store.append({"pairs": rows, "judgements": judgements})
        for found in whole:
            for j in found:
                work.emit(MarginMeasured(work.run_id, j.critic, "pair", j.item.key, j.margin_nats, j.score, ""))
        tally.done += len(rows)
        tally.tell()

    lane = Lane(tally, ask, told, writes=False, size=chunk_of(work.answers))
    lane.put(missing.values())
    return lane


def choose(work: Work, tally: Tally) -> None:
    """Decide again which pairs are kept: caps and quotas look at all of them."""
    found = recheck_pairs(work.reader, work.run_id, work.spec)
    work.store.put({"verdicts": verdict_rows(work.run_id, found.verdicts)})
    tally.done = tally.planned = len(found.verdicts)
    tally.accepted = sum(verdict.verdict == "accepted" for verdict in found.verdicts.values())
    tally.tell()


def _revised(work: Work) -> Iterator[Row]:
    """The last revision that was kept over the sample it began with."""
    if not work.spec.pairs.revision or work.constitution is None:  # type: ignore[union-attr]
        return
    samples = {row["sample_id"]: row for row in eligible(work)}
    for row in sorted(work.reader.query(_KEPT, [work.run_id]), key=lambda row: (row["ordinal"], row["revision_id"])):
        sample = samples.get(row["sample_id"])
        if sample is None:
            continue
        principle = work.constitution.by_id[row["principle_id"]]
        chosen = {"id": row["revision_id"], "response": row["response"], "n_tokens": row["n_tokens"]}
        rejected = {**sample, "id": sample["sample_id"]}
        yield _draft(sample, "revision", f"round {row['round']}", chosen, rejected, principle.comparison, principle.id)


def _best_of(work: Work) -> Iterator[Row]:
    """The best of the candidates by the first sample critic over each of the others; principles are allotted."""
    spec = work.spec.pairs
    if not spec.best_of or work.constitution is None:  # type: ignore[union-attr]
        return
    ranking = ranking_critic(work.reader, work.run_id, work.spec.critics.preferred("sample"))
    scores = {
        row["subject_id"]: row["score"]
        for row in work.reader.query(
            "SELECT subject_id, score FROM judgements WHERE run_id = ? AND critic = ? "
            "AND subject_kind IN ('sample', 'candidate')",
            [work.run_id, ranking],
        )
    }
    pools: dict[str, list[Row]] = {}
    for row in work.reader.query(_JUDGED, [work.run_id]):
        if not BLOCKING & set(row["flags"]) and row["id"] in scores:
            pools.setdefault(row["sample_id"], []).append(row)
    drafts: list[tuple[Row, Row, Row]] = []
    for sample in eligible(work):
        pool = pools.get(sample["sample_id"], [])
        if len(pool) < 2:
            continue
        best = min(pool, key=lambda row: (-scores[row["id"]], row["number"]))
        drafts += [(sample, best, other) for other in pool if other["id"] != best["id"]]
    names = [_name("best_of", best["id"], other["id"]) for _, best, other in drafts]
    given = {
        row["pair_id"]: row["principle_id"]
        for row in work.reader.query(
            "SELECT pair_id, principle_id FROM pairs WHERE run_id = ? AND source = 'best_of'", [work.run_id]
        )
    }
    allotted = work.constitution.allot(work.seed, BEST_OF_ROUND, names, given, {})
    for name, (sample, best, other) in zip(names, drafts, strict=True):
        principle = work.constitution.by_id[allotted[name]]
        yield _draft(sample, "best_of", f"by {ranking}", best, other, principle.comparison, principle.id)


def _hard_negatives(work: Work) -> Iterator[Row]:
    """The sample over what was made worse of it."""
    if not work.spec.pairs.hard_negative:  # type: ignore[union-attr]
        return
    worse = {
        row["sample_id"]: row
        for row in work.reader.query(
            "SELECT * FROM candidates WHERE run_id = ? AND source NOT IN ('best_of', ?, ?) ORDER BY ordinal",
            [work.run_id, ANSWER, REFUSAL],
        )
    }
    for sample in eligible(work):
        row = worse.get(sample["sample_id"])
        if row is not None:
            question = QUESTIONS[CATEGORY_OF.get(row["source"], "helpfulness")]
            rejected = {**row, "id": row["candidate_id"]}
            yield _draft(
                sample, "hard_negative", row["source"], {**sample, "id": sample["sample_id"]}, rejected, question, None
            )


def _boundary(work: Work) -> Iterator[Row]:
    """The refusal over the answer where the prompt is unsafe, the answer over the refusal where it is safe."""
    if not work.spec.pairs.boundary:  # type: ignore[union-attr]
        return
    sides: dict[str, dict[str, Row]] = {}
    for row in work.reader.query(
        "SELECT c.*, i.text AS instruction FROM candidates c JOIN instructions i ON i.run_id = c.run_id "
        "AND i.instruction_id = c.instruction_id WHERE c.run_id = ? AND c.source IN (?, ?) "
        "ORDER BY c.ordinal DESC, c.source",
        [work.run_id, ANSWER, REFUSAL],
    ):
        sides.setdefault(row["instruction_id"], {})[row["source"]] = {**row, "id": row["candidate_id"]}
    for both in sides.values():
        if len(both) == 2:
            unsafe = both[ANSWER]["detail"] == "unsafe"
            chosen, rejected = (both[REFUSAL], both[ANSWER]) if unsafe else (both[ANSWER], both[REFUSAL])
            side = "unsafe" if unsafe else "safe"
            question = QUESTIONS["harmlessness" if unsafe else "helpfulness"]
            yield _draft(chosen, "boundary", side, chosen, rejected, question, None)


def _draft(
    of: Mapping[str, Any],
    source: str,
    detail: str,
    chosen: Mapping[str, Any],
    rejected: Mapping[str, Any],
    question: str,
    principle_id: str | None,
) -> Row:
    return {
        "pair_id": _name(source, chosen["id"], rejected["id"]),
        "ordinal": of["ordinal"],
        "instruction_id": of["instruction_id"],
        "instruction": of["instruction"],
        "source": source,
        "detail": detail,
        "principle_id": principle_id,
        "question": question,
        "chosen_id": chosen["id"],
        "rejected_id": rejected["id"],
        "chosen": chosen["response"],
        "rejected": rejected["response"],
        "chosen_tokens": chosen["n_tokens"],
        "rejected_tokens": rejected["n_tokens"],
    }


def _name(source: str, chosen_id: str, rejected_id: str) -> str:
    return f"p-{short_hash(source, chosen_id, rejected_id)}"
