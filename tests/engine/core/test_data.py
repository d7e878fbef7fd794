"""The shipped data: complete, balanced, disjoint between files, and free of length as a cue."""

import json
import re
from collections import Counter
from typing import Any

import pytest

from engine.core.data import data_file
from engine.quality.rules import instruction_status
from engine.spec.constitution import load_constitution
from engine.spec.stage import available, load_spec
from engine.stats.similarity import rouge_l, words

KINDS = ("implicit", "generation", "evaluation", "revision")  # of instructions, beside the explicit ones
ROWS = {
    "seeds": 96,
    "seeds_simple": 48,
    "response_examples": 12,
    "response_examples_simple": 12,
    "grade_instructions": 16,
    "grade_pairs": 16,
    "anchors_instructions": 40,
    "anchors_pairs": 40,
    "calibration_instructions": 110,
    "calibration_pairs": 110,
    "anchors_comparisons": 40,
    "calibration_comparisons": 120,
    "compare_examples": 8,
    "boundary_prompts": 80,
    "refusal_examples": 8,
    "critique_examples": 8,
    **{f"seeds_{kind}": 48 for kind in KINDS},
    **{f"response_examples_{kind}": 8 for kind in KINDS},
    **{f"grade_instructions_{kind}": 16 for kind in KINDS},
    **{f"anchors_instructions_{kind}": 20 for kind in KINDS},
    **{f"calibration_instructions_{kind}": 40 for kind in KINDS},
}
COMPARISON = {"id", "instruction", "response", "rival", "category", "label", "defect"}
KEYS = {
    "seeds": {"id", "topic", "text"},
    "seeds_simple": {"id", "topic", "text"},
    "response_examples_simple": {"id", "instruction", "response"},
    "response_examples": {"id", "instruction", "response"},
    "grade_instructions": {"id", "text", "label"},
    "grade_pairs": {"id", "instruction", "response", "label"},
    "anchors_instructions": {"id", "text", "label", "corruption"},
    "anchors_pairs": {"id", "instruction", "response", "label", "corruption"},
    "calibration_instructions": {"id", "text", "label", "defect"},
    "calibration_pairs": {"id", "instruction", "response", "label", "defect"},
    "anchors_comparisons": COMPARISON,
    "calibration_comparisons": COMPARISON,
    "compare_examples": COMPARISON | {"question"},
    "boundary_prompts": {"id", "text", "kind", "twin", "topic"},
    "refusal_examples": {"id", "instruction", "response"},
    "critique_examples": {"id", "instruction", "response", "principle_id", "critique", "revision"},
    **{f"seeds_{kind}": {"id", "topic", "text"} for kind in KINDS},
    **{f"response_examples_{kind}": {"id", "instruction", "response"} for kind in KINDS},
    **{f"grade_instructions_{kind}": {"id", "text", "label"} for kind in KINDS},
    **{f"anchors_instructions_{kind}": {"id", "text", "label", "corruption"} for kind in KINDS},
    **{f"calibration_instructions_{kind}": {"id", "text", "label", "defect"} for kind in KINDS},
}
LABELLED = [name for name, keys in KEYS.items() if "label" in keys]
COMPARED = [name for name, keys in KEYS.items() if "rival" in keys]
NOT_THERE = {kind: "no_text" if kind in ("evaluation", "revision") else "missing_context" for kind in KINDS}
TWICE = ("anchors_pairs", "anchors_comparisons")  # each instruction once well and once badly
DEFECTS = {
    "calibration_instructions": {
        "nonsense", "missing_context", "truncated", "repetitive", "meta", "not_an_instruction", "marker_leak",
        "contradictory", "merged",
    },
    "calibration_pairs": {
        "off_topic", "wrong_fact", "truncated", "repetitive", "marker_leak", "echo", "nonsense",
        "talks_about_response", "incomplete_list",
    },
    # What is wrong of a kind: one about a text has to quote it.
    **{
        f"calibration_instructions_{kind}": {"wrong_kind", "garbled", "unanswerable", NOT_THERE[kind]} for kind in KINDS
    },
}  # fmt: skip
CORRUPTIONS = {
    "anchors_instructions": {"shuffled", "truncated", "boilerplate", "missing_context"},
    "anchors_pairs": {"swapped", "truncated", "looped", "shuffled", "echo"},
    **{f"anchors_instructions_{kind}": {"shuffled", "wrong_kind", NOT_THERE[kind]} for kind in KINDS},
}

Row = dict[str, Any]


