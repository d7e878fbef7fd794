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
from engine.evaluation.analysis import Analysis, compare
from engine.evaluation.inference import ENOUGH_CLUSTERS
from engine.evaluation.inference.levels import KEPT, level_of_all, next_level
from engine.evaluation.registration import body, row
from engine.spec.stage import load_spec
from engine.stats.clusters import clustered, clustered_effect, clustered_power, clusters_of, design_of, sign_flip
from engine.stats.paired import Pairs, holm, mcnemar, newcombe, shares_bca
from engine.stats.power import looks
from engine.stats.shares import wilson
from store.db import Store
from store.outcomes import shown
from tests.store.rows import T0, run

SPEC = load_spec("stage_1_explicit_instructions").settings.evaluation
assert SPEC is not None
TYPES = ("arithmetic", "lists", "rewriting")
TEMPLATES = 20  # of each type
Row = dict[str, Any]


def answers(
    condition: str, right: Sequence[bool], capability: str = "instruction_following", types: int = 3, **fields: Any
) -> list[Row]:
    return [
        {
            "condition": condition, "item_id": f"{capability[:2]}-{number:05}", "capability": capability,
            "item_type": TYPES[number % types], "template": f"{number % types}-{number // types % TEMPLATES}", "split": "test",
            "correct": bool(correct), "items_sha256": "cd" * 32, "scorer_sha256": "ab" * 32, "at": T0, **fields,
        }
        for number, correct in enumerate(right)
    ]  # fmt: skip


