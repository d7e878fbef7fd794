"""Critics of instructions: shown, scaled and audited on items of the kind that a run asks for, or no filter."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from engine.analyses.offers import recheck
from engine.core import data as shipped
from engine.core.data import read_data
from engine.critics import Subject, for_kind
from engine.critics.audit import audited_items, file_of, parts_of
from engine.critics.label import LabelCritic
from engine.spec.prompts import GRADE_QUESTIONS
from tests.engine.fakes import FakeModel, data_rows, run_engine

KINDS = ("explicit", "implicit", "generation", "evaluation", "revision")
# Whatever its audit says, a critic may filter: what is left to hold it back is what it was audited on.
EASY = {"critics.instruction": "[grade]", "critics.sample": "[grade]", "critics.min_auc": "0.0",
        "instructions.round": "4", "review.ask": "[]"}  # fmt: skip
STAGE: dict[str, Any] = {"spec": "stage_2_implicit_instructions", "pilot": 6, "overrides": EASY}


@pytest.mark.parametrize("kind", KINDS)
def test_an_instruction_is_graded_by_the_examples_and_the_question_of_its_kind(kind: str) -> None:
    (ask,) = LabelCritic("grade", "instruction", 1, asked=kind).asks(Subject("i", "Name a tree."))
    shown, item = ask.request.prompt[: ask.request.shared], ask.request.prompt[ask.request.shared :]
    assert all(row["text"] in shown for row in read_data(for_kind("grade_instructions", kind)))
    assert GRADE_QUESTIONS[kind] in shown and item.endswith(GRADE_QUESTIONS[kind]) and "Name a tree." in item


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_items_to_audit_its_critics_on(kind: str) -> None:
    assert parts_of("instruction", kind) == (["planted", "own", "fresh"] if kind == "explicit" else ["planted"])
    labels = [is_good for _, is_good in audited_items("instruction", "planted", 40, kind)]
    assert (labels.count(True), labels.count(False)) == (20, 20)
    assert file_of("sample", "planted", kind) == "calibration_pairs"  # there is one set of pairs


def test_a_run_audits_its_instruction_critics_on_its_own_kind(tmp_path: Path, monkeypatch: Any) -> None:
    opened = run_engine(tmp_path / "a.duckdb", monkeypatch, FakeModel(), **STAGE, until="audit")
    (row,) = [row for row in data_rows(opened)["audits"] if row["subject_kind"] == "instruction"]
    detail = json.loads(row["detail"])
    assert (row["part"], row["n_good"], row["n_bad"], row["may_filter"]) == ("planted", 20, 20, True)
    assert detail["asked"] == "implicit" and all(key.startswith("ci2-") for key in detail["labels"])
    opened.close()


def test_a_critic_that_was_audited_on_no_items_of_the_kind_is_no_filter_and_the_run_says_so(
    tmp_path: Path, monkeypatch: Any
) -> None:
    data = tmp_path / "data"
    shutil.copytree(shipped.DATA, data)
    (data / "calibration/calibration_instructions_implicit.jsonl").unlink()
    monkeypatch.setattr(shipped, "DATA", data)
    told: list[str] = []
    opened = run_engine(
        tmp_path / "a.duckdb", monkeypatch, FakeModel(), lambda e: told.append(str(e.payload().get("text", ""))),
        **STAGE, until="response_judgements",
    )  # fmt: skip
    rows = data_rows(opened)
    assert [row for row in rows["audits"] if row["subject_kind"] == "instruction"] == []
    basis = {(row["subject_kind"], row["basis"]) for row in rows["verdicts"] if not row["flags"]}
    assert basis == {("instruction", "rules"), ("sample", "critic")}
    assert [text for text in told if "instruction critics" in text] == [
        "no filter: no instructions of the kind implicit are labelled to audit instruction critics on: acceptance is "
        "by rules only"
    ]
    with opened.store.reader() as reader:
        assert recheck(reader, opened.run_id, {})["after"]["counts"]["instruction"]["rejected"] == 0
    opened.close()


def test_an_audit_on_explicit_instructions_lets_no_critic_filter_those_of_another_kind(
    tmp_path: Path, monkeypatch: Any
) -> None:
    strict = STAGE | {"overrides": EASY | {"critics.accept_above": "1000.0"}}
    opened = run_engine(tmp_path / "a.duckdb", monkeypatch, FakeModel(), **strict, until="instruction_judgements")
    with opened.store.reader() as reader:
        before = recheck(reader, opened.run_id, {})["after"]["counts"]["instruction"]
        (row,) = reader.query("SELECT * FROM audits WHERE run_id = ? AND subject_kind = 'instruction'", [opened.run_id])
    row["detail"] = {key: value for key, value in json.loads(row["detail"]).items() if key != "asked"}  # as it once was
    opened.store.put({"audits": [row]})
    with opened.store.reader() as reader:
        after = recheck(reader, opened.run_id, {})["after"]["counts"]["instruction"]
    assert before["accepted"] == 0 and after["accepted"] == sum(before.values()) > 0
    opened.close()