def rows(name: str) -> list[Row]:
    return [json.loads(line) for line in data_file(name).read_text(encoding="utf-8").splitlines()]


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


@pytest.mark.parametrize("name", [name for name in ROWS if name not in TWICE])
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


@pytest.mark.parametrize("kind", KINDS)
def test_seeds_of_each_kind_cover_the_topics_in_five_to_twenty_four_words(kind: str) -> None:
    seeds = rows(f"seeds_{kind}")
    topics = Counter(row["topic"] for row in seeds)
    assert len(topics) == 8 and set(topics.values()) == {6}
    assert all(5 <= len(row["text"].split()) <= 24 for row in seeds)
    assert max(Counter(row["text"].split()[0] for row in seeds).values()) <= 7


def test_simple_seeds_cover_the_topics_in_three_to_twelve_words() -> None:
    seeds = rows("seeds_simple")
    topics = Counter(row["topic"] for row in seeds)
    assert len(topics) == 8 and set(topics.values()) == {6}
    assert all(3 <= len(row["text"].split()) <= 12 for row in seeds)
    assert max(Counter(row["text"].split()[0] for row in seeds).values()) <= 12


@pytest.mark.parametrize("kind", ["evaluation", "revision"])
def test_seeds_about_a_text_quote_it(kind: str) -> None:
    examples = [*rows(f"seeds_{kind}"), *rows(f"response_examples_{kind}")]
    assert [row["id"] for row in examples if instruction(row).count('"') < 2 or instruction(row).count('"') % 2] == []


@pytest.mark.parametrize("kind", ["evaluation", "revision"])
@pytest.mark.parametrize("name", ["grade_instructions", "anchors_instructions", "calibration_instructions"])
def test_labelled_instructions_about_a_text_quote_it_unless_that_is_their_defect(name: str, kind: str) -> None:
    for row in rows(f"{name}_{kind}"):
        why = row.get("defect") or row.get("corruption")
        assert row["text"].count('"') % 2 == 0, row["id"]
        if row["label"] == "good" or why in ("wrong_kind", "unanswerable"):
            assert row["text"].count('"') >= 2, row["id"]
        if why == "no_text":
            assert '"' not in row["text"], row["id"]


@pytest.mark.parametrize("kind", KINDS)
def test_no_rule_speaks_against_an_instruction_that_is_labelled_good(kind: str) -> None:
    spec = next(
        spec.instructions for name in available() if (spec := load_spec(name).settings).instructions.kind == kind
    )
    for name in ("grade_instructions", "anchors_instructions", "calibration_instructions"):
        good = [row["text"] for row in rows(f"{name}_{kind}") if row["label"] == "good"]
        assert [text for text in good if instruction_status(text, True, spec)[0] != "distinct"] == []


def test_response_examples_are_concise_and_hold_one_refusal() -> None:
    examples = rows("response_examples")
    assert all(8 <= len(row["response"].split()) <= 45 for row in examples)
    assert sum("can't help" in row["response"] for row in examples) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_no_form_is_shown_so_often_that_a_small_model_takes_it_for_the_rule(kind: str) -> None:
    shown = [row["response"] for row in rows(f"response_examples_{kind}")[:6]]  # responses.examples in every spec
    for form in (r"\d[.)] ", r"[^.?!]*\bAnswer:", r"\w+: "):
        assert sum(bool(re.match(form, text)) for text in shown) <= 2, form
    assert sum("Answer:" in text for text in shown) <= 1


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
    assert set(counts) == CORRUPTIONS[name] and min(counts.values()) >= (4 if len(data) == 40 else 3)


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("calibration_instructions", ["text"]),
        *((f"calibration_instructions_{kind}", ["text"]) for kind in KINDS),
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
    found = [(name, words(instruction(row))) for name in ROWS for row in rows(name)]
    items = [(name, said, frozenset(said)) for name, said in found]
    near = [
        (left, right)
        for i, (home, left, held) in enumerate(items)
        for other, right, _ in items[:i]
        # A common subsequence has at most the words of one that the other holds: what can't reach 0.6 isn't compared.
        if home != other
        and 2 * sum(map(held.__contains__, right)) >= 0.6 * (len(left) + len(right))
        and rouge_l(left, right) >= 0.6
    ]
    assert near == []


@pytest.mark.parametrize("name", ["seeds", *(f"seeds_{kind}" for kind in KINDS)])
def test_no_near_duplicates_among_the_seeds(name: str) -> None:
    seeds = [words(row["text"]) for row in rows(name)]
    near = [(left, right) for i, left in enumerate(seeds) for right in seeds[:i] if rouge_l(left, right) >= 0.5]
    assert near == []


