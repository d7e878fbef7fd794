"""Benchmarks in a report: under a head of their own, and nowhere where none was asked."""

from __future__ import annotations

from pathlib import Path

from store.db import Store
from tests.engine.evaluation.suites.suite_rows import HOSTILE, suite_rows
from tests.engine.report.conftest import built, section, table
from tests.store import rows


def test_benchmarks_stand_under_their_own_head(tmp_path: Path) -> None:
    path = tmp_path / "cai.duckdb"
    with Store.open(path) as store:
        store.append({"runs": [rows.run("run-a")], **suite_rows("t", "u", HOSTILE)})
    built(path, "run-a", tmp_path / "report")
    whole = (tmp_path / "report" / "report.md").read_text()
    assert "cai evaluate RUN --suite s\n" in section(whole, "Manifest")
    text = section(whole, "Benchmarks")
    assert "None is registered and none carries a claim" in text and "\x1b" not in text
    asked = table(text, "Suites.")
    assert len(asked) == 9 and {row["items"] for row in asked} == {"60"} and asked[0]["solved examples"] == "5"
    means = {(row["task"], row["condition"]): row for row in table(text, "Means by condition.")}
    assert means["`t`", "sft"]["its method"] == "Wilson" and "CR2" in means["`u`", "sft"]["its method"]
    differences = [row for row in table(text, "Differences on suites.") if row["task"] == "`u`"]
    assert [row["before"] for row in differences] == ["base formatted", "base raw"]
    assert all(row["clusters"] == "20" and row["unit"] == "document" for row in differences)
    assert len(table(text, "Descriptions of the same")) == 6


def test_a_run_without_benchmarks_has_no_such_head(bare: str) -> None:
    assert "Benchmarks" not in bare and "suite_" not in bare and "benchmark suites" in bare  # among what was not run
