"""What is printed, and given as JSON, of benchmarks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from store.db import Store
from tests.engine.evaluation.suites.suite_rows import HOSTILE, suite_rows
from tests.store import rows
from tests.tui.cli.test_principle_commands import flat, printed
from tests.tui.rooms.test_evaluation_room import evaluated
from tui.printed.evaluation import evaluation_outcome
from tui.printed.suites import offer_report, suites_outcome
from tui.reads.evaluation import evaluation_account, standing
from tui.widgets.evaluation.standing import standing_lines
from tui.words.suites import suite_words
from tui.words.wording import again_with

STATUS = {"run": "run-a", "model": "m"}


@pytest.fixture
def store(tmp_path: Path) -> Path:
    path = tmp_path / "s.duckdb"
    with Store.open(path) as opened:
        opened.append({"runs": [rows.run("run-a")], **suite_rows("t", HOSTILE)})
    return path


def account_of(path: Path) -> dict[str, Any]:
    with Store.open(path, read_only=True) as opened, opened.reader() as reader:
        return evaluation_account(reader, "run-a")


def test_an_outcome_has_means_and_every_comparison_and_says_that_none_is_a_claim(store: Path) -> None:
    account = account_of(store)
    words = flat(printed(suites_outcome(STATUS, account, 0, "t acc: ...", Path("s"), None, "cai evaluate x"), 200))
    base = next(row for row in account["suite_means"] if row["task"] == "t" and row["condition"] == "base_raw")
    assert f"t acc of 60: base_raw {base['mean']:.3f} [{base['lo']:.3f}, {base['hi']:.3f}]" in words
    assert words.count("base_raw → sft") == 2 and words.count("base_formatted → sft") == 4
    assert "60 documents" in words and "none carries a claim" in words and "cai report run-a" in words
    assert "\x1b" not in words


def test_a_task_of_two_suites_is_told_of_each(store: Path) -> None:
    account = account_of(store)
    means, results = account["suite_means"], account["suite_results"]
    part = [{**row, "suite": "other", "whole": False, "mean": 0.125} for row in means]
    assert suite_words([*means, *part], results) == suite_words(means, results), "within a group it is not told"
    whole = [{**row, "whole": True} for row in part]
    compared = [{**row, "suite": "other", "difference": -0.25} for row in results]
    told = suite_words([*means, *whole], [*results, *compared])
    assert len(told) == 2 * len(suite_words(means, results))
    assert [line.partition(" of 60")[0] for line in told if line.startswith("t acc")] == [
        "t acc in s",
        "t acc in other",
    ]
    assert all(("0.125" in line) == (" in other " in line) == ("-0.250" in line) for line in told)
    both = account | {"suite_means": [*means, *whole], "suite_results": [*results, *compared]}
    words = flat(printed(suites_outcome(STATUS, both, 0, "", Path("s"), None, "x"), 200))
    assert "t acc in s base_raw → sft" in words and "t acc in other base_raw → sft" in words


def test_what_was_stopped_is_kept_and_gone_on_with_by_the_same_suites(store: Path) -> None:
    go_on = f"cai {again_with('run-a', ('evaluation',), {'seed': '3'}, ('arc', 'my task.yaml'))}"
    assert go_on == "cai evaluate run-a --suite arc --suite 'my task.yaml' --set seed=3"
    words = flat(printed(suites_outcome(STATUS, account_of(store), 130, "", Path("s"), None, go_on), 200))
    assert f"Go on with: {go_on}" in words and "cai report" not in words


def test_benchmarks_stand_beside_held_out_items(tmp_path: Path) -> None:
    path = tmp_path / "s.duckdb"
    evaluated(path)
    with Store.open(path) as opened:
        opened.append(suite_rows("t"))
    account = account_of(path)
    assert {row["condition"] for row in account["suite_means"]} == {"base_raw", "base_formatted", "sft"}
    assert len(account["suite_results"]) == 2
    words = flat(printed(evaluation_outcome(STATUS, account, 0, "", Path("s"), None, "x"), 200))
    assert "benchmark t acc of 60:" in words and "base_formatted → sft +0." in words
    with Store.open(path, read_only=True) as opened, opened.reader() as reader:
        told = [line.plain for line in standing_lines(standing(reader, "run-a"), 200, 20)]
    assert any(line.startswith("t acc of 60: base_raw") for line in told)


def test_an_offer_names_tasks_and_who_is_asked() -> None:
    task = {"task": "t", "documents": 1200, "shots": 5, "version": "1.0", "kind": "multiple_choice", "metrics": ["acc"]}
    offer = {
        "run": "run-a",
        "suites": [{"suite": "s", "documents": 1200, "tasks": [task]}],
        "conditions": [{"name": "base_raw", "in_words": "the base weights", "adapter": None}],
    }
    words = flat(printed(offer_report(offer), 120))
    assert "s t 1,200 5 1.0 acc" in words and "asked of base_raw: the base weights" in words
