"""Answers that are read without their condition, and the grades that come back."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bench.improving.blind import blinded, grades_of, outcomes_of

Row = dict[str, Any]


def answer(seed: int | None, condition: str, instruction: str, text: str) -> Row:
    return {
        "seed": seed, "condition": condition, "instruction_id": f"i-{instruction}", "instruction": instruction,
        "answer": text,
    }  # fmt: skip


ANSWERS = [
    answer(None, "base", "Name a fish.", "A cod."),
    answer(1, "rules", "Name a fish.", "A fish."),
    answer(1, "critic", "Name a fish.", "A cod."),
    answer(2, "rules", "Name a fish.", "Fish fish."),
    answer(2, "critic", "Name a fish.", "A pike."),
]


def name_of(text: str) -> str:
    shown, _ = blinded(ANSWERS)
    (found,) = [row["id"] for row in shown if row["answer"] == text]
    return found


def test_what_is_read_tells_neither_condition_nor_seed() -> None:
    shown, key = blinded(ANSWERS)
    assert all(row.keys() == {"id", "instruction", "answer"} for row in shown)
    written = json.dumps(shown)
    assert not any(name in written for name in ("rules", "critic", "base", "seed", "i-Name"))
    assert key.keys() == {row["id"] for row in shown}


def test_the_order_is_that_of_the_texts_hashes_whatever_order_the_conditions_answered_in() -> None:
    assert blinded(ANSWERS)[0] == blinded(ANSWERS[::-1])[0]
    others = [answer(1, "rules" if at % 2 else "critic", f"Task {at // 2}.", f"Answer {at}.") for at in range(200)]
    shown, key = blinded(others)
    first = [key[row["id"]][0]["condition"] for row in shown[:100]]
    assert 30 < first.count("rules") < 70


def test_a_text_that_two_conditions_gave_is_read_once_and_counts_for_both() -> None:
    shown, key = blinded(ANSWERS)
    assert len(shown) == 4
    assert [place["condition"] for place in key[name_of("A cod.")]] == ["base", "critic"]


def test_the_same_answer_to_another_instruction_is_another_one() -> None:
    shown, _ = blinded([answer(1, "rules", "Name a fish.", "Yes."), answer(1, "rules", "Name a tree.", "Yes.")])
    assert len({row["id"] for row in shown}) == 2


def test_outcomes_stand_by_seed_and_condition_and_the_base_beside_each_seed() -> None:
    _, key = blinded(ANSWERS)
    grades = {name_of("A cod."): "good", name_of("A fish."): "pass", name_of("A pike."): "bad"}
    good = outcomes_of(key, grades, [1, 2], "good")
    either = outcomes_of(key, grades, [1, 2], "good or passable")
    fish = "i-Name a fish."
    assert good == {
        (1, "base"): {fish: True}, (2, "base"): {fish: True}, (1, "critic"): {fish: True},
        (1, "rules"): {fish: False}, (2, "critic"): {fish: False},
    }  # fmt: skip
    assert either[1, "rules"] == {fish: True}
    assert (2, "rules") not in either  # nobody has read it


def lines(*rows: Row) -> list[str]:
    return [json.dumps(row) for row in rows]


def test_grades_are_taken_line_by_line_and_more_fields_do_no_harm() -> None:
    found = grades_of([*lines({"id": "a", "grade": "good", "why": "right"}, {"id": "b", "grade": "bad"}), ""], "ab")
    assert found == {"a": "good", "b": "bad"}


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        ([{"id": "c", "grade": "good"}], "no answer of this folder"),
        ([{"id": "a", "grade": "fine"}], "there are good, pass, bad"),
        ([{"id": "a"}], "no object with id and grade"),
        ([["a", "good"]], "no object with id and grade"),
        ([{"id": "a", "grade": "good"}, {"id": "a", "grade": "bad"}], "an earlier line as good"),
    ],
)
def test_a_line_that_cannot_count_is_refused(bad: list[Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        grades_of([json.dumps(row) for row in bad], "ab")


def test_a_line_that_is_no_json_is_refused() -> None:
    with pytest.raises(ValueError, match="line 1 is no object"):
        grades_of(["a,good"], "ab")
