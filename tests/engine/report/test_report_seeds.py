"""What repeats with other seeds and readers of the scorer's verdicts do to the claim of a report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from store.db import Store
from tests.engine.report.conftest import built, section, table
from tests.engine.report.report_rows import Rows, full_run, scorer_audit
from tests.store import rows
from tests.store.rows import T0


def told(path: Path, found: Rows) -> str:
    with Store.open(path / "s.duckdb") as store:
        store.append(found)
    built(path / "s.duckdb", "run-a", path / "out")
    return (path / "out" / "report.md").read_text()


def with_seeds(lo: float | None, hi: float | None, seeds: int = 3) -> Rows:
    """The full run with its primary comparison over seeds."""
    found = full_run()
    (primary,) = [row for row in found["evaluation_results"] if row["role"] == "primary"]
    names = [f"run-{letter}" for letter in "abcd"[:seeds]]
    found["runs"] += [
        rows.run(name, seed=at, state="done", manifest={"repeat_of": "run-a", "repeat": at}, created_at=T0)
        for at, name in enumerate(names[1:], 1)
    ]
    place = {name: primary[name] for name in ("run_id", "capability", "before", "after", "n", "clusters")}
    found["evaluation_seeds"] = [
        {**place, "runs": names, "seeds": seeds, "differences": [0.5, 0.4, 0.3, 0.2][:seeds], "difference": 0.4, "se": 0.06,
         "df": 3.1, "lo": lo, "hi": hi, "se_templates": 0.03, "between_sd": 0.1, "between_lo": 0.05, "between_hi": 0.6,
         "method": "templates and seeds crossed", "at": T0}
    ]  # fmt: skip
    return found


def test_the_interval_over_seeds_is_that_of_the_claim(tmp_path: Path) -> None:
    markdown = told(tmp_path, with_seeds(0.212, 0.588))
    said = section(markdown, "Question and claim")
    assert "**Claim.**" in said and "**Over seeds** the difference is +40.0 points [+21.2, +58.8]" in said
    assert "the mean of 3 trainings" in said and "standard deviation of 10 points" in said
    assert "This is the interval of the claim" in said
    of = section(markdown, "Repeats with other seeds")
    assert "seeds are crossed with all of them" in of and "Of 3 seeds; below 3" in of
    assert [row["repeat"] for row in table(of, "Differences of each run")] == ["–", "1", "2"]
    threats = section(markdown, "Threats to validity")
    assert "One set of data" in threats and "with 3 seeds" in threats and "One seed:" not in threats


def test_a_difference_that_other_seeds_do_not_show_is_no_claim(tmp_path: Path) -> None:
    said = section(told(tmp_path, with_seeds(-0.01, 0.81)), "Question and claim")
    assert "**Claim.**" not in said and "over 3 seeds the interval [-1.0, +81.0] of +40.0 points" in said


def test_of_two_seeds_the_spread_is_told_and_the_claim_is_as_it_was(tmp_path: Path) -> None:
    markdown = told(tmp_path, with_seeds(None, None, 2))
    said = section(markdown, "Question and claim")
    assert "**Claim.**" in said and "**Over seeds**" not in said
    assert "Of 2 seeds; below 3" in section(markdown, "Repeats with other seeds")
    assert "One seed:" in section(markdown, "Threats to validity")


def test_a_repeat_is_made_again_by_the_commands_of_the_run_that_it_repeats(tmp_path: Path) -> None:
    first = section(told(tmp_path, with_seeds(0.212, 0.588)), "Manifest")
    built(tmp_path / "s.duckdb", "run-b", tmp_path / "repeat")
    repeat = section((tmp_path / "repeat" / "report.md").read_text(), "Manifest")
    of_first, of_repeat = ([line for line in text.splitlines() if line.startswith("cai ")] for text in (first, repeat))
    assert of_first[-2:] == ["cai repeat RUN --seeds 2", "cai report RUN --out report"] and len(of_first) > 4
    assert of_repeat == [*of_first[:-1], "cai report REPEAT --out report"]
    assert "REPEAT stands for" in repeat and "REPEAT" not in first


def test_without_repeats_that_is_said(tmp_path: Path) -> None:
    markdown = told(tmp_path, full_run())
    assert "Training was not repeated with other seeds" in section(markdown, "Repeats with other seeds")
    assert "cai repeat" not in section(markdown, "Manifest")
    assert "2 persons (ana, ben) judged answers blind" in section(markdown, "Audit of the scorer")
    assert "Cohen's kappa between them is 0.83" in section(markdown, "Audit of the scorer")


@pytest.mark.parametrize(
    ("names", "n", "words"),
    [
        ({}, 0, "not read: 0 persons have judged"),
        ({"ana": 30}, 0, "not read by two: ana alone"),
        ({"ana": 30, "ben": 9}, 9, "not read by two: 9 answers were judged by two persons, 10 are wanted"),
    ],
)
def test_a_scorer_that_two_have_not_read_carries_no_claim(
    tmp_path: Path, names: dict[str, Any], n: int, words: str
) -> None:
    found = full_run()
    found["scorer_audits"] = [row for row in found["scorer_audits"] if row["part"] != "readers"]
    row = scorer_audit("readers", "all", 0.0, n=n, op="", threshold=None, passed=None,
                       detail={"readers": names, "statistic": "Cohen's kappa"})  # fmt: skip
    found["scorer_audits"].append(row | {"measured": None})
    said = section(told(tmp_path, found), "Question and claim")
    assert "**Claim.**" not in said and words in said


def test_a_repeat_makes_no_claim_of_its_own(tmp_path: Path) -> None:
    found = full_run()
    found["runs"][0]["manifest"] |= {"repeat_of": "run-z", "repeat": 1}
    said = section(told(tmp_path, found), "Question and claim")
    assert "**Claim.**" not in said and "repeats training and evaluation of `run-z` with another seed" in said
