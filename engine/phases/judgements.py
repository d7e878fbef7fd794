"""Judgements: every critic's margin of every instruction and every response, and the verdict that follows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from engine.acceptance import decide, verdict_row
from engine.critics import Item
from engine.critics.audit import CHUNK, Calibrated, judge
from engine.events import MarginMeasured, PhaseProgressed
from engine.phases import Work, judgement_row
from engine.rules import response_flags

PHASES = {"instruction": "instruction_judgements", "sample": "response_judgements"}

_SUBJECTS = {
    "instruction": """
        SELECT i.instruction_id AS id, i.ordinal, i.text AS instruction, NULL AS response, NULL AS raw,
               'stop' AS stop_reason
        FROM instructions i WHERE i.run_id = ? AND i.status = 'distinct'
    """,
    "sample": """
        SELECT s.sample_id AS id, s.ordinal, i.text AS instruction, s.response, s.raw, s.stop_reason
        FROM samples s JOIN instructions i USING (run_id, instruction_id) WHERE s.run_id = ?
    """,
}
_COUNTS = """
    SELECT count(*) AS done, count(*) FILTER (WHERE verdict = 'accepted') AS accepted
    FROM verdicts WHERE run_id = ? AND subject_kind = ?
"""


def subjects(work: Work, kind: str, missing_only: bool = True) -> list[dict[str, Any]]:
    """Instructions or samples in their order, those without a verdict or all."""
    anti = (
        "ANTI JOIN (SELECT subject_id AS id FROM verdicts WHERE run_id = ? AND subject_kind = ?) USING (id)"
        if missing_only
        else ""
    )
    parameters = [work.run_id, *([work.run_id, kind] if missing_only else [])]
    return work.reader.query(f"SELECT * FROM ({_SUBJECTS[kind]}) {anti} ORDER BY ordinal", parameters)


def judge_missing(work: Work, kind: str, critics: Sequence[Calibrated]) -> tuple[int, int]:
    """Judge what has no verdict yet; returns how many have one and how many of those are accepted."""
    rows = subjects(work, kind)
    by_id = {row["id"]: row for row in rows}
    counts = work.reader.query(_COUNTS, [work.run_id, kind])[0]
    done, accepted = int(counts["done"]), int(counts["accepted"])
    planned = done + len(rows)
    may_filter = [c.critic.name for c in critics if c.may_filter]
    judgements: list[dict[str, Any]] = []
    verdicts: list[dict[str, Any]] = []
    events: list[MarginMeasured] = []

    def commit() -> None:
        work.store.append({"judgements": judgements, "verdicts": verdicts})
        for event in events:
            work.emit(event)
        work.emit(PhaseProgressed(work.run_id, PHASES[kind], done, planned, accepted))
        for held in (judgements, verdicts, events):
            held.clear()

    for found in judge(work.answers, critics, [_item(row) for row in rows]):
        item = found[0].item
        row = by_id[item.key]
        flags = []
        if kind == "sample":
            flags = response_flags(row["instruction"], row["raw"], row["response"], row["stop_reason"], work.spec.rules)
        decision = decide({j.critic: j.score for j in found}, may_filter, flags, work.spec.critics)
        judgements += [judgement_row(work.run_id, kind, judgement, may_filter) for judgement in found]
        verdicts.append(verdict_row(work.run_id, kind, item.key, decision))
        events += [
            MarginMeasured(work.run_id, j.critic, kind, item.key, j.margin_nats, j.score, decision.verdict)
            for j in found
        ]
        done += 1
        accepted += decision.verdict == "accepted"
        if len(verdicts) >= CHUNK:
            commit()
    commit()
    return done, accepted


def _item(row: dict[str, Any]) -> Item:
    return Item(row["id"], row["instruction"], row["response"], row["stop_reason"])
