"""What was read with three grades: its keys, its counts, and that answers are to good instructions."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.engine.core.test_data import rows

READ = {
    "read_instructions": ({"id", "seeds", "text", "label", "note"}, {"good": 285, "bad": 235}),
    "read_pairs": (
        {"id", "seeds", "instruction", "response", "stop_reason", "label", "grade", "note"},
        {"good": 125, "bad": 1251},
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
        assert Counter(row["grade"] for row in data) == {"good": 125, "pass": 264, "bad": 987}
        assert all((row["grade"] == "good") == (row["label"] == "good") for row in data)
        good = {row["text"] for row in rows("read_instructions") if row["label"] == "good"}
        assert {row["instruction"] for row in data} <= good
