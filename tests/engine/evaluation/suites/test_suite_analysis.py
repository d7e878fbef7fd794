"""Statistics of suites without the harness: what is a cluster, which figures stand beside which, what is told."""

from __future__ import annotations

import random
import sys
from collections.abc import Mapping
from typing import Any

import pytest

from engine.core import extras
from engine.core.errors import EvaluationError
from engine.evaluation.suites import DOCUMENT, SUBTASK
from engine.evaluation.suites.analysis import NONE, WILSON, analysed
from engine.evaluation.suites.harness import Suite, load
from engine.stats.clusters import CR2
from tests.store.rows import T0

Row = dict[str, Any]


class Task:
    """As much of a task of the harness as the statistics ask for."""

    def higher_is_better(self) -> dict[str, bool]:
        return {"acc": True, "loss": False}


def answered(task: str, doc_id: int, condition: str, cluster: str = "", **metrics: float) -> Row:
    return {"task": task, "doc_id": doc_id, "condition": condition, "cluster": cluster or str(doc_id),
            "metrics": metrics}  # fmt: skip


def suite_of(*tasks: str, pooled: Mapping[str, Any] | None = None) -> Suite:
    return Suite("s", {name: Task() for name in tasks}, pooled or {})


def of(rows: list[Row], **wanted: object) -> Row:
    (found,) = (row for row in rows if wanted.items() <= row.items())
    return found


def test_single_questions_have_wilsons_interval_and_passages_have_not() -> None:
    rows = [answered("t", at, "base_raw", acc=float(at % 4 == 0)) for at in range(40)]
    rows += [answered("u", at, "base_raw", f"p{at // 4}", acc=float(at % 12 < 5)) for at in range(48)]
    means, results = analysed(suite_of("t", "u"), rows, T0)
    single, passages = of(means, task="t"), of(means, task="u")
    assert (single["interval_method"], single["mean"]) == (WILSON, 0.25)
    assert (single["lo"], single["hi"]) == pytest.approx((0.1419, 0.4019), abs=1e-4)
    assert (passages["interval_method"], passages["n"], passages["clusters"]) == (CR2, 48, 12)
    assert passages["hi"] - passages["lo"] > 2 * 0.14, "wider than of 48 questions that have nothing in common"
    assert results == []


def test_a_group_of_ten_tasks_is_judged_by_tasks_and_a_smaller_one_by_documents() -> None:
    rng = random.Random(3)
    names = [f"t{number:02d}" for number in range(12)]
    rows = []
    for number, name in enumerate(names):  # each task gains or loses as a whole
        for at in range(30):
            before = float(rng.random() < 0.4)
            rows.append(answered(name, at, "base_formatted", acc=before))
            rows.append(answered(name, at, "sft", acc=before if at >= 10 else float(number % 3 > 0)))
    many = suite_of(*names, pooled={"g": (tuple(names), ("acc",))})
    few = suite_of(*names[:4], pooled={"g": (tuple(names[:4]), ("acc",))})
    means, results = analysed(many, rows, T0)
    by_task = of(results, task="g", before="base_formatted", after="sft")
    assert (by_task["unit"], by_task["n"], by_task["clusters"], by_task["whole"]) == (SUBTASK, 360, 12, True)
    assert of(means, task="g", condition="sft")["interval_method"] == CR2
    assert of(results, task="t00")["whole"] is False
    independent = by_task["newcombe_hi"] - by_task["newcombe_lo"]
    assert by_task["hi"] - by_task["lo"] > 1.5 * independent, "tasks that move as a whole are no 360 draws"
    _, smaller = analysed(few, [row for row in rows if row["task"] in names[:4]], T0)
    by_document = of(smaller, task="g")
    assert (by_document["unit"], by_document["clusters"]) == (DOCUMENT, 120)


def test_a_metric_that_is_no_yes_or_no_has_no_counts_of_them() -> None:
    rng = random.Random(1)
    rows = []
    for at in range(60):
        worth = rng.random()
        rows.append(answered("t", at, "base_raw", loss=worth))
        rows.append(answered("t", at, "dpo", loss=worth - 0.1 + 0.05 * rng.random()))
    means, results = analysed(suite_of("t"), rows, T0)
    row = of(results, before="base_raw", after="dpo")
    assert row["gained"] is row["mcnemar_p"] is row["flip_p"] is None and row["higher_is_better"] is False
    assert -0.1 < row["lo"] < row["difference"] < row["hi"] < -0.05 and row["p"] < 1e-6 and row["dz"] < -3
    assert of(means, condition="dpo")["interval_method"] == CR2


def test_few_documents_are_described_and_not_tested_and_no_spread_has_no_interval() -> None:
    rows = [
        answered("t", at, name, acc=float(at < 4 + (name == "sft"))) for at in range(9) for name in ("base_raw", "sft")
    ]
    rows += [answered("u", at, "base_raw", "one", acc=1.0) for at in range(9)]
    means, results = analysed(suite_of("t", "u"), rows, T0)
    row = of(results, task="t")
    assert row["p"] is row["lo"] is row["q"] is None and (row["gained"], row["lost"]) == (1, 0)
    assert of(means, task="u")["interval_method"] == NONE


def test_only_documents_that_both_conditions_answered_are_compared() -> None:
    rows = [answered("t", at, "base_raw", acc=1.0) for at in range(30)]
    rows += [answered("t", at, "sft", acc=float(at % 2)) for at in range(10, 40)]
    _, results = analysed(suite_of("t"), rows, T0)
    row = of(results, task="t")
    assert (row["n"], row["before_mean"], row["after_mean"], row["lost"]) == (20, 1.0, 0.5, 10)


def test_without_the_harness_it_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lm_eval.tasks", None)
    monkeypatch.setattr(extras, "installed", lambda name: None)
    with pytest.raises(EvaluationError) as caught:
        load(["arc"])
    assert "not installed" in caught.value.title and "[eval]" in caught.value.hint
    assert "Nothing was asked" in caught.value.hint
