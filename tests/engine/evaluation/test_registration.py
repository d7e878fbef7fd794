"""A registration: what it holds, when it counts, when it is refused, and what departs from it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from engine.analyses.offers import preregister
from engine.core.errors import EvaluationError
from engine.evaluation import Item
from engine.evaluation.inference import ENOUGH_CLUSTERS
from engine.evaluation.inference.levels import level_of_all
from engine.evaluation.registration import (
    body,
    counts,
    current,
    design_over,
    deviations,
    register,
    row,
    sizes_of,
)
from engine.spec.stage import load_spec
from engine.stats.clusters import clustered_effect, clustered_power, clusters_needed
from engine.stats.power import mcnemar_n, mcnemar_power
from store.db import Store
from tests.store.rows import T0, evaluation_answer, evaluation_item, run

SPEC = load_spec("stage_1_explicit_instructions").settings.evaluation
assert SPEC is not None
ALL_CONDITIONS = ("base_raw", "base_formatted", "base_few_shot", "sft", "dpo", "reference")
DECODING = {"temperature": 0.0, "max_tokens": 256}
HOUR = timedelta(hours=1)


SIZES = {
    "instruction_following": {f"type-{number:02}": [2] * 20 for number in range(14)},
    "conversation": {f"talk-{number}": [3] * 5 for number in range(4)},
}


def made(conditions: tuple[str, ...] = ALL_CONDITIONS, hypothesis: str | None = None, **sizes: Any) -> dict[str, Any]:
    return body(run(), SPEC, "cd" * 32, "ab" * 32, DECODING, conditions, sizes or SIZES, hypothesis)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "cai.duckdb") as store:
        store.append({"evaluation_items": [evaluation_item("test-1"), evaluation_item("dev-1", split="dev")]})
        yield store


def test_one_primary_hypothesis_and_the_secondary_ones() -> None:
    hypotheses = made()["hypotheses"]
    (primary,) = [one for one in hypotheses if one["role"] == "primary"]
    assert (primary["capability"], primary["item_type"]) == ("instruction_following", "all")
    assert (primary["before"], primary["after"]) == ("base_formatted", "dpo")
    assert {(one["test"], one["alternative"]) for one in hypotheses} == {("cluster-robust t (CR2)", "two-sided")}
    secondary = [(one["capability"], one["before"], one["after"], one["item_type"]) for one in hypotheses[1:]]
    assert secondary[0] == ("instruction_following", "base_formatted", "dpo", "each")
    assert secondary[-1] == ("conversation", "base_formatted", "dpo", "all")
    assert {one[1:3] for one in secondary[1:-1]} == {
        ("base_raw", "sft"), ("base_raw", "dpo"), ("base_formatted", "sft"), ("base_few_shot", "sft"),
        ("base_few_shot", "dpo"), ("sft", "dpo"),
    }  # fmt: skip
    assert len(secondary) == 8


def test_conditions_that_are_not_planned() -> None:
    assert made(("base_formatted", "sft"))["hypotheses"][0]["after"] == "sft"
    assert made(("base_few_shot", "base_raw", "sft"))["hypotheses"][0]["before"] == "base_raw"
    for conditions in (("base_formatted", "reference"), ("sft", "dpo")):
        with pytest.raises(EvaluationError, match="no comparison to register"):
            made(conditions)
    with pytest.raises(EvaluationError, match="no comparison to register"):
        made(conversation=SIZES["conversation"])
    with pytest.raises(EvaluationError, match="no comparison to register") as raised:
        made(instruction_following={"a": [10] * (ENOUGH_CLUSTERS - 1)})
    assert "there are 9" in raised.value.hint


def test_what_the_test_can_show_is_forecast() -> None:
    found = made()
    design, level, icc = design_over(SIZES["instruction_following"]), level_of_all(0.05), SPEC.expected_icc
    needed = clusters_needed(0.10, 0.02, design, icc, 0.8, level).design
    assert found["forecast"] == {
        "level": level, "n": 560, "clusters": 280, "icc": icc, "design_effect": pytest.approx(1.1),
        "df": pytest.approx(266), "power": clustered_power(0.10, 0.02, design, icc, level).power,
        "n_needed": needed.n, "clusters_needed": needed.clusters,
        "detectable": pytest.approx(clustered_effect(design, 0.12, icc, 0.8, level).effect), "discordant": pytest.approx(0.12),
        "independent": {
            "power": mcnemar_power(0.10, 0.02, 560, level).power, "n_needed": mcnemar_n(0.10, 0.02, 0.8, level).n,
        },
    }  # fmt: skip
    assert found["forecast"]["power"] > 0.99 and found["forecast"]["n_needed"] < 560
    assert found["clusters"]["conversation"] == {f"talk-{number}": 5 for number in range(4)}
    assert found["likeness"] == {"icc": icc, "prior": icc, "pilot": None}
    piloted = body(run(), SPEC, "cd", "ab", {}, ALL_CONDITIONS, SIZES, None, {"icc": 0.4, "prior": icc, "pilot": 0.4})
    assert piloted["expected"]["icc"] == 0.4 and piloted["forecast"]["power"] < found["forecast"]["power"]
    assert found["expected"] == {"gain": 0.10, "loss": 0.02, "icc": icc}
    assert (found["n"], found["alpha"], found["margin"]) == (
        {"instruction_following": 560, "conversation": 60},
        0.05,
        0.05,
    )
    assert (found["items_sha256"], found["scorer_sha256"], found["decoding"]) == ("cd" * 32, "ab" * 32, DECODING)
    assert found["run"]["fingerprint"] == "fp-1"
    for name in ("family", "correction", "looks", "stop_rule", "statement"):
        assert len(found[name]) > 20
    assert made(hypothesis="Tuning teaches it lists.")["statement"] == "Tuning teaches it lists."


def test_too_few_items_show_no_effect() -> None:
    few = {"instruction_following": {"a": [1] * 10}}
    found = made(**few)["forecast"]
    assert found["detectable"] is None and found["power"] < 0.1
    equal = SPEC.model_copy(update={"expected_loss": 0.10})
    found = body(run(), equal, "cd", "ab", {}, ALL_CONDITIONS, SIZES)["forecast"]
    assert (found["n_needed"], found["clusters_needed"], found["independent"]) == (None, None, None)
    assert "are equal" in found["reason"]
    nearly = SPEC.model_copy(update={"expected_gain": 0.3, "expected_loss": 0.299})
    found = body(run(), nearly, "cd", "ab", {}, ALL_CONDITIONS, SIZES)["forecast"]
    assert found["n_needed"] is None and "would be needed" in found["reason"] and found["power"] < 0.1


def test_types_without_enough_templates_are_named_and_no_hypotheses() -> None:
    types = {"many": [2] * 20, "few": [5] * (ENOUGH_CLUSTERS - 1)}
    found = made(instruction_following=types)
    assert found["descriptive"] == ["few"] and "each" in {one["item_type"] for one in found["hypotheses"]}
    found = made(instruction_following={"a": [5] * 9, "b": [5] * 9})
    assert found["descriptive"] == ["a", "b"] and {one["item_type"] for one in found["hypotheses"]} == {"all"}


def test_items_are_counted_by_template() -> None:
    items = [Item(f"i{n}", "conversation", "memory", f"t{n % 3}", "test", "", None, {}) for n in range(8)]
    assert sizes_of(items) == {"conversation": {"memory": [3, 3, 2]}}


def test_a_registration_is_stored_and_found(store: Store) -> None:
    with store.reader() as reader:
        assert current(reader, "run-a") is None
        first = register(reader, store, "run-a", made(), T0)
        second = register(reader, store, "run-a", made(hypothesis="Another claim."), T0 + HOUR)
        register(reader, store, "run-b", made(), T0 + 2 * HOUR)
        found = current(reader, "run-a")
        assert found == second and found["body"]["statement"] == "Another claim."
        assert len(reader.query("SELECT * FROM registrations WHERE run_id = 'run-a'")) == 2
        assert first["sha256"] != second["sha256"] and len(first["sha256"]) == 64
        again = register(reader, store, "run-a", made(), T0 + 3 * HOUR)  # as the first, and the newest all the same
        assert again["sha256"] == first["sha256"] and current(reader, "run-a") == again


def test_the_hash_is_that_of_the_body() -> None:
    shuffled = dict(reversed(made().items()))
    assert row("run-a", shuffled, T0)["sha256"] == row("run-b", json.loads(json.dumps(made())), T0 + HOUR)["sha256"]
    assert row("run-a", made() | {"alpha": 0.1}, T0)["sha256"] != row("run-a", made(), T0)["sha256"]


@pytest.mark.parametrize("condition", ["sft", "dpo"])
def test_once_a_tuned_model_has_answered_it_is_too_late(store: Store, condition: str) -> None:
    store.append({"evaluation_answers": [evaluation_answer("test-1", condition, True)]})
    with store.reader() as reader:
        with pytest.raises(EvaluationError, match=f"1 test answers of {condition}") as raised:
            register(reader, store, "run-a", made(), T0)
        assert "worth nothing" in raised.value.title and "exploratory" in raised.value.hint
        assert current(reader, "run-a") is None
        register(reader, store, "run-b", made(), T0)  # another run's answers are no matter


def test_answers_of_the_base_and_on_the_dev_split_are_no_results(store: Store) -> None:
    rows = [evaluation_answer("test-1", "base_formatted", True), evaluation_answer("dev-1", "sft", True)]
    store.append({"evaluation_answers": [*rows, evaluation_answer("test-1", "reference", True)]})
    with store.reader() as reader:
        assert register(reader, store, "run-a", made(), T0) == current(reader, "run-a")


def test_a_registration_counts_from_before_the_first_tuned_answer() -> None:
    registration = row("run-a", made(), T0)
    base = evaluation_answer("a", "base_raw", True, at=T0 - HOUR) | {"split": "test"}
    tuned = evaluation_answer("a", "sft", True, at=T0 + HOUR) | {"split": "test"}
    assert counts(registration, [base, tuned])
    assert not counts(registration, [base, tuned, tuned | {"at": T0}])
    assert counts(registration, [base, tuned, tuned | {"at": T0, "split": "dev"}])
    assert not counts(registration, [base, tuned | {"items_sha256": "ff" * 32}])
    assert counts(made(), [base, tuned])  # a body alone has no time


def test_deviations() -> None:
    found = made()
    same = {
        name: found[name] for name in ("items_sha256", "scorer_sha256", "n", "decoding", "conditions", "alpha", "test")
    }
    assert deviations(found, same) == [] == deviations(found, {})
    told = deviations(
        found,
        same
        | {
            "items_sha256": "ff" * 32, "scorer_sha256": "ee" * 32, "alpha": 0.1, "test": "paired t",
            "n": {"instruction_following": 300}, "decoding": {"temperature": 0.7, "max_tokens": 256},
            "conditions": [name for name in ALL_CONDITIONS if name != "dpo"],
        },
    )  # fmt: skip
    assert told == [
        "The items are others than registered: ffffffffffff instead of cdcdcdcdcdcd.",
        "The verifiers were changed after the registration: eeeeeeeeeeee instead of abababababab.",
        "The level of the test is another than registered: 0.1 instead of 0.05.",
        "The test is another than registered: paired t instead of cluster-robust t (CR2).",
        "0 items of conversation were compared instead of 60.",
        "300 items of instruction_following were compared instead of 560.",
        "Decoding: temperature was 0.7 instead of 0.0.",
        "The condition dpo was registered and not compared.",
    ]


def test_a_repeat_is_not_registered_and_is_told_whose_registration_counts(tmp_path: Path) -> None:
    with Store.open(tmp_path / "s.duckdb") as store:
        store.append({"runs": [run("run-a"), run("run-b", manifest={"repeat_of": "run-a", "repeat": 1})]})
        with pytest.raises(EvaluationError, match="run run-b repeats run-a") as raised:
            preregister(store, "run-b")
        assert "cai preregister run-a --show" in raised.value.hint
        with store.reader() as reader:
            assert current(reader, "run-b") is None
