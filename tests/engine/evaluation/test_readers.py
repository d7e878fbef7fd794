"""Readers of answers: how far they agree, what counts of what they say, and when the scorer counts as read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest

from engine.evaluation.needs.readers import labels_of, person, readers, word
from engine.evaluation.scorer_audit import blocked, broken
from store.outcomes import READ_BY_TWO, unread
from tests.engine.evaluation.test_scorer_audit import SPEC, answered
from tests.store.rows import T0

Row = dict[str, Any]
BASE = answered("base_raw", ["yes"] * 12 + ["no"] * 12)


def said(answer: Mapping[str, Any], by: str, label: str, **fields: Any) -> Row:
    subject = f"{answer['condition']}/{answer['item_id']}"
    return {"subject_kind": "evaluation_answer", "subject_id": subject, "reader": by, "label": label, **fields}


def read(by: str, good: int, bad: int, at: int = 0) -> list[Row]:
    """So many answers from a place on called good, then so many bad."""
    return [said(one, by, "good" if n < good else "bad") for n, one in enumerate(BASE[at : at + good + bad])]


def test_two_readers_are_compared_on_what_both_read() -> None:
    (row,) = readers([*read("ana", 8, 8), *read("ben", 7, 9), said(BASE[20], "ana", "good")], BASE, SPEC)
    assert (row["part"], row["n"], row["op"], row["passed"]) == ("readers", 16, ">=", True)
    assert row["measured"] == pytest.approx(0.875) and row["lo"] < 0.875 <= row["hi"]
    assert row["detail"]["readers"] == {"ana": 17, "ben": 16} and row["detail"]["statistic"] == "Cohen's kappa"
    assert row["detail"]["differ"] == [f"base_raw/{BASE[7]['item_id']}"]
    assert unread([row], row["capability"]) == ""
    (row,) = readers([*read("ana", 8, 8), *read("ben", 8, 8), *read("eve", 8, 2)], BASE, SPEC)
    assert row["detail"]["statistic"] == "Krippendorff's alpha" and row["measured"] == 1.0


def test_readers_who_disagree_let_nothing_registered_be_tested_but_break_no_verdict() -> None:
    (row,) = readers([*read("ana", 8, 8), *read("ben", 8, 8, 4)], BASE, SPEC)
    assert row["n"] == 12 and row["passed"] is False
    assert blocked([row]) == ["readers all (instruction_following)"] and broken([row]) == []


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ([], "not read: nobody"),
        ([said(one, "", "good") for one in BASE], "not read: nobody"),  # nobody knows whose
        (read("ana", 8, 8), "only ana has judged"),
        ([*read("ana", 8, 8), *read("ben", 4, 4, 16)], "only 0 answers were judged by two"),
        ([*read("ana", 5, 4), *read("ben", 5, 4)], f"only 9 answers were judged by two persons, {READ_BY_TWO} are"),
        ([*read("ana", 8, 8), *(said(one, "ben", "unsure") for one in BASE)], "only ana has judged"),
    ],
)
def test_a_scorer_that_fewer_than_two_read_is_not_read(labels: list[Row], words: str) -> None:
    (row,) = readers(labels, BASE, SPEC)
    assert row["passed"] is None and words in unread([row], "instruction_following")
    assert words in unread([row | {"detail": json.dumps(row["detail"])}], "instruction_following")
    assert "not read: nobody" in unread([row], "conversation")


def test_what_readers_say_together_stands_for_a_person() -> None:
    """Where they differ nothing is said, and a label without a name gives way to one with a name."""
    at = [answer | {"at": T0} for answer in BASE[:4]]
    older, newer = T0 - timedelta(hours=1), T0 + timedelta(hours=1)
    labels = [
        said(at[0], "ana", "good", at=newer), said(at[0], "ben", "good", at=newer),
        said(at[1], "ana", "good", at=newer), said(at[1], "ben", "bad", at=newer),
        said(at[2], "", "bad", at=newer), said(at[2], "ana", "good", at=newer),
        said(at[3], "ana", "good", at=older),  # of an answer that stood there before
    ]  # fmt: skip
    found = labels_of(labels, at)
    assert [word(found.get(f"base_raw/{one['item_id']}", {})) for one in at] == ["good", "unsure", "good", "unsure"]
    (told,) = person(labels, at, SPEC)
    assert told["n"] == 2 and told["detail"]["differ"] == []