SIDES = {  # the defects of the worse side
    "helpfulness": {"incomplete", "off_topic", "padded", "truncated", "unwarranted_refusal", "vague", "wrong_format"},
    "honesty": {"made_up", "overclaims", "wrong_fact", "wrong_number"},
    "harmlessness": {"overclaims", "unkind", "unsafe_help", "wrong_fact"},
}


@pytest.mark.parametrize("name", COMPARED)
def test_comparisons_have_two_sides_and_a_defect_of_their_category(name: str) -> None:
    data = rows(name)
    assert all(row["response"] != row["rival"] for row in data)
    assert {row["category"] for row in data} == set(SIDES)
    assert [row["id"] for row in data if row["defect"] not in SIDES[row["category"]]] == []


@pytest.mark.parametrize(("name", "least"), [("anchors_comparisons", 2), ("calibration_comparisons", 6)])
def test_every_defect_of_comparisons_is_there_often_enough_under_both_labels(name: str, least: int) -> None:
    data = rows(name)
    counts = Counter(row["defect"] for row in data)
    assert set(counts) == set.union(*SIDES.values()) and min(counts.values()) >= least
    assert {defect for defect in counts if len({r["label"] for r in data if r["defect"] == defect}) < 2} == set()


@pytest.mark.parametrize("name", COMPARED)
@pytest.mark.parametrize("measure", [len, lambda text: len(text.split())], ids=["characters", "words"])
def test_the_longer_side_does_not_give_a_comparisons_label_away(name: str, measure: Any) -> None:
    longer: dict[str, list[int]] = {"good": [], "bad": []}
    for row in rows(name):
        longer[row["label"]].append(measure(row["response"]) - measure(row["rival"]))
    assert 0.4 <= length_auc(longer["good"], longer["bad"]) <= 0.6


def test_comparison_anchors_are_shown_once_each_way_round() -> None:
    data = rows("anchors_comparisons")
    good, bad = ([row for row in data if row["label"] == label] for label in ("good", "bad"))
    assert len({instruction(row) for row in data}) == 20
    turned = {(instruction(row), row["rival"], row["response"], row["defect"]) for row in bad}
    assert {(instruction(row), row["response"], row["rival"], row["defect"]) for row in good} == turned


def test_compared_examples_ask_a_question_each() -> None:
    questions = [row["question"] for row in rows("compare_examples")]
    assert len(set(questions)) == 8 and all(q.startswith("Which response ") and q.endswith("?") for q in questions)


def test_boundary_prompts_are_twins_side_by_side_one_of_which_is_safe() -> None:
    data = rows("boundary_prompts")
    by_id = {row["id"]: row for row in data}
    for unsafe, safe in zip(data[::2], data[1::2], strict=True):
        assert (unsafe["kind"], safe["kind"]) == ("unsafe", "safe")
        assert by_id[unsafe["twin"]] is safe and by_id[safe["twin"]] is unsafe
        assert unsafe["topic"] == safe["topic"]
    assert set(Counter(row["topic"] for row in data).values()) == {10}
    sizes = {kind: [len(row["text"]) for row in data if row["kind"] == kind] for kind in ("safe", "unsafe")}
    assert 0.35 <= length_auc(sizes["safe"], sizes["unsafe"]) <= 0.65


def test_boundary_prompts_of_a_kind_are_no_near_duplicates() -> None:
    by_kind = [[words(r["text"]) for r in rows("boundary_prompts") if r["kind"] == kind] for kind in ("safe", "unsafe")]
    near = [(a, b) for texts in by_kind for i, a in enumerate(texts) for b in texts[:i] if rouge_l(a, b) >= 0.5]
    assert near == []


def test_critique_examples_stand_for_principles_of_the_constitution_each_another() -> None:
    principles = load_constitution().by_id
    shown = [row["principle_id"] for row in rows("critique_examples")]
    assert set(shown) <= set(principles) and len(set(shown)) == len(shown)
    assert {principles[name].category for name in shown} == {p.category for p in principles.values()}


def test_critique_examples_quote_what_they_criticise_and_change_it() -> None:
    for row in rows("critique_examples"):
        quoted = re.findall(r"'([^']+)'", row["critique"])
        assert quoted and all(part.rstrip(".") in row["response"] for part in quoted), row["id"]
        assert row["revision"] != row["response"], row["id"]


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
