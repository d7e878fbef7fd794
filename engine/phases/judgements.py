"""Judgements: every critic's margin of every instruction and every response, and the verdict that follows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

from engine.core.events import MarginMeasured
from engine.critics import Judgement, Subject
from engine.critics.audit import Calibrated, Hearing, chunk_of
from engine.models.answers import Answered
from engine.models.requests import LabelScores, Scored
from engine.phases.flow import Lane, Row, Tally
from engine.phases.work import Work
from engine.quality.gates import Decision, decide, verdict_row
from engine.quality.rules import response_flags

_SUBJECTS = {
    "instruction": """
        SELECT i.instruction_id AS id, i.ordinal, i.text AS instruction, NULL AS response, NULL AS raw,
               'stop' AS stop_reason
        FROM instructions i WHERE i.run_id = $1 AND i.status = 'distinct' AND i.ordinal > $4 AND i.ordinal <= $3
    """,
    "sample": """
        SELECT s.sample_id AS id, s.ordinal, i.text AS instruction, s.response, s.raw, s.stop_reason
        FROM samples s JOIN instructions i USING (run_id, instruction_id)
        WHERE s.run_id = $1 AND s.ordinal > $4 AND s.ordinal <= $3
    """,
}
_VERDICTS = "(SELECT subject_id AS id, verdict FROM verdicts WHERE run_id = $1 AND subject_kind = $2)"


def missing(work: Work, kind: str, tally: Tally, after: int, upto: int) -> Iterator[dict[str, Any]]:
    """What has no verdict yet, of instructions in ordinals (after, upto] or of their samples.

    Those that have one are counted.
    """
    known = [work.run_id, kind, upto, after]
    counts = work.reader.query(
        "SELECT count(*) AS planned, count(verdict) AS done, count(*) FILTER (WHERE verdict = 'accepted') AS accepted "
        f"FROM ({_SUBJECTS[kind]}) LEFT JOIN {_VERDICTS} USING (id)",
        known,
    )[0]
    tally.done += int(counts["done"])
    tally.accepted = (tally.accepted or 0) + int(counts["accepted"])
    return work.reader.in_order(f"SELECT * FROM ({_SUBJECTS[kind]}) ANTI JOIN {_VERDICTS} USING (id)", known)


def accepting(
    work: Work,
    kind: str,
    critics: Sequence[Calibrated],
    tally: Tally,
    then: Callable[[list[tuple[Row, Decision]]], None],
) -> Lane:
    """A lane that accepts or rejects rows with id, instruction, response, raw and stop_reason, by flags and scores."""
    may_filter = [c.critic.name for c in critics if c.may_filter]

    def subject(row: Row) -> Subject:
        return Subject(row["id"], row["instruction"], row["response"], row["stop_reason"])

    def decision(row: Row, found: Sequence[Judgement]) -> Decision:
        flags = []
        if row["response"] is not None:
            flags = response_flags(row["instruction"], row["raw"], row["response"], row["stop_reason"], work.spec.rules)
        return decide({j.critic: j.score for j in found}, may_filter, flags, work.spec.critics)

    return deciding(work, kind, critics, tally, subject, decision, then)


def deciding(
    work: Work,
    kind: str,
    critics: Sequence[Calibrated],
    tally: Tally,
    subject: Callable[[Row], Subject],
    decision: Callable[[Row, Sequence[Judgement]], Decision],
    then: Callable[[list[tuple[Row, Decision]]], None],
) -> Lane:
    """A lane that judges rows and decides on each; `then` is given what was decided, its rows being committed."""
    may_filter = [c.critic.name for c in critics if c.may_filter]
    hearing = Hearing(critics)
    asked: dict[str, Row] = {}  # and not decided yet

    def ask(rows: list[Row]) -> list[Scored]:
        asked.update({row["id"]: row for row in rows})
        requests, whole = hearing.ask(map(subject, rows))
        settle(whole)
        return requests

    def told(batch: Sequence[Answered]) -> None:
        settle([found for key, scores in batch for found in hearing.told(key, cast(LabelScores, scores))])

    def settle(whole: Sequence[list[Judgement]]) -> None:
        if not whole:
            return
        decided = []
        for found in whole:
            row = asked.pop(found[0].item.key)
            decided.append((row, decision(row, found)))
        judgements = [judgement_row(work.run_id, kind, j, may_filter) for found in whole for j in found]
        verdicts = [verdict_row(work.run_id, kind, row["id"], one) for row, one in decided]
        work.store.append({"judgements": judgements, "verdicts": verdicts})
        for found, (_, one) in zip(whole, decided, strict=True):
            for j in found:
                about = (j.critic, kind, j.item.key, j.margin_nats, j.score, one.verdict)
                work.emit(MarginMeasured(work.run_id, *about))
        then(decided)

    return Lane(tally, ask, told, writes=False, size=chunk_of(work.answers), key="id")


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
