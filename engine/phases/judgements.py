"""Judgements: every critic's margin of every instruction and every response, and the verdict that follows."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from engine.core.events import MarginMeasured, PhaseProgressed
from engine.critics import Judgement, Subject
from engine.critics.audit import Calibrated, chunk_of, judge
from engine.phases.work import Work
from engine.quality.gates import Decision, decide, verdict_row
from engine.quality.rules import response_flags

PHASES = {"instruction": "instruction_judgements", "sample": "response_judgements"}

_SUBJECTS = {
    "instruction": """
        SELECT i.instruction_id AS id, i.ordinal, i.text AS instruction, NULL AS response, NULL AS raw,
               'stop' AS stop_reason
        FROM instructions i WHERE i.run_id = $1 AND i.status = 'distinct' AND i.ordinal <= $3
    """,
    "sample": """
        SELECT s.sample_id AS id, s.ordinal, i.text AS instruction, s.response, s.raw, s.stop_reason
        FROM samples s JOIN instructions i USING (run_id, instruction_id) WHERE s.run_id = $1 AND s.ordinal <= $3
    """,
}
_VERDICTS = "(SELECT subject_id AS id, verdict FROM verdicts WHERE run_id = $1 AND subject_kind = $2)"


def judge_missing(work: Work, kind: str, critics: Sequence[Calibrated], upto: int) -> tuple[int, int]:
    """Judge what has no verdict yet; returns how many have one and how many of those are accepted.

    Both only of instructions whose ordinal is at most `upto`, and of their samples.
    """
    known = [work.run_id, kind, upto]
    counts = work.reader.query(
        "SELECT count(*) AS planned, count(verdict) AS done, count(*) FILTER (WHERE verdict = 'accepted') AS accepted "
        f"FROM ({_SUBJECTS[kind]}) LEFT JOIN {_VERDICTS} USING (id)",
        known,
    )[0]
    planned, done, accepted = int(counts["planned"]), int(counts["done"]), int(counts["accepted"])
    rows = work.reader.in_order(f"SELECT * FROM ({_SUBJECTS[kind]}) ANTI JOIN {_VERDICTS} USING (id)", known)
    for decisions in judge_and_accept(work, kind, critics, rows):
        done += len(decisions)
        accepted += sum(decision.verdict == "accepted" for decision in decisions)
        work.emit(PhaseProgressed(work.run_id, PHASES[kind], done, planned, accepted))
    work.emit(PhaseProgressed(work.run_id, PHASES[kind], done, planned, accepted))
    return done, accepted


def judge_and_accept(
    work: Work, kind: str, critics: Sequence[Calibrated], rows: Iterable[Mapping[str, Any]]
) -> Iterator[list[Decision]]:
    """Accept or reject rows with id, instruction, response, raw and stop_reason, by their flags and their scores."""
    asked: dict[str, Mapping[str, Any]] = {}  # and not decided yet
    may_filter = [c.critic.name for c in critics if c.may_filter]

    def decision(found: Sequence[Judgement]) -> Decision:
        row = asked.pop(found[0].item.key)
        flags = []
        if row["response"] is not None:
            flags = response_flags(row["instruction"], row["raw"], row["response"], row["stop_reason"], work.spec.rules)
        return decide({j.critic: j.score for j in found}, may_filter, flags, work.spec.critics)

    def items() -> Iterator[Subject]:
        for row in rows:
            asked[row["id"]] = row
            yield Subject(row["id"], row["instruction"], row["response"], row["stop_reason"])

    return judge_and_decide(work, kind, critics, items(), decision)


def judge_and_decide(
    work: Work,
    kind: str,
    critics: Sequence[Calibrated],
    items: Iterable[Subject],
    decision: Callable[[Sequence[Judgement]], Decision],
) -> Iterator[list[Decision]]:
    """Judge items and decide on each; yields the decisions of a chunk as soon as its rows are committed and told of."""
    may_filter = [c.critic.name for c in critics if c.may_filter]
    judged = judge(work.answers, critics, items)
    while chunk := list(itertools.islice(judged, chunk_of(work.answers))):
        decisions = {found[0].item.key: decision(found) for found in chunk}
        judgements = [judgement_row(work.run_id, kind, j, may_filter) for found in chunk for j in found]
        verdicts = [verdict_row(work.run_id, kind, name, decided) for name, decided in decisions.items()]
        work.store.append({"judgements": judgements, "verdicts": verdicts})
        for j in itertools.chain.from_iterable(chunk):
            verdict = decisions[j.item.key].verdict
            work.emit(MarginMeasured(work.run_id, j.critic, kind, j.item.key, j.margin_nats, j.score, verdict))
        yield list(decisions.values())


def judgement_row(run_id: str, kind: str, judgement: Judgement, may_filter: Sequence[str]) -> dict[str, Any]:
    """A judgement as a row of the table `judgements`."""
    return {
        "run_id": run_id,
        "subject_kind": kind,
        "subject_id": judgement.item.key,
        "critic": judgement.critic,
        "margin_nats": judgement.margin_nats,
        "score": judgement.score,
        "audited": judgement.critic in may_filter,
        "parts": judgement.parts,
    }