def registered(n: int = 300, conditions: Sequence[str] = ("base_formatted", "sft"), **others: int) -> Row:
    sizes = {
        name: {kind: [number // (3 * TEMPLATES)] * TEMPLATES for kind in TYPES}
        for name, number in {"instruction_following": n, **others}.items()
    }
    made = body(run(), SPEC, "cd" * 32, "ab" * 32, {"temperature": 0}, conditions, sizes)
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
    assert whole["mcnemar_p"] == pytest.approx(6.1e-15, rel=0.01)
    assert whole["p_chi2"] == pytest.approx(2.06e-12, rel=0.01)
    assert (whole["chi2"], whole["effect"]) == (pytest.approx(49.42, abs=0.01), pytest.approx(0.739, abs=1e-3))
    assert (whole["before_lo"], whole["before_hi"]) == wilson(243, 300)
    assert (whole["after_lo"], whole["after_hi"]) == wilson(298, 300)
    assert (whole["newcombe_lo"], whole["newcombe_hi"]) == (newcombe(table).lo, newcombe(table).hi)
    assert (whole["bca_lo"], whole["bca_hi"]) == (shares_bca(table).lo, shares_bca(table).hi)
    assert whole["difference"] == pytest.approx(55 / 300)


def test_templates_within_their_types_decide() -> None:
    found = compare(answers("base_formatted", BASE) + answers("sft", TUNED), SPEC, registered(), now=T0)
    whole = by_key(found)["base_formatted", "sft", "all"]
    types = [TYPES[number % 3] for number in range(300)]
    templates = [f"{number // 3 % TEMPLATES}" for number in range(300)]
    a, b = np.array(TUNED, dtype=float), np.array(BASE, dtype=float)
    expected = clustered(a, b, templates, types)
    assert [whole[name] for name in ("clusters", "lo", "hi", "p", "se", "df", "icc")] == pytest.approx(
        [60, expected.lo, expected.hi, expected.p, expected.se, expected.df, expected.icc]
    )
    assert [whole[f"clustered_{name}"] for name in ("lo", "hi", "p")] == [whole[name] for name in ("lo", "hi", "p")]
    clusters = clusters_of(a - b, templates, types)
    assert whole["flip_p"] == sign_flip(clusters).p
    design = design_of(clusters.sizes, clusters.stratum)
    level = level_of_all(0.05)
    assert expected.icc is not None
    assert whole["design_effect"] == pytest.approx(design.effect(expected.icc))
    assert whole["power"] == clustered_power(0.10, 0.02, design, SPEC.expected_icc, level).power
    assert whole["detectable"] == clustered_effect(design, 59 / 300, expected.icc, 0.8, level).effect
    assert whole["p_not_worse"] < 1e-6 < whole["p"] + 1
    of_type = by_key(found)["base_formatted", "sft", "lists"]
    mine = [place for place in range(300) if types[place] == "lists"]
    alone = clustered(a[mine], b[mine], [templates[place] for place in mine])
    assert [of_type[name] for name in ("clusters", "lo", "hi", "p")] == pytest.approx([20, alone.lo, alone.hi, alone.p])
    assert (whole["role"], whole["registered"], whole["alpha"], whole["p_corrected"]) == (
        "primary",
        True,
        level,
        whole["p"],
    )
    assert shown(whole)


def test_the_store_takes_the_rows(tmp_path: Path) -> None:
    found = compare(
        answers("base_raw", BASE) + answers("base_formatted", BASE) + answers("dpo", TUNED) + answers("reference", TUNED),
        SPEC, registered(conditions=("base_raw", "base_formatted", "dpo")), draws=200, now=T0,
    )  # fmt: skip
    with Store.open(tmp_path / "cai.duckdb") as store, store.reader() as reader:
        store.append({"evaluation_results": [one | {"run_id": "run-a"} for one in found.results]})
        store.append({"evaluation_looks": [one | {"run_id": "run-a"} for one in found.looks]})
        assert len(reader.query("SELECT * FROM evaluation_results")) == 5 * 4
        assert len(reader.query("SELECT * FROM evaluation_looks")) == 2


def test_which_conditions_are_compared() -> None:
    given = [row for name in ("base_raw", "base_few_shot", "sft", "dpo", "reference") for row in answers(name, BASE)]
    found = compare(given, SPEC, None, draws=0, now=T0)
    pairs = {(one["before"], one["after"]) for one in found.results}
    bases = ("base_raw", "base_few_shot")
    wanted = {(one, other) for one in bases for other in ("sft", "dpo", "reference")}
    assert pairs == wanted | {("sft", "dpo"), ("dpo", "reference")}
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
        assert (one["alpha"], shown(one)) == (0.05, False)
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
    assert not any(shown(one) for one in found.values())
    assert all(one["p_corrected"] >= primary["p"] for one in secondary)

    found = by_key(compare(given + answers("dpo", better), SPEC, registered(conditions=conditions), draws=0, now=T0))
    secondary = [one for one in found.values() if one["role"] == "secondary"]
    adjusted = holm([one["p"] for one in secondary]).adjusted
    first = found["base_formatted", "dpo", "all"]["p"]
    assert [one["p_corrected"] for one in secondary] == pytest.approx([max(first, p) for p in adjusted])
    assert shown(found["base_formatted", "sft", "all"])
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


def test_too_few_templates_are_described_and_not_tested() -> None:
    given = answers("base_formatted", BASE, template="one") + answers("sft", TUNED, template="one")
    found = compare(given, SPEC, registered(), draws=0, now=T0).results
    assert {(one["role"], one["registered"], one["p_corrected"], one["q"]) for one in found} == {
        ("descriptive", False, None, None)
    }
    assert [one["clusters"] for one in found] == [3, 1, 1, 1]
    # One template can turn its sign in two ways, which are as far from zero as each other.
    assert {(one["test"], one["p"], one["clustered_p"], one["power"]) for one in found[1:]} == {
        ("sign flips of clusters", 1.0, None, None)
    }
    assert not any(shown(one) for one in found)


def test_a_type_with_few_templates_is_no_hypothesis_and_one_that_lost_some_still_counts() -> None:
    def spoilt(condition: str, right: Sequence[bool]) -> list[Row]:
        rows = answers(condition, right)
        return [row | ({"template": "one"} if row["item_type"] == "lists" else {}) for row in rows]

    found = compare(spoilt("base_formatted", BASE) + spoilt("sft", TUNED), SPEC, registered(), draws=0, now=T0)
    rows = by_key(found)
    assert rows["base_formatted", "sft", "lists"]["role"] == "descriptive"
    others = [rows["base_formatted", "sft", name] for name in ("arithmetic", "rewriting")]
    adjusted = holm([*(one["p"] for one in others), 1.0]).adjusted
    first = rows["base_formatted", "sft", "all"]["p"]
    assert [one["p_corrected"] for one in others] == pytest.approx([max(first, p) for p in adjusted[:2]])
    sizes = {"instruction_following": {"arithmetic": [5] * 20, "lists": [25] * (ENOUGH_CLUSTERS - 1)}}
    made = body(run(), SPEC, "cd" * 32, "ab" * 32, {}, ("base_formatted", "sft"), sizes)
    assert made["descriptive"] == ["lists"]
    plan = row("run-a", made, T0 - timedelta(hours=1))
    found = compare(answers("base_formatted", BASE) + answers("sft", TUNED), SPEC, plan, draws=0, now=T0)
    assert by_key(found)["base_formatted", "sft", "lists"]["role"] == "exploratory"


def test_where_no_template_differs_from_its_type_an_interval_is_as_wide_as_they_are_few() -> None:
    whole = compare(answers("base_formatted", BASE) + answers("sft", BASE), SPEC, None, now=T0).results[0]
    assert (whole["p"], whole["difference"], whole["detectable"], whole["clustered_lo"]) == (1.0, 0.0, None, None)
    assert whole["lo"] < whole["newcombe_lo"] < 0 < whole["newcombe_hi"] < whole["hi"]
    assert "one pair a template" in whole["interval_method"]
    every = compare(answers("base_formatted", [False] * 300) + answers("sft", [True] * 300), SPEC, registered(), now=T0)
    whole = every.results[0]
    assert (whole["test"], whole["p"]) == ("sign flips of clusters", pytest.approx(0.5**59)) and shown(whole)
    assert 0.9 < whole["lo"] < whole["newcombe_lo"] < whole["hi"] == 1.0


# -- looks


def test_looks_share_alpha() -> None:
    spent = (1 - KEPT) * 0.05
    plan, first, second = registered(), looks([0.5], spent).levels[0], looks([0.5, 1], spent).levels[1]
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
    assert first + second == pytest.approx(spent)
    assert [one["alpha"] for one in whole.results] == pytest.approx([second] * 4)
    past = half.looks + whole.looks
    rescored = answers("base_formatted", BASE) + answers("sft", [*TUNED[:-1], False], scorer_sha256="ab" * 32)
    third = compare(rescored, SPEC, plan, looks=past, draws=0, now=T0)
    assert [(one["look"], one["level"]) for one in third.looks] == [(3, pytest.approx(KEPT * 0.05 / 2))]
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
    early = looks([0.5], (1 - KEPT) * 0.05).levels[0]
    assert found["base_formatted", "dpo", "all"]["alpha"] == level_of_all(0.05) == pytest.approx(0.045)
    assert {one["alpha"] for one in found.values() if one["role"] == "secondary"} == {early}


@settings(max_examples=200, deadline=None)
@given(st.lists(st.floats(0.01, 1), min_size=1, max_size=12), st.floats(0.001, 0.2))
def test_levels_never_add_up_to_more_than_alpha(fractions: list[float], alpha: float) -> None:
    past: list[Row] = []
    for fraction in fractions:
        past.append({"fraction": fraction, "level": next_level(past, fraction, alpha)})
    assert all(one["level"] >= 0 for one in past)
    assert sum(one["level"] for one in past) <= alpha * (1 + 1e-9)
    assert next_level([], 1.0, alpha) == pytest.approx((1 - KEPT) * alpha)
    # Whatever looks there were before, the one at all items leaves what is kept for looks again.
    rising = [one for one in sorted(set(fractions)) if one < 1]
    past = []
    for fraction in [*rising, 1.0]:
        past.append({"fraction": fraction, "level": next_level(past, fraction, alpha)})
    assert sum(one["level"] for one in past) == pytest.approx((1 - KEPT) * alpha)
    again = [next_level(past, 1.0, alpha)]
    past.append({"fraction": 1.0, "level": again[0]})
    again.append(next_level(past, 1.0, alpha))
    assert again == pytest.approx([KEPT * alpha / 2, KEPT * alpha / 4])


def test_what_an_earlier_version_spent_is_spent() -> None:
    past = [{"fraction": 1.0, "level": 0.05}]
    assert next_level(past, 1.0, 0.05) == 0.0
    assert next_level([{"fraction": 0.5, "level": 0.0031}, {"fraction": 1.0, "level": 0.0469}], 1.0, 0.05) < 1e-12


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
    mcnemar(Pairs(1, 2, 3, 4))  # statsmodels is imported
    started = time.process_time()
    found = compare(given, SPEC, registered(15_000), draws=10_000, now=T0)
    assert time.process_time() - started < 2
    assert len(found.results) == 11
