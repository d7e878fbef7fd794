"""What was read with three grades: its keys, its counts, and that answers are to good instructions."""

from __future__ import annotations

from collections import Counter

import pytest

from engine.critics.probed import SAME_AT
from engine.stats.similarity import NearDuplicateIndex
from tests.engine.core.test_data import rows

READ = {
    "read_instructions": ({"id", "seeds", "text", "label", "note"}, {"good": 1136, "bad": 915}),
    "read_pairs": (
        {"id", "seeds", "instruction", "response", "stop_reason", "label", "grade", "note"},
        {"good": 517, "bad": 4063},
    ),
}


@pytest.mark.parametrize("name", READ)
def test_rows_that_were_read_with_three_grades_say_so(name: str) -> None:
    keys, counts = READ[name]
    data = rows(name)
    assert all(set(row) == keys for row in data) and Counter(row["label"] for row in data) == counts
    assert {row["seeds"] for row in data} == {"varied", "simple"}
    assert len({row["id"] for row in data}) == len(data)
    if name == "read_pairs":
        assert Counter(row["grade"] for row in data) == {"good": 517, "pass": 812, "bad": 3251}
        assert all((row["grade"] == "good") == (row["label"] == "good") for row in data)
        good = {row["text"] for row in rows("read_instructions") if row["label"] == "good"}
        assert all((row["instruction"] in good) != row["note"].startswith("its instruction is bad") for row in data)


def test_two_responses_of_a_model_are_compared_as_each_was_graded_alone() -> None:
    graded = {row["id"]: row for row in rows("read_pairs")}
    data = rows("own_comparisons")
    assert len({row["id"] for row in data}) == len(data) == 527
    assert Counter(row["label"] for row in data) == {"good": 260, "bad": 267}
    for row in data:
        response, rival = (graded[name] for name in row["of"])
        assert (row["response"], row["rival"]) == (response["response"], rival["response"])
        assert {response["instruction"], rival["instruction"]} == {row["instruction"]}
        wanted = ("good", "bad") if row["label"] == "good" else ("bad", "good")
        assert (response["grade"], rival["grade"]) == wanted and row["category"] == "helpfulness"


FRESH = {
    "fresh_instructions": ("own_instructions", "read_instructions", "calibration_instructions", "anchors_instructions"),
    "fresh_pairs": ("own_pairs", "read_pairs", "calibration_pairs", "anchors_pairs"),
    "fresh_comparisons": ("own_comparisons", "calibration_comparisons", "anchors_comparisons"),
}


@pytest.mark.parametrize("name", FRESH)
def test_fresh_candidates_are_near_nothing_that_a_probe_is_fitted_on(name: str) -> None:
    data = rows(name)
    assert len(data) >= (40 if name == "fresh_comparisons" else 200) and len({row["id"] for row in data}) == len(data)
    assert min(Counter(row["label"] for row in data).values()) >= 15
    known = NearDuplicateIndex(SAME_AT)
    for number, row in enumerate(row for of in FRESH[name] for row in rows(of)):
        known.add(str(number), row.get("instruction") or row["text"])
    assert [row["id"] for row in data if known.nearest(row.get("instruction") or row["text"])] == []
