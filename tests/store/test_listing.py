"""Samples chosen, sorted and paged through: on the small run, whose rows are known."""

from __future__ import annotations

from typing import Any

import pytest

from store.db import Store
from store.errors import StoreError
from store.listing import Selection
from store.read import Reader
from tests.store import rows


@pytest.fixture
def reader(small_store: Store) -> Reader:
    # A second run with the same ids, which no listing of the first may show.
    other = rows.small_run("run-b")
    small_store.append({name: other[name] for name in ("runs", "instructions", "samples", "judgements", "verdicts")})
    labels = [{"run_id": "run-a", "subject_kind": "sample", "reader": "ana", "note": "", "at": rows.T0} | label for label in (
        {"subject_id": "s1", "label": "good"}, {"subject_id": "s4", "label": "bad"})]  # fmt: skip
    small_store.append({"person_labels": [*labels, labels[0] | {"run_id": "run-b", "label": "bad"}]})
    return small_store.reader()


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ({}, ["s1", "s2", "s3", "s4"]),
        ({"descending": True}, ["s4", "s3", "s2", "s1"]),
        ({"verdict": "accepted"}, ["s1", "s2"]),
        ({"flag": "runaway"}, ["s3"]),
        ({"flagged": True}, ["s3"]),
        ({"label": "any"}, ["s1", "s4"]),
        ({"label": "bad"}, ["s4"]),
        ({"where": "person = 'good'"}, ["s1"]),
        ({"where": "len(flags) = 0 AND n_tokens BETWEEN 1 AND 9"}, ["s1", "s2"]),
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
    listing = reader.listing("run-a", Selection(**choice))
    assert len(listing) == len(expected)
    assert [row["sample_id"] for row in reader.page(listing, 0, 10)] == expected
    assert [listing.position(name) for name in expected] == list(range(len(expected)))


def test_pages_are_rows_as_samples_gives_them(reader: Reader) -> None:
    listing = reader.listing("run-a", Selection())
    plain = reader.samples("run-a")
    pages = reader.page(listing, 0, 3) + reader.page(listing, 3, 3)
    assert [{k: v for k, v in row.items() if k != "person"} for row in pages] == plain
    assert reader.page(listing, 4, 3) == [] and listing.position("nobody") is None
    assert plain[0]["scores"] == {"label": 1.25, "rules": 1.0}


def test_a_listing_outlives_its_reader_and_what_came_later_is_not_in_it(reader: Reader, small_store: Store) -> None:
    listing = reader.listing("run-a", Selection())
    reader.close()
    later = small_store.reader()
    small_store.append({"samples": [rows.sample("s0", "i1", ordinal=0)]})
    assert [row["sample_id"] for row in later.page(listing, 0, 10)] == ["s1", "s2", "s3", "s4"]
    assert len(later.listing("run-a", Selection())) == 5


def test_an_unknown_column_is_named_with_the_nearest(reader: Reader) -> None:
    with pytest.raises(StoreError, match="no column 'verdit'") as caught:
        reader.listing("run-a", Selection(where="verdit = 'accepted'"))
    assert "'verdict'" in caught.value.hint


@pytest.mark.parametrize("where", [
    "n_tokens > (SELECT 1)", "EXISTS (FROM read_text('/etc/passwd'))", "ordinal IN (SELECT n FROM range(3) t(n))",
    "true) ORDER BY (1", "true) UNION ALL SELECT ('x'", "$1 = 1",
])  # fmt: skip
def test_only_a_condition_on_the_sample_itself_is_taken(reader: Reader, where: str) -> None:
    with pytest.raises(StoreError):
        reader.listing("run-a", Selection(where=where))


@pytest.mark.parametrize("where", ["no_such_column = 1", "1 = 1) (", "1 = 1); DELETE FROM samples; SELECT (1"])
def test_a_wrong_condition_is_refused_and_harms_nothing(reader: Reader, where: str) -> None:
    with pytest.raises(StoreError):
        reader.listing("run-a", Selection(where=where))
    assert len(reader.samples("run-a")) == 4


def test_sorting_by_what_is_no_column_is_refused(reader: Reader) -> None:
    with pytest.raises(StoreError, match="no column"):
        reader.listing("run-a", Selection(order="ordinal; DROP TABLE samples"))
