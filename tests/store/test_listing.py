"""Samples chosen, sorted and paged through: on the small run, whose rows are known."""

from __future__ import annotations

from typing import Any

import pytest
import rows

from store import Choice, Reader, Store, StoreError


@pytest.fixture
def reader(small_store: Store) -> Reader:
    # A second run with the same ids, which no listing of the first may show.
    other = rows.small_run("run-b")
    small_store.append({name: other[name] for name in ("runs", "instructions", "samples", "judgements", "verdicts")})
    return small_store.reader()


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ({}, ["s1", "s2", "s3", "s4"]),
        ({"descending": True}, ["s4", "s3", "s2", "s1"]),
        ({"verdict": "accepted"}, ["s1", "s2"]),
        ({"flag": "runaway"}, ["s3"]),
        ({"split": "train"}, ["s1", "s4"]),
        ({"text": "ANSWER 2"}, ["s2"]),
        ({"text": "100%"}, []),
        ({"critic": "label", "order": "score"}, ["s2", "s1", "s3", "s4"]),
        ({"critic": "label", "order": "score", "descending": True}, ["s1", "s2", "s3", "s4"]),
        ({"critic": "label", "lowest": -1.0, "highest": 0.0}, ["s2"]),
        ({"where": "verdict = 'rejected' OR split = 'test'"}, ["s2", "s3"]),
        ({"where": "score > 1 -- a comment", "critic": "label"}, ["s1"]),
        ({"where": "verdict IS NULL", "order": "instruction"}, ["s4"]),
    ],
)
def test_a_choice_gives_its_samples_in_order(reader: Reader, choice: dict[str, Any], expected: list[str]) -> None:
    listing = reader.listing("run-a", Choice(**choice))
    assert len(listing) == len(expected)
    assert [row["sample_id"] for row in listing.page(0, 10)] == expected


def test_pages_are_rows_as_samples_gives_them(reader: Reader) -> None:
    listing = reader.listing("run-a", Choice())
    plain = reader.samples("run-a")
    assert listing.page(0, 3) + listing.page(3, 3) == plain
    assert listing.page(4, 3) == []
    assert plain[0]["scores"] == {"label": 1.25, "rules": 1.0}


@pytest.mark.parametrize("where", ["no_such_column = 1", "1 = 1) (", "1 = 1); DELETE FROM samples; SELECT (1"])
def test_a_wrong_condition_is_refused_and_harms_nothing(reader: Reader, where: str) -> None:
    with pytest.raises(StoreError):
        reader.listing("run-a", Choice(where=where))
    assert len(reader.samples("run-a")) == 4


def test_sorting_by_what_is_no_column_is_refused(reader: Reader) -> None:
    with pytest.raises(StoreError, match="no column"):
        reader.listing("run-a", Choice(order="ordinal; DROP TABLE samples"))
