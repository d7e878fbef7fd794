"""Several drafts of a response: which one becomes the sample, what stays of the others, and that no call is lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine.phases.responses import best_of
from engine.quality.rules import BLOCKING, response_flags
from engine.run.engine import Engine
from engine.spec.stage import load_spec
from engine.stats.similarity import token_f1
from tests.engine.fakes import FakeModel, data_rows, run_engine, stopped_after

pytestmark = pytest.mark.integration

RULES = load_spec("stage_1_small_model").settings.rules
SETTINGS = {
    "critics.instruction": "[grade]", "critics.sample": "[grade]", "critics.shuffles": "1", "critics.audit_items": "8",
    "instructions.round": "4", "responses.drafts": "3",
}  # fmt: skip
OPTIONS: dict[str, Any] = {"pilot": 6, "overrides": SETTINGS}


def draft(number: int, response: str, stop: str = "stop") -> dict[str, Any]:
    return {
        "id": f"s-{number}", "number": number, "instruction": "Name an animal.", "raw": f" {response}",
        "response": response, "stop_reason": stop,
    }  # fmt: skip


def test_the_draft_with_the_highest_score_is_kept_among_those_that_no_rule_blocks() -> None:
    drafts = [draft(1, "A cat."), draft(2, "A dog and a dog and", "length"), draft(3, "A cow.")]
    assert best_of(drafts, {"s-1": 0.1, "s-2": 9.0, "s-3": 0.2}, RULES)["number"] == 3
    assert best_of(drafts[1:2], {"s-2": 9.0}, RULES)["number"] == 2  # there is no other
    assert best_of(drafts, {"s-1": 0.5, "s-2": 9.0, "s-3": 0.5}, RULES)["number"] == 1  # the first of equals


def test_without_an_audited_critic_the_medoid_is_kept() -> None:
    drafts = [draft(1, "Rain falls."), draft(2, "A cat is an animal."), draft(3, "A dog is an animal.")]
    assert best_of(drafts, {}, RULES)["number"] == 2
    assert best_of([drafts[0], draft(4, "A cat is an", "length"), drafts[2]], {}, RULES)["number"] == 1


def test_token_f1_is_symmetric_and_counts_words_as_often_as_they_stand() -> None:
    assert token_f1("a b b", "b b c") == token_f1("b b c", "a b b") == pytest.approx(2 / 3)
    assert token_f1("A, b!", "b a") == 1 and token_f1("a", "b") == token_f1("", "") == 0


def test_one_sample_an_instruction_and_the_other_drafts_as_its_candidates(tmp_path: Path, monkeypatch: Any) -> None:
    opened = run_engine(tmp_path / "a.duckdb", monkeypatch, FakeModel(), **OPTIONS)
    assert opened.outcome is not None and opened.outcome.state == "done", opened.error
    samples, candidates = data_rows(opened)["samples"], candidates_of(opened)
    names = [row["instruction_id"] for row in samples]
    assert len(set(names)) == len(names) and len(candidates) == 2 * len(samples)
    assert {(row["source"], row["number"]) for row in candidates} == {("best_of", 2), ("best_of", 3)}
    by_id = {row["sample_id"]: row for row in samples}
    assert all(by_id[row["sample_id"]]["instruction_id"] == row["instruction_id"] for row in candidates)
    calls = [row["request_id"] for row in [*samples, *candidates]]
    assert len(set(calls)) == len(calls)
    others: dict[str, list[dict[str, Any]]] = {}
    for row in candidates:
        others.setdefault(row["sample_id"], []).append(row)
    for row in samples:  # none that a rule blocks stands where there was another
        if blocked(row):
            assert all(blocked(other) for other in others[row["sample_id"]])
    assert any(blocked(row) for row in candidates)
    opened.close()


@pytest.mark.parametrize("stop_after", [14, 25, 40])
def test_a_run_that_was_stopped_among_drafts_keeps_the_same_ones(
    tmp_path: Path, monkeypatch: Any, stop_after: int
) -> None:
    whole = run_engine(tmp_path / "whole.duckdb", monkeypatch, FakeModel(), **OPTIONS)
    wanted = data_rows(whole), candidates_of(whole)
    whole.close()
    first, run_id = stopped_after(stop_after, tmp_path / "cut.duckdb", monkeypatch, **OPTIONS)
    second = FakeModel()
    resumed = run_engine(tmp_path / "cut.duckdb", monkeypatch, second, resume=run_id)
    assert (data_rows(resumed), candidates_of(resumed)) == wanted
    assert not set(first.generated) & set(second.generated)
    resumed.close()


def candidates_of(opened: Engine) -> list[dict[str, Any]]:
    with opened.store.reader() as reader:
        return reader.query(
            "SELECT c.* EXCLUDE (run_id), i.text AS instruction FROM candidates c "
            "JOIN instructions i ON i.run_id = c.run_id AND i.instruction_id = c.instruction_id "
            "WHERE c.run_id = ? ORDER BY ordinal, number",
            [opened.run_id],
        )


def blocked(row: dict[str, Any]) -> bool:
    return bool(BLOCKING & set(response_flags("", row["raw"], row["response"], row["stop_reason"], RULES)))
