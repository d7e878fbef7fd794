"""The shipped data: complete, balanced, disjoint between files, and free of length as a cue."""

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from engine.similarity import rouge_l, words

DATA = Path(__file__).parents[2] / "engine" / "data"
ROWS = {
    "seeds": 96,
    "response_examples": 12,
    "grade_instructions": 16,
    "grade_pairs": 16,
    "anchors_instructions": 40,
    "anchors_pairs": 40,
    "calibration_instructions": 110,
    "calibration_pairs": 110,
}
KEYS = {
    "seeds": {"id", "topic", "text"},
    "response_examples": {"id", "instruction", "response"},
    "grade_instructions": {"id", "text", "label"},
    "grade_pairs": {"id", "instruction", "response", "label"},
    "anchors_instructions": {"id", "text", "label", "corruption"},
    "anchors_pairs": {"id", "instruction", "response", "label", "corruption"},
    "calibration_instructions": {"id", "text", "label", "defect"},
    "calibration_pairs": {"id", "instruction", "response", "label", "defect"},
}
LABELLED = [name for name, keys in KEYS.items() if "label" in keys]
DEFECTS = {
    "calibration_instructions": {
        "nonsense", "missing_context", "truncated", "repetitive", "meta", "not_an_instruction", "marker_leak",
        "contradictory", "merged",
    },
    "calibration_pairs": {
        "off_topic", "wrong_fact", "truncated", "repetitive", "marker_leak", "echo", "nonsense",
        "talks_about_response", "incomplete_list",
    },
}  # fmt: skip
CORRUPTIONS = {
    "anchors_instructions": {"shuffled", "truncated", "boilerplate", "missing_context"},
    "anchors_pairs": {"swapped", "truncated", "looped", "shuffled", "echo"},
}

Row = dict[str, Any]


def rows(name: str) -> list[Row]:
    return [json.loads(line) for line in (DATA / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]


def instruction(row: Row) -> str:
    return str(row["text"] if "text" in row else row["instruction"])


def fold(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.casefold()))


def length_auc(good: list[int], bad: list[int]) -> float:
    """Mann-Whitney: the chance that a good row is longer than a bad one, ties counting one half."""
    wins = sum((g > b) + 0.5 * (g == b) for g in good for b in bad)
    return wins / (len(good) * len(bad))


@pytest.mark.parametrize("name", ROWS)
def test_each_file_has_its_rows_and_keys(name: str) -> None:
    data = rows(name)
    assert len(data) == ROWS[name]
    assert all(set(row) == KEYS[name] for row in data)


@pytest.mark.parametrize("name", ROWS)
def test_every_field_is_one_clean_line(name: str) -> None:
    for row in rows(name):
        for value in row.values():
            if value is not None:
                assert value and value == value.strip(), row["id"]
                assert len(value.splitlines()) == 1 and value.isprintable(), row["id"]


def test_ids_are_unique_over_all_files() -> None:
    counts = Counter(row["id"] for name in ROWS for row in rows(name))
    assert [key for key, n in counts.items() if n > 1] == []


