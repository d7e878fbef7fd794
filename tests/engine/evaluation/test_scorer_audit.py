"""The scorer's audit: a planted length-capped scorer is caught three ways, an honest one passes."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from engine.evaluation import PLANTS, Item, Plant, Verdict
from engine.evaluation.analysis import compare
from engine.evaluation.needs.readers import person
from engine.evaluation.scorer_audit import blinded, blocked, confounds, planted, within_types
from engine.spec.stage import load_spec
from engine.stats.intervals import cohen_kappa
from store.db import Store
from tests.store.rows import T0

SPEC = load_spec("stage_1_explicit_instructions").settings.evaluation
assert SPEC is not None
CAP = 500
NOTHING = " I hope that this is of some help to you."
TYPES = ("arithmetic", "lists", "rewriting")
Row = dict[str, Any]


def item(number: int) -> Item:
    item_type = TYPES[number % 3]
    return Item(f"i{number:04}", "instruction_following", item_type, f"{item_type}-1", "test", "Say yes.", "yes", {})


def honest(item: Item, answer: str) -> Verdict:
    right = answer.startswith("yes")
    return Verdict(right, right, right, "begins with yes" if right else "does not")


def capped(item: Item, answer: str) -> Verdict:
    """The scorer of an earlier attempt: what is over 500 characters is wrong."""
    if len(answer) > CAP:
        return Verdict(False, False, False, "too long")
    return honest(item, answer)


def plants(items: int = 18) -> list[Plant]:
    texts = {
        "correct": "yes", "verbose": "yes, " + "and there is more to say of it. " * 20, "preamble": "yes: well, yes",
        "wrong": "no", "empty": "", "truncated": "ye", "hedged": "no or yes", "copied": "Say yes.",
    }  # fmt: skip
    assert set(texts) == set(PLANTS)
    return [
        Plant(item(number), kind, text, kind in PLANTS[:3]) for number in range(items) for kind, text in texts.items()
    ]


def answered(condition: str, texts: Sequence[str], verify: Callable[[Item, str], Verdict] = honest) -> list[Row]:
    rows = []
    for number, text in enumerate(texts):
        one = item(number)
        verdict = verify(one, text)
        rows.append(
            {
                "condition": condition, "item_id": one.item_id, "capability": one.capability, "item_type": one.item_type,
                "template": one.template, "split": "test", "answer": text, "at": T0,
                "correct": verdict.correct, "strict": verdict.strict, "loose": verdict.loose,
                "padded": verify(one, text + NOTHING).correct, "trimmed": verify(one, text[: text.rfind(".")]).correct,
            }
        )  # fmt: skip
    return rows


def lesson(verify: Callable[[Item, str], Verdict]) -> tuple[list[Row], list[Row]]:
    """The base is right on 300 of 300, 57 times in more than 500 characters; the tuned model on 298, and briefly."""
    rng = np.random.default_rng(3)
    sizes = rng.permutation([*rng.integers(60, 499, 243), *rng.integers(501, 900, 57)])
    base = ["yes" + "." * (int(size) - 3) for size in sizes]
    tuned = ["no" if number in (7, 200) else "yes" + "." * int(rng.integers(10, 90)) for number in range(300)]
    return answered("base_formatted", base, verify), answered("sft", tuned, verify)


def named(rows: Sequence[Row], part: str, subject: str) -> Row:
    (found,) = [one for one in rows if (one["part"], one["subject"]) == (part, subject)]
    return found


# -- the scorer that took brevity for quality


def test_the_capped_scorer_makes_an_improvement_out_of_brevity() -> None:
    (seen, true) = (
        compare([*before, *after], SPEC, None, draws=0, now=T0).results[0]
        for before, after in (lesson(capped), lesson(honest))
    )
    assert (seen["before_right"], seen["after_right"]) == (243, 298)
    assert seen["p"] < 0.05 and seen["mcnemar_p"] < 1e-10
    assert (true["before_right"], true["after_right"]) == (300, 298)
    assert true["p"] > 0.05 and true["mcnemar_p"] == 0.5


def test_planted_verbose_answers_catch_it() -> None:
    rows = planted(capped, plants(), SPEC)
    assert blocked(rows) == [f"planted {name} (instruction_following)" for name in TYPES]
    for name in TYPES:
        found = named(rows, "planted", name)
        assert (found["measured"], found["n"], found["op"], found["passed"]) == (7 / 8, 48, ">=", False)
        assert found["lo"] < 7 / 8 < found["hi"]
        assert found["detail"]["of_kind"] == {"verbose": 6}
        assert {one["why"] for one in found["detail"]["misjudged"]} == {"too long"}
    verbose = named(rows, "planted", "kind:verbose")
    assert (verbose["measured"], verbose["n"], verbose["passed"], verbose["op"]) == (0.0, 18, None, "")
    assert named(rows, "planted", "kind:wrong")["measured"] == 1.0
    assert [one["subject"] for one in rows] == [*TYPES, *(f"kind:{kind}" for kind in PLANTS)]


def test_length_alone_catches_it() -> None:
    base, tuned = lesson(capped)
    rows = confounds([*base, *tuned], SPEC)
    found = named(rows, "length", "base_formatted")
    # The longest 19 % fail: means of ranks 0.5 apart, times sqrt(0.19 * 0.81) over a spread of sqrt(1 / 12).
    assert found["measured"] == pytest.approx(0.5 * np.sqrt(0.19 * 0.81 * 12), abs=0.01)
    assert 0.5 < found["lo"] < found["measured"] < found["hi"] < 0.9
    assert (found["passed"], found["n"], found["detail"]["correlation"]) == (False, 300, -found["measured"])
    assert found["detail"]["median_right"] < CAP < found["detail"]["median_wrong"]
    assert named(rows, "length", "sft")["passed"] is None  # two wrong answers: too few to tell
    assert "length base_formatted (instruction_following)" in blocked(rows)


def test_padding_alone_catches_it() -> None:
    base, tuned = lesson(capped)
    rows = confounds([*base, *tuned], SPEC)
    found = named(rows, "padding", "base_formatted")
    flipped = [one for one in base if one["correct"] and len(one["answer"]) + len(NOTHING) > CAP]
    assert (found["measured"], found["n"], found["passed"]) == (len(flipped) / 243, 243, False)
    assert found["measured"] > SPEC.flips_at_most and found["lo"] < found["measured"] < found["hi"]
    assert set(found["detail"]["item_ids"]) == {one["item_id"] for one in flipped}
    assert sum(k for k, _ in found["detail"]["by_type"].values()) == len(flipped)
    assert "padding base_formatted (instruction_following)" in blocked(rows)
    trimming = named(rows, "trimming", "base_formatted")
    assert (trimming["passed"], trimming["op"], trimming["n"]) == (None, "", 300)


def test_an_honest_scorer_passes() -> None:
    base, tuned = lesson(honest)
    rows = planted(honest, plants(), SPEC) + confounds([*base, *tuned], SPEC)
    assert blocked(rows) == []
    assert {one["measured"] for one in rows if one["part"] == "planted"} == {1.0}
    assert named(rows, "padding", "base_formatted")["measured"] == 0.0
    assert named(rows, "length", "base_formatted")["passed"] is None  # all right: nothing to go with length
    assert named(rows, "length", "sft")["passed"] is None


def test_a_scorer_that_accepts_all_is_caught_by_wrong_plants() -> None:
    rows = planted(lambda item, answer: Verdict(True, True, True, "fine"), plants(), SPEC)
    assert len(blocked(rows)) == 3
    assert named(rows, "planted", "arithmetic")["measured"] == 3 / 8


def test_the_store_takes_the_rows(tmp_path: Path) -> None:
    base, tuned = lesson(capped)
    rows = planted(capped, plants(), SPEC) + confounds([*base, *tuned], SPEC) + person([label(base[0])], base, SPEC)
    with Store.open(tmp_path / "cai.duckdb") as store, store.reader() as reader:
        store.append({"scorer_audits": [one | {"run_id": "run-a", "scorer_sha256": "ab" * 32} for one in rows]})
        assert len(reader.query("SELECT * FROM scorer_audits")) == len(rows)


# -- what is no confound


def test_a_type_that_is_hard_and_long_is_no_confound() -> None:
    rng = np.random.default_rng(5)
    texts = []
    for number in range(600):
        hard = number % 3 == 2
        right = rng.random() < (0.1 if hard else 0.9)
        texts.append(("yes" if right else "no") + "." * int(rng.integers(300, 400) if hard else rng.integers(10, 60)))
    rows = answered("base_raw", texts)
    plain = stats.spearmanr([one["correct"] for one in rows], [len(one["answer"]) for one in rows]).statistic
    found = named(confounds(rows, SPEC), "length", "base_raw")
    assert plain < -0.5
    assert found["measured"] < 0.12 and found["passed"] is True


def test_types_that_ask_for_a_length_are_left_out() -> None:
    base, _ = lesson(capped)
    asked = [one | {"item_type": "exact_words"} for one in base]
    rows = confounds(asked, SPEC, frozenset({"exact_words"}))
    assert named(rows, "padding", "base_formatted")["n"] == 0
    assert named(rows, "length", "base_formatted")["detail"]["left_out"] == 300
    assert blocked(rows) == []
    for facts in (
        {"check": "sentences", "k": 2},
        '{"check": "words", "k": 9}',
        {"check": "claim", "style": {"kind": "lower"}},
    ):
        assert blocked(confounds([one | {"facts": facts} for one in base], SPEC)) == []
    assert len(blocked(confounds([one | {"facts": {"check": "claim", "style": None}} for one in base], SPEC))) == 2


def test_wrong_answers_that_padding_makes_right_decide_nothing() -> None:
    rows = [one | {"padded": True} for one in answered("base_raw", ["no", "nope", "no, thanks"] * 20)]
    found = named(confounds(rows, SPEC), "padding", "base_raw")
    assert (found["n"], found["passed"], found["detail"]["wrong_to_right"]) == (0, None, 60)


def test_strictness_and_format_are_recorded() -> None:
    rows = answered("base_raw", ["yes", "- yes", "yes\nor so", "no **way**", "no", "no\nno"] * 10)
    rows[0] |= {"strict": False}
    rows[4] |= {"loose": True}
    found = confounds(rows, SPEC)
    strict = named(found, "strictness", "base_raw")
    assert (strict["measured"], strict["passed"]) == (2 / 60, None)
    form = named(found, "format", "base_raw")
    assert form["detail"]["newline"]["with"] == [10, 20] and form["detail"]["markdown"]["with"] == [0, 10]
    # Of the three types each has two texts: "yes" and a markdown "no", two without and one of each with a newline.
    assert form["detail"]["markdown"]["difference"] == -1.0
    assert (form["measured"], form["op"], form["passed"]) == (1.0, "", None)


def test_within_types_against_spearman() -> None:
    rng = np.random.default_rng(6)
    length = rng.permutation(200)
    success = rng.random(200) < 0.2 + 0.6 * (length > 120)
    found = within_types(success.tolist(), length.tolist(), ["one"] * 200)
    assert found is not None
    assert found[0] == pytest.approx(stats.pearsonr(success, stats.rankdata(length)).statistic)
    assert found[1] < found[0] < found[2]
    # A strictly rising change of lengths changes nothing.
    assert within_types(success.tolist(), np.exp(length / 20).tolist(), ["one"] * 200) == found
    assert within_types([], [], []) is None
    assert within_types([True, False], [3, 3], ["one", "one"]) is None
    assert within_types([True, False], [3, 4], ["one", "other"]) is None


@pytest.mark.slow
def test_coverage_of_the_interval_of_the_correlation() -> None:
    """600 times 300 answers of three types, success falling with length; the truth is that of 300,000 answers."""
    rng = np.random.default_rng(7)

    def drawn(n: int) -> tuple[list[bool], list[float], list[str]]:
        kind, length = rng.integers(3, size=n), rng.lognormal(size=n)
        success = rng.random(n) < np.clip(0.9 - 0.25 * length, 0.05, 1) * (1 - 0.2 * kind)
        return success.tolist(), length.tolist(), [TYPES[one] for one in kind]

    success, length, kinds = drawn(300_000)
    names = np.array(kinds)
    x, y = np.zeros(len(names)), np.array(success, dtype=float)
    for name in TYPES:
        x[names == name] = stats.rankdata(np.array(length)[names == name]) / (names == name).sum() - 0.5
        y[names == name] -= y[names == name].mean()
    truth = float((x * y).sum() / np.sqrt((x * x).sum() * (y * y).sum()))
    found = [within_types(*drawn(300), seed=seed) for seed in range(600)]
    covered = np.mean([one is not None and one[1] <= truth <= one[2] for one in found])
    assert covered == pytest.approx(0.95, abs=0.03)  # three standard errors of 600 runs


def test_15000_answers_of_12_types_take_under_three_seconds() -> None:
    rng = np.random.default_rng(8)
    length = rng.lognormal(4, 1, size=15_000)
    started = time.process_time()
    assert within_types((rng.random(15_000) < 0.4).tolist(), length.tolist(), [f"t{n % 12}" for n in range(15_000)])
    assert time.process_time() - started < 3


# -- a person


def label(answer: Row, good: bool = True, **fields: Any) -> Row:
    subject = f"{answer['condition']}/{answer['item_id']}"
    word = "good" if good else "bad"
    return {"subject_kind": "evaluation_answer", "subject_id": subject, "label": word} | fields


def test_kappa_with_a_person() -> None:
    base, tuned = lesson(capped)
    # The person finds all 60 good that the scorer calls right, and 15 of 30 that it calls wrong.
    right, wrong = [one for one in tuned if one["correct"]][:60], [one for one in base if not one["correct"]][:30]
    labels = [label(one) for one in right] + [label(one, number < 15) for number, one in enumerate(wrong)]
    (found,) = person(labels, [*base, *tuned], SPEC)
    kappa = cohen_kappa([True] * 75 + [False] * 15, [True] * 60 + [False] * 30)
    assert kappa is not None
    assert (found["measured"], found["n"], found["subject"]) == (pytest.approx(kappa), 90, "all")
    assert found["lo"] < kappa < found["hi"] and found["passed"] is (kappa >= SPEC.person_kappa_at_least)
    assert found["detail"]["agreement"] == pytest.approx(75 / 90) and len(found["detail"]["differ"]) == 15
    (found,) = person([label(one, one["correct"]) for one in [*right, *wrong]], [*base, *tuned], SPEC)
    assert (found["measured"], found["lo"], found["hi"], found["passed"]) == (1.0, 1.0, 1.0, True)
    (found,) = person([label(one, not one["correct"]) for one in [*right, *wrong]], [*base, *tuned], SPEC)
    assert found["passed"] is False and blocked([found]) == ["person all (instruction_following)"]


def test_without_labels_a_person_decides_nothing() -> None:
    _, tuned = lesson(honest)
    others = [
        label(tuned[0], label="unsure"),
        label(tuned[1], subject_kind="sample"),
        label(tuned[2], subject_id="sft/none"),
    ]
    assert person(others, tuned, SPEC) == []
    (found,) = person([label(one) for one in tuned if one["correct"]], tuned, SPEC)  # both say good of all
    assert (found["measured"], found["passed"], found["detail"]["agreement"]) == (None, None, 1.0)


def test_discordant_items_are_shown_blind() -> None:
    base, tuned = lesson(capped)
    tuned[0] |= {"correct": False}  # lost, where the base is right
    base[0] |= {"correct": True}
    shown = blinded(base, tuned, seed=4, k=30)
    discordant = {one["item_id"] for one, other in zip(base, tuned, strict=True) if one["correct"] != other["correct"]}
    assert len(shown) == 30 == len({one.item_id for one in shown})
    assert {one.item_id for one in shown} <= discordant
    assert {name: sum(one.item_type == name for one in shown) for name in TYPES} == dict.fromkeys(TYPES, 10)
    answers = {f"{one['condition']}/{one['item_id']}": one["answer"] for one in [*base, *tuned]}
    for one in shown:
        assert [answers[subject] for subject in one.subjects] == list(one.texts)
        assert {subject.split("/")[0] for subject in one.subjects} == {"base_formatted", "sft"}
    first = [one.subjects[0].startswith("sft") for one in shown]
    assert 6 < sum(first) < 24 and first != sorted(first)
    assert [one.item_type for one in shown] != sorted(one.item_type for one in shown)
    assert blinded(base[::-1], tuned[::-1], seed=4, k=30) == shown
    assert blinded(base, tuned, seed=5, k=30) != shown
    assert len(blinded(base, tuned, seed=4, k=1000)) == len(discordant)
    assert blinded(base, base, seed=4, k=30) == []


def test_the_side_tells_nothing_of_the_condition() -> None:
    base, tuned = lesson(capped)
    first = [one.subjects[0].startswith("sft") for seed in range(60) for one in blinded(base, tuned, seed, 40)]
    assert stats.binomtest(sum(first), len(first)).pvalue > 0.001
