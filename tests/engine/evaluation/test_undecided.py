"""What rules leave to a reader: on tricky answers, in the audit, in a comparison, and once somebody has read it."""

from __future__ import annotations

import hashlib
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from engine.core.data import read_data
from engine.evaluation import Item, Plant, Verdict
from engine.evaluation.analysis import compare
from engine.evaluation.gap import gap_checks
from engine.evaluation.items import tricky_answers
from engine.evaluation.needs.readers import person
from engine.evaluation.scorer_audit import blinded, blocked, broken, confounds, error_rates, undecided
from engine.evaluation.verifiers import verify
from engine.phases.evaluation import conclude
from store.db import Store
from tests.engine.evaluation.examined import BASE, SMALL, Examined, evaluate, query
from tests.engine.evaluation.test_scorer_audit import SPEC, answered
from tests.engine.training.training_run import RUN, settings, trainable_store
from tests.store.rows import T0

Row = dict[str, Any]


def left_open(rows: list[Row], *numbers: int) -> list[Row]:
    """The same answers, of which the rules abstained from some."""
    return [row | ({"correct": None, "abstained": True} if i in numbers else {}) for i, row in enumerate(rows)]


def test_tricky_answers_are_split_by_their_hash_and_cover_all_types() -> None:
    """All of the first round are for development; of the second a third by hash, and the rest for the audit."""
    rounds = Counter((row["round"], row["half"]) for row in read_data("evaluation_tricky"))
    assert set(rounds) == {(1, "development"), (2, "development"), (2, "audit")}
    for row in read_data("evaluation_tricky"):
        digest = hashlib.sha256(f"{row['item_id']}\0{row['answer']}".encode()).digest()
        if row["round"] == 2:
            assert (digest[0] % 3 == 0) == (row["half"] == "development")
    for half, least in (("development", 10), ("audit", 10)):
        by_type = Counter((plant.item.item_type, plant.right) for plant in tricky_answers(half))
        assert len({item_type for item_type, _ in by_type}) == 18 and min(by_type.values()) >= least
    assert sum(rounds.values()) >= 2000


@pytest.mark.parametrize(
    ("half", "false_at_most", "open_at_most"), [("development", 0.02, 0.08), ("audit", 0.05, 0.10)]
)
def test_error_rates_on_tricky_answers_do_not_rise(half: str, false_at_most: float, open_at_most: float) -> None:
    """At most so many false verdicts overall, 12 % of a type's; what is left open is counted over all types."""
    counts: dict[str, Counter[tuple[bool, bool | None]]] = {}
    for plant in tricky_answers(half):
        for subject in ("all", plant.item.item_type):
            seen = plant.right, verify(plant.item, plant.answer).correct
            counts.setdefault(subject, Counter())[seen] += 1
    for subject, found in counts.items():
        at_most = false_at_most if subject == "all" else 0.12
        for right in (True, False):
            n = sum(found[right, verdict] for verdict in (True, False, None))
            assert found[right, not right] <= at_most * n, (subject, right)
    assert counts["all"][True, None] + counts["all"][False, None] <= open_at_most * counts["all"].total()


def test_error_rates_are_told_by_type_and_of_all() -> None:
    def says(item: Item, answer: str) -> Verdict:
        verdict = {"yes": True, "no": False}.get(answer)
        return Verdict(verdict, False, bool(verdict), answer)

    def plant(item_type: str, answer: str, right: bool) -> Plant:
        item = Item("x", "instruction_following", item_type, "x", "dev", "?", None, {})
        return Plant(item, "of a kind", answer, right)

    rows = error_rates(
        says,
        [plant("a", "yes", True), plant("a", "no", True), plant("a", "yes", False), plant("b", "?", False),
         plant("b", "no", False)],
    )  # fmt: skip
    told = {(row["part"], row["subject"]): (row["measured"], row["n"]) for row in rows}
    assert told["false accepts", "all"] == (pytest.approx(1 / 3), 3) and told["false accepts", "b"] == (0, 2)
    assert told["false rejects", "all"] == (0.5, 2) and told["false rejects", "b"] == (None, 0)
    assert told["abstains", "all"] == (0.2, 5) and told["abstains", "b"] == (0.5, 2)
    assert all(row["passed"] is None and row["detail"] == {} for row in rows) and blocked(rows) == []