@pytest.mark.parametrize("name", LABELLED)
def test_labels_are_balanced(name: str) -> None:
    assert Counter(row["label"] for row in rows(name)) == {"good": ROWS[name] // 2, "bad": ROWS[name] // 2}


def test_no_instruction_is_in_two_files() -> None:
    homes: dict[str, set[str]] = {}
    for name in ROWS:
        for row in rows(name):
            homes.setdefault(fold(instruction(row)), set()).add(name)
    assert {text: names for text, names in homes.items() if len(names) > 1} == {}


@pytest.mark.parametrize("name", [name for name in ROWS if name != "anchors_pairs"])
def test_no_instruction_is_twice_in_a_file(name: str) -> None:
    counts = Counter(fold(instruction(row)) for row in rows(name))
    assert [text for text, n in counts.items() if n > 1] == []


def test_pair_anchors_answer_each_instruction_once_well_and_once_badly() -> None:
    data = rows("anchors_pairs")
    by_label = {label: [row for row in data if row["label"] == label] for label in ("good", "bad")}
    assert sorted(map(instruction, by_label["good"])) == sorted(map(instruction, by_label["bad"]))
    good_responses = {row["response"] for row in by_label["good"]}
    assert all((row["response"] in good_responses) == (row["corruption"] == "swapped") for row in by_label["bad"])


def test_seeds_cover_the_topics_in_five_to_twenty_two_words() -> None:
    seeds = rows("seeds")
    topics = Counter(row["topic"] for row in seeds)
    assert len(topics) == 16 and set(topics.values()) == {6}
    assert all(5 <= len(row["text"].split()) <= 22 for row in seeds)
    assert max(Counter(row["text"].split()[0] for row in seeds).values()) <= 10


def test_response_examples_are_concise_and_hold_one_refusal() -> None:
    examples = rows("response_examples")
    assert all(8 <= len(row["response"].split()) <= 45 for row in examples)
    assert sum("can't help" in row["response"] for row in examples) == 1


@pytest.mark.parametrize("name", DEFECTS)
def test_defects_are_spread_and_only_on_bad_rows(name: str) -> None:
    data = rows(name)
    assert all((row["defect"] is None) == (row["label"] == "good") for row in data)
    counts = Counter(row["defect"] for row in data if row["defect"])
    assert set(counts) == DEFECTS[name]
    assert min(counts.values()) >= 4 and max(counts.values()) <= 12
    if name == "calibration_pairs":
        assert counts["wrong_fact"] >= 8


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_corruptions_are_spread_and_only_on_bad_rows(name: str) -> None:
    data = rows(name)
    assert all((row["corruption"] is None) == (row["label"] == "good") for row in data)
    counts = Counter(row["corruption"] for row in data if row["corruption"])
    assert set(counts) == CORRUPTIONS[name] and min(counts.values()) >= 4


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("calibration_instructions", ["text"]),
        ("calibration_pairs", ["instruction"]),
        ("calibration_pairs", ["response"]),
        ("calibration_pairs", ["instruction", "response"]),
    ],
)
@pytest.mark.parametrize("measure", [len, lambda text: len(text.split())], ids=["characters", "words"])
def test_length_does_not_give_the_label_away(name: str, fields: list[str], measure: Any) -> None:
    sizes: dict[str, list[int]] = {"good": [], "bad": []}
    for row in rows(name):
        sizes[row["label"]].append(measure(" ".join(row[field] for field in fields)))
    assert 0.35 <= length_auc(sizes["good"], sizes["bad"]) <= 0.65
    assert max(min(sizes["good"]), min(sizes["bad"])) < min(max(sizes["good"]), max(sizes["bad"]))


def test_no_near_duplicates_between_files() -> None:
    items = [(name, words(instruction(row))) for name in ROWS for row in rows(name)]
    near = [
        (left, right)
        for i, (home, left) in enumerate(items)
        for other, right in items[:i]
        if home != other and rouge_l(left, right) >= 0.6
    ]
    assert near == []


def test_no_near_duplicates_among_the_seeds() -> None:
    seeds = [words(row["text"]) for row in rows("seeds")]
    near = [(left, right) for i, left in enumerate(seeds) for right in seeds[:i] if rouge_l(left, right) >= 0.5]
    assert near == []


OWN = {
    "own_instructions": ({"id", "text", "label", "note"}, {"good": 220, "bad": 226}),
    "own_pairs": ({"id", "instruction", "response", "stop_reason", "label", "note"}, {"good": 31, "bad": 171}),
}


@pytest.mark.parametrize("name", OWN)
def test_model_written_rows_have_their_keys_and_counts_by_class(name: str) -> None:
    keys, counts = OWN[name]
    data = rows(name)
    assert all(set(row) == keys for row in data)
    assert Counter(row["label"] for row in data) == counts
    assert min(counts.values()) >= 25


def test_model_written_rows_have_unique_ids_and_instructions() -> None:
    ids = Counter(row["id"] for name in (*ROWS, *OWN) for row in rows(name))
    assert [key for key, n in ids.items() if n > 1] == []
    for name in OWN:
        texts = Counter(fold(instruction(row)) for row in rows(name))
        assert [text for text, n in texts.items() if n > 1] == []


@pytest.mark.parametrize("name", OWN)
def test_model_written_rows_have_a_note_only_where_bad(name: str) -> None:
    for row in rows(name):
        assert bool(row["note"]) == (row["label"] == "bad"), row["id"]
        text = row["text"] if name == "own_instructions" else row["response"]
        assert text and text == text.strip(), row["id"]


def test_model_written_pairs_answer_good_instructions_only() -> None:
    good = {row["text"] for row in rows("own_instructions") if row["label"] == "good"}
    assert {row["instruction"] for row in rows("own_pairs")} <= good
    assert {row["stop_reason"] for row in rows("own_pairs")} == {"stop", "length"}


def test_model_written_instructions_are_no_row_of_the_other_files() -> None:
    others = {fold(instruction(row)) for name in ROWS for row in rows(name)}
    assert [row["id"] for row in rows("own_instructions") if fold(row["text"]) in others] == []
