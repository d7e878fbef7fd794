"""What a judge of pairs left, as rows."""

from __future__ import annotations

from typing import Any

from tests.store.rows import T0, Row


def judge_result(
    question: str = "helpful",
    after: str = "sft",
    before: str = "base_formatted",
    *,
    run_id: str = "run-a",
    **fields: Any,
) -> Row:
    """96 pairs, of which the later answer wins 51 and ties 20, by a judge that likes length."""
    row: Row = {
        "run_id": run_id, "judge": "a-judge", "local": False, "question": question, "before": before, "after": after,
        "n": 96, "clusters": 80, "wins": 51, "ties": 20, "losses": 25, "turned": 12, "unreadable": 1,
        "win_rate": 61 / 96, "lo": 0.55, "hi": 0.72, "p": 0.0031, "q": 0.0062, "lc_win_rate": 0.58, "lc_lo": 0.49,
        "lc_hi": 0.66, "lc_log_odds": 0.3228, "lc_p": 0.081, "lc_q": 0.12, "length_slope": 0.9, "length_mean": 41.5,
        "person_n": 0, "person_agrees": 0, "person_alike": 0, "at": T0,
    }  # fmt: skip
    return row | fields


def judged(run_id: str = "run-a", **fields: Any) -> list[Row]:
    """Both questions of SFT against the base, the second one of items that ask for harm."""
    harmless = {"n": 48, "wins": 30, "ties": 9, "losses": 9, "win_rate": 0.71875, "lo": 0.6, "hi": 0.83}
    return [
        judge_result(run_id=run_id, **fields),
        judge_result("harmless", run_id=run_id, **harmless | fields),
    ]
