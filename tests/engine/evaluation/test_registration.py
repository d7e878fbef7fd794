"""A registration: what it holds, when it counts, when it is refused, and what departs from it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from engine.core.errors import EvaluationError
from engine.evaluation.registration import body, counts, current, deviations, register, row
from engine.spec.stage import load_spec
from engine.stats.power import mcnemar_effect, mcnemar_n, mcnemar_power
from store.db import Store
from tests.store.rows import T0, evaluation_answer, evaluation_item, run

SPEC = load_spec("stage_1_explicit_instructions").settings.evaluation
assert SPEC is not None
ALL_CONDITIONS = ("base_raw", "base_formatted", "base_few_shot", "sft", "dpo", "reference")
DECODING = {"temperature": 0.0, "max_tokens": 256}
HOUR = timedelta(hours=1)


def made(conditions: tuple[str, ...] = ALL_CONDITIONS, hypothesis: str | None = None, **n: int) -> dict[str, Any]:
    numbers = n or {"instruction_following": 560, "conversation": 60}
    return body(run(), SPEC, "cd" * 32, "ab" * 32, DECODING, conditions, numbers, hypothesis)


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
    assert {(one["test"], one["alternative"]) for one in hypotheses} == {("McNemar exact", "two-sided")}
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
        made(conversation=60)


def test_what_the_test_can_show_is_forecast() -> None:
    found = made()
    assert found["forecast"] == {
        "power": mcnemar_power(0.10, 0.02, 560, 0.05).power,
        "n_needed": mcnemar_n(0.10, 0.02, 0.8, 0.05).n,
        "detectable": pytest.approx(mcnemar_effect(560, 0.12, 0.8, 0.05).effect),
        "discordant": pytest.approx(0.12),
    }
    assert found["forecast"]["power"] > 0.99 and found["forecast"]["n_needed"] < 560
    assert found["expected"] == {"gain": 0.10, "loss": 0.02}
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
    found = made(instruction_following=6)["forecast"]
    assert found["detectable"] is None and found["power"] < 0.05
    equal = SPEC.model_copy(update={"expected_loss": 0.10})
    assert (
        body(run(), equal, "cd", "ab", {}, ALL_CONDITIONS, {"instruction_following": 60})["forecast"]["n_needed"]
        is None
    )


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
        "The test is another than registered: paired t instead of McNemar exact.",
        "0 items of conversation were compared instead of 60.",
        "300 items of instruction_following were compared instead of 560.",
        "Decoding: temperature was 0.7 instead of 0.0.",
        "The condition dpo was registered and not compared.",
    ]
