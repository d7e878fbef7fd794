"""What a comparison of conditions says: counts, roles, corrections, levels of looks, and what is refused."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.core.errors import EvaluationError
from engine.evaluation.analysis import Analysis, compare, next_level, significant
from engine.evaluation.registration import body, row
from engine.spec.stage import load_spec
from engine.stats.paired import Pairs, clustered, holm, mcnemar, newcombe, shares_bca
from engine.stats.power import equivalence, looks, mcnemar_effect, mcnemar_power
from engine.stats.shares import wilson
from store.db import Store
from tests.store.rows import T0, run

SPEC = load_spec("stage_1_explicit_instructions").settings.evaluation
assert SPEC is not None
TYPES = ("arithmetic", "lists", "rewriting")
Row = dict[str, Any]


def answers(
    condition: str, right: Sequence[bool], capability: str = "instruction_following", types: int = 3, **fields: Any
) -> list[Row]:
    return [
        {
            "condition": condition, "item_id": f"{capability[:2]}-{number:05}", "capability": capability,
            "item_type": TYPES[number % types], "template": f"{number % types}-{number // types % 5}", "split": "test",
            "correct": bool(correct), "items_sha256": "cd" * 32, "scorer_sha256": "ab" * 32, "at": T0, **fields,
        }
        for number, correct in enumerate(right)
    ]  # fmt: skip


def registered(n: int = 300, conditions: Sequence[str] = ("base_formatted", "sft"), **others: int) -> Row:
    numbers = {"instruction_following": n, **others}
    made = body(run(), SPEC, "cd" * 32, "ab" * 32, {"temperature": 0}, conditions, numbers)
    return row("run-a", made, T0 - timedelta(hours=1))


def by_key(found: Analysis) -> dict[tuple[str, str, str], Row]:
    return {(one["before"], one["after"], one["item_type"]): one for one in found.results}


def outcomes(n: int, right: int) -> list[bool]:
    return [number < right for number in range(n)]


BASE = outcomes(300, 243)
TUNED = [number >= 2 for number in range(300)]  # 55 gained net: 57 and 2


def test_the_worked_example() -> None:
    found = compare(answers("base_formatted", BASE) + answers("sft", TUNED), SPEC, registered(), now=T0)
    whole = by_key(found)["base_formatted", "sft", "all"]
    table = Pairs(241, 57, 2, 0)
    assert (whole["n"], whole["before_right"], whole["after_right"], whole["gained"], whole["lost"]) == (
        300,
        243,
        298,
        57,
        2,
    )
    assert whole["p"] == pytest.approx(6.1e-15, rel=0.01) and whole["p_chi2"] == pytest.approx(2.06e-12, rel=0.01)
    assert (whole["chi2"], whole["effect"]) == (pytest.approx(49.42, abs=0.01), pytest.approx(0.739, abs=1e-3))
    assert (whole["before_lo"], whole["before_hi"]) == wilson(243, 300)
    assert (whole["after_lo"], whole["after_hi"]) == wilson(298, 300)
    assert (whole["lo"], whole["hi"]) == (newcombe(table).lo, newcombe(table).hi)
    assert (whole["bca_lo"], whole["bca_hi"]) == (shares_bca(table).lo, shares_bca(table).hi)
    assert whole["difference"] == pytest.approx(55 / 300)
    assert whole["p_not_worse"] == equivalence(table, SPEC.margin).p_not_worse
    assert whole["power"] == mcnemar_power(0.10, 0.02, 300).power
    assert whole["detectable"] == mcnemar_effect(300, 59 / 300, 0.8).effect
    templates = [f"{number % 3}-{number // 3 % 5}" for number in range(300)]
    expected = clustered(np.array(TUNED), np.array(BASE), templates)
    assert [whole[name] for name in ("clusters", "clustered_lo", "clustered_hi", "clustered_p")] == pytest.approx(
        [15, expected.lo, expected.hi, expected.p]
    )
    assert (whole["role"], whole["registered"], whole["alpha"], whole["p_corrected"]) == (
        "primary",
        True,
        0.05,
        whole["p"],
    )
    assert significant(whole)


def test_the_store_takes_the_rows(tmp_path: Path) -> None:
    found = compare(
        answers("base_raw", BASE) + answers("base_formatted", BASE) + answers("dpo", TUNED) + answers("reference", TUNED),
        SPEC, registered(conditions=("base_raw", "base_formatted", "dpo")), draws=200, now=T0,
    )  # fmt: skip
    with Store.open(tmp_path / "cai.duckdb") as store, store.reader() as reader:
        store.append({"evaluation_results": [one | {"run_id": "run-a"} for one in found.results]})
        store.append({"evaluation_looks": [one | {"run_id": "run-a"} for one in found.looks]})
        assert len(reader.query("SELECT * FROM evaluation_results")) == 4 * 4
        assert len(reader.query("SELECT * FROM evaluation_looks")) == 2


def test_which_conditions_are_compared() -> None:
    given = [row for name in ("base_raw", "base_few_shot", "sft", "dpo", "reference") for row in answers(name, BASE)]
    found = compare(given, SPEC, None, draws=0, now=T0)
    pairs = {(one["before"], one["after"]) for one in found.results}
    bases = ("base_raw", "base_few_shot")
    assert pairs == {(one, other) for one in bases for other in ("sft", "dpo", "reference")} | {("sft", "dpo")}
    assert {one["item_type"] for one in found.results} == {"all", *TYPES}


def test_without_a_registration_all_is_exploratory() -> None:
    found = compare(answers("base_formatted", BASE) + answers("sft", TUNED), SPEC, None, draws=0, now=T0)
    assert not found.looks
    for one in found.results:
        assert (one["role"], one["registered"], one["p_corrected"], one["correction"]) == (
            "exploratory",
            False,
            None,
            "",
        )
        assert (one["alpha"], significant(one)) == (0.05, False)
        assert one["q"] >= one["p"]


def test_secondary_hypotheses_wait_for_the_primary_one() -> None:
    conditions = ("base_raw", "base_formatted", "sft", "dpo")
    rng = np.random.default_rng(4)
    base = rng.random(300) < 0.4
    same = base ^ (rng.random(300) < 0.1)
    better = base | (rng.random(300) < 0.3)
    given = answers("base_raw", base) + answers("base_formatted", base) + answers("sft", better)
    found = by_key(compare(given + answers("dpo", same), SPEC, registered(conditions=conditions), draws=0, now=T0))
    primary = found["base_formatted", "dpo", "all"]
    assert primary["role"] == "primary" and primary["p"] > 0.05
    secondary = [one for one in found.values() if one["role"] == "secondary"]
    # Three types within the primary comparison, and the four other comparisons over all types.
    assert len(secondary) == 7
    assert min(one["p"] for one in secondary) < 1e-10
    assert not any(significant(one) for one in found.values())
    assert all(one["p_corrected"] >= primary["p"] for one in secondary)

    found = by_key(compare(given + answers("dpo", better), SPEC, registered(conditions=conditions), draws=0, now=T0))
    secondary = [one for one in found.values() if one["role"] == "secondary"]
    adjusted = holm([one["p"] for one in secondary]).adjusted
    first = found["base_formatted", "dpo", "all"]["p"]
    assert [one["p_corrected"] for one in secondary] == pytest.approx([max(first, p) for p in adjusted])
    assert significant(found["base_formatted", "sft", "all"])
    assert found["base_formatted", "sft", "lists"]["role"] == "exploratory"  # a type, but not of the primary comparison


def test_a_registered_hypothesis_without_answers_still_counts() -> None:
    plan = registered(conditions=("base_raw", "base_formatted", "base_few_shot", "sft"))
    types = compare(answers("base_formatted", BASE) + answers("sft", TUNED), SPEC, plan, draws=0, now=T0).results[1:]
    first = compare(answers("base_formatted", BASE) + answers("sft", TUNED), SPEC, plan, draws=0, now=T0).results[0]
    adjusted = holm([*(one["p"] for one in types), 1.0, 1.0]).adjusted  # base_raw and base_few_shot were not asked
    assert [one["p_corrected"] for one in types] == pytest.approx([max(first["p"], p) for p in adjusted[:3]])
    without = compare(answers("base_raw", BASE) + answers("sft", TUNED), SPEC, plan, draws=0, now=T0)
    assert by_key(without)["base_raw", "sft", "all"]["p_corrected"] == 1.0  # the primary one was never tested


def test_only_items_that_both_answered_and_only_the_test_split() -> None:
    given = answers("base_formatted", BASE) + answers("sft", TUNED[:120]) + answers("sft", [True] * 300, split="dev")
    whole = by_key(compare(given, SPEC, None, draws=0, now=T0))["base_formatted", "sft", "all"]
    assert (whole["n"], whole["lost"], whole["gained"]) == (120, 2, 0)
    assert compare(answers("sft", TUNED), SPEC, None, now=T0) == Analysis([], [])
    assert compare([], SPEC, registered(), now=T0) == Analysis([], [])


def test_another_capability_is_secondary_over_all_its_items() -> None:
    given = answers("base_formatted", BASE) + answers("sft", TUNED)
    given += answers("base_formatted", BASE[:90], "conversation") + answers("sft", TUNED[:90], "conversation")
    found = compare(given, SPEC, registered(conversation=90), draws=0, now=T0)
    roles = {(one["capability"], one["item_type"]): one["role"] for one in found.results}
    assert roles["instruction_following", "all"] == "primary"
    assert (roles["conversation", "all"], roles["conversation", "lists"]) == ("secondary", "exploratory")


# -- what does not count


@pytest.mark.parametrize("column", ["items_sha256", "scorer_sha256"])
def test_answers_to_other_items_or_by_another_scorer_are_refused(column: str) -> None:
    given = answers("base_formatted", BASE) + answers("sft", TUNED, **{column: "ff" * 32})
    with pytest.raises(EvaluationError, match="base_formatted and sft can't be compared") as raised:
        compare(given, SPEC, None, now=T0)
    assert "cai evaluate" in raised.value.hint


@pytest.mark.parametrize(
    "late",
    [
        registered() | {"at": T0},
        registered() | {"at": T0 + timedelta(minutes=1)},
        registered() | {"body": registered()["body"] | {"items_sha256": "ee" * 32}},
    ],
)
def test_a_registration_after_the_answers_or_of_other_items_is_none(late: Mapping[str, Any]) -> None:
    found = compare(answers("base_formatted", BASE) + answers("sft", TUNED), SPEC, late, draws=0, now=T0)
    assert {one["role"] for one in found.results} == {"exploratory"} and not found.looks


def test_items_of_one_template_have_no_clustered_error_and_equal_answers_no_interval() -> None:
    given = answers("base_formatted", BASE, template="one") + answers("sft", TUNED, template="one")
    whole = compare(given, SPEC, None, draws=0, now=T0).results[0]
    assert (whole["clusters"], whole["clustered_lo"], whole["clustered_p"], whole["bca_lo"]) == (1, None, None, None)
    whole = compare(answers("base_formatted", BASE) + answers("sft", BASE), SPEC, None, now=T0).results[0]
    assert (whole["p"], whole["difference"], whole["detectable"], whole["clustered_lo"]) == (1.0, 0.0, None, None)
    assert whole["lo"] < 0 < whole["hi"]


# -- looks


def test_looks_share_alpha() -> None:
    plan, first, second = registered(), looks([0.5], 0.05).levels[0], looks([0.5, 1], 0.05).levels[1]
    half = compare(answers("base_formatted", BASE[:150]) + answers("sft", TUNED[:150]), SPEC, plan, draws=0, now=T0)
    assert [(one["look"], one["n"], one["fraction"], one["level"]) for one in half.looks] == [(1, 150, 0.5, first)]
    assert {one["alpha"] for one in half.results} == {first}
    again = compare(
        answers("base_formatted", BASE[:150]) + answers("sft", TUNED[:150]),
        SPEC,
        plan,
        looks=half.looks,
        draws=0,
        now=T0,
    )
    assert again.looks == [] and again.results == half.results
    given = answers("base_formatted", BASE) + answers("sft", TUNED)
    whole = compare(given, SPEC, plan, looks=half.looks, draws=0, now=T0)
    assert [(one["look"], one["level"]) for one in whole.looks] == [(2, pytest.approx(second))]
    assert first + second == pytest.approx(0.05)
    assert [one["alpha"] for one in whole.results] == pytest.approx([second] * 4)
    past = half.looks + whole.looks
    rescored = answers("base_formatted", BASE) + answers("sft", [*TUNED[:-1], False], scorer_sha256="ab" * 32)
    third = compare(rescored, SPEC, plan, looks=past, draws=0, now=T0)
    assert [(one["look"], one["level"]) for one in third.looks] == [(3, pytest.approx(second / 2))]
    back = compare(given, SPEC, plan, looks=past + third.looks, draws=0, now=T0)
    assert back.looks == [] and back.results[0]["alpha"] == pytest.approx(second)


def test_answers_of_another_condition_are_no_new_look() -> None:
    plan = registered(conditions=("base_formatted", "sft", "dpo"))
    given = answers("base_formatted", BASE) + answers("sft", TUNED)
    first = compare(given, SPEC, plan, draws=0, now=T0)
    more = compare(
        given + answers("dpo", [*TUNED, True], items_sha256="cd" * 32), SPEC, plan, looks=first.looks, draws=0, now=T0
    )
    assert [(one["before"], one["after"], one["look"]) for one in more.looks] == [
        ("base_formatted", "dpo", 1),
        ("sft", "dpo", 1),
    ]
    before = by_key(first)["base_formatted", "sft", "all"]["evidence_sha256"]
    assert by_key(more)["base_formatted", "sft", "all"]["evidence_sha256"] == before


def test_secondary_hypotheses_share_the_lowest_level() -> None:
    plan = registered(conditions=("base_formatted", "sft", "dpo"))
    given = answers("base_formatted", BASE) + answers("sft", TUNED[:150]) + answers("dpo", TUNED)
    found = by_key(compare(given, SPEC, plan, draws=0, now=T0))
    early = looks([0.5], 0.05).levels[0]
    assert found["base_formatted", "dpo", "all"]["alpha"] == 0.05
    assert {one["alpha"] for one in found.values() if one["role"] == "secondary"} == {early}


@settings(max_examples=200, deadline=None)
@given(st.lists(st.floats(0.01, 1), min_size=1, max_size=12), st.floats(0.001, 0.2))
def test_levels_never_exceed_alpha_but_for_looks_again_at_all_items(fractions: list[float], alpha: float) -> None:
    past: list[Row] = []
    for fraction in fractions:
        past.append({"fraction": fraction, "level": next_level(past, fraction, alpha)})
    assert all(one["level"] >= 0 for one in past)
    early = [one["level"] for one in past if one["fraction"] < max(fractions)]
    assert sum(early) <= alpha * (1 + 1e-9)
    assert sum(one["level"] for one in past) < 2 * alpha * (1 + 1e-9)
    assert next_level([], 1.0, alpha) == pytest.approx(alpha)


# -- evidence and speed


def test_evidence_is_items_and_outcomes() -> None:
    given = answers("base_formatted", BASE) + answers("sft", TUNED)
    found = by_key(compare(given, SPEC, None, draws=0, now=T0))
    assert found == by_key(compare(given[::-1], SPEC, None, draws=0, now=T0))
    changed = by_key(compare([*given[:-1], given[-1] | {"correct": False}], SPEC, None, draws=0, now=T0))
    differs = {key for key in found if found[key]["evidence_sha256"] != changed[key]["evidence_sha256"]}
    assert differs == {("base_formatted", "sft", "all"), ("base_formatted", "sft", given[-1]["item_type"])}
    hashes = {one["evidence_sha256"] for one in found.values()}
    assert len(hashes) == 4 and all(len(one) == len(hashlib.sha256().hexdigest()) for one in hashes)


def test_15000_items_of_10_types_with_10000_draws_take_under_two_seconds() -> None:
    rng = np.random.default_rng(0)
    base = rng.random(15_000) < 0.2
    given = [
        {
            "condition": name, "item_id": f"item-{number:05}", "capability": "instruction_following",
            "item_type": f"type-{number % 10}", "template": f"{number % 200}", "split": "test", "correct": bool(correct),
        }
        for name, right in (("base_formatted", base), ("sft", base ^ (rng.random(15_000) < 0.2)))
        for number, correct in enumerate(right)
    ]  # fmt: skip
    mcnemar(Pairs(1, 2, 3, 4)), clustered([1, 0, 1], [0, 0, 0], "xyz")  # statsmodels is imported
    started = time.process_time()
    found = compare(given, SPEC, registered(15_000), draws=10_000, now=T0)
    assert time.process_time() - started < 2
    assert len(found.results) == 11