def test_a_claim_needs_few_undecided_answers_and_the_others_do_not_count_them() -> None:
    rows = answered("sft", ["yes"] * 30 + ["no"] * 30)
    (few,), (many,) = undecided(left_open(rows, 0, 30, 31)), undecided(left_open(rows, *range(7)))
    assert (few["measured"], few["n"], few["passed"]) == (0.05, 60, True)
    assert many["passed"] is False and blocked([many]) == ["undecided sft (instruction_following)"]
    assert broken([many]) == [] and many["detail"]["abstained"] == 7 and many["detail"]["read"] == 0
    (short,) = undecided(left_open(rows[:19], *range(9)))
    assert short["measured"] == 9 / 19 and short["passed"] is None and blocked([short]) == []
    (padding,) = (row for row in confounds(left_open(rows, 0), SPEC) if row["part"] == "padding")
    assert padding["n"] == 29


def test_an_undecided_answer_is_in_no_comparison_and_is_read_first() -> None:
    before, after = answered("base_formatted", ["no"] * 60), answered("sft", ["yes"] * 30 + ["no"] * 30)
    whole = next(row for row in compare(before + after, SPEC, None, now=T0).results if row["item_type"] == "all")
    made = compare(left_open(before, 1) + left_open(after, 2, 40), SPEC, None, now=T0)
    less = next(row for row in made.results if row["item_type"] == "all")
    assert (whole["n"], whole["after_right"], less["n"], less["after_right"]) == (60, 30, 57, 28)
    first = blinded(left_open(before, 1), left_open(after, 2, 40), seed=3, k=3)
    assert {one.item_id for one in first} == {"i0001", "i0002", "i0040"}


def test_a_persons_word_for_an_open_answer_is_no_agreement_with_the_scorer() -> None:
    rows = answered("sft", ["yes"] * 4 + ["no"] * 4)
    rows = [rows[0] | {"abstained": True}, *rows[1:]]
    labels = [
        {"subject_kind": "evaluation_answer", "subject_id": f"sft/{row['item_id']}", "label": "good", "at": T0}
        for row in rows
    ]
    (told,) = person(labels, rows, SPEC)
    assert told["n"] == 7


def test_the_gap_gate_counts_what_is_undecided_against_itself() -> None:
    def dev(condition: str, texts: list[str], *numbers: int) -> list[Row]:
        return [row | {"split": "dev"} for row in left_open(answered(condition, texts), *numbers)]

    spec = SPEC.model_copy(update={"gap_conditions": ["base_raw"], "reference": "a model"})
    rows = dev("base_raw", ["no"] * 10, 0) + dev("reference", ["yes"] * 10, 0)
    told = {check.name: check.measured for check in gap_checks(rows, spec)}
    assert told["base_raw_right"] == 0.1 and told["reference_right"] == 0.9


@pytest.mark.integration
def test_what_somebody_read_stands_for_the_verdict_until_it_is_withdrawn(tmp_path: Path, monkeypatch: Any) -> None:
    path = trainable_store(tmp_path / "a.duckdb", Path("gemma-3-270m"), settings(**SMALL), fingerprint=BASE)
    evaluate(path, monkeypatch, Examined(), conversations="false")
    [row] = query(path, "SELECT * FROM evaluation_answers WHERE condition = 'base_raw' ORDER BY item_id LIMIT 1")
    subject = {"run_id": RUN, "subject_kind": "evaluation_answer", "subject_id": f"base_raw/{row['item_id']}",
               "reader": "ana"}  # fmt: skip
    found = []
    with Store.open(path) as store:
        store.put({"evaluation_answers": [row | {"correct": None, "abstained": True}]})
        for label in (None, "good", "bad", "unsure"):
            if label is not None:
                store.put({"person_labels": [{**subject, "label": label, "note": "", "at": datetime.now(UTC)}]})
            conclude(store, RUN)
            with store.reader() as reader:
                found += [one["correct"] for one in reader.query(
                    "SELECT correct FROM evaluation_answers WHERE condition = 'base_raw' AND item_id = ?",
                    [row["item_id"]],
                )]  # fmt: skip
    assert found == [None, True, False, None]
