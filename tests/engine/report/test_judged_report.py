"""What a report tells of answers judged in pairs."""

from __future__ import annotations

from pathlib import Path

import pytest

from store.db import Store
from tests.engine.report.conftest import built, section, table
from tests.store import rows
from tests.store.judged_rows import judged


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("judged")
    with Store.open(folder / "cai.duckdb") as store:
        store.append({"runs": [rows.run(name, created_at=rows.T0) for name in ("unread", "read", "none")]})
        store.append({"judge_results": judged("unread")})
        store.append({"judge_results": judged("read", person_n=20, person_agrees=15, person_alike=4)})
        store.append({"judge_results": judged("read", judge="another", lc_win_rate=None, lc_lo=None, lc_hi=None)})
    for name in ("unread", "read", "none"):
        built(folder / "cai.duckdb", name, folder / name)
    return {name: folder / name for name in ("unread", "read", "none")}


def told(reports: dict[str, Path], name: str) -> str:
    return section((reports[name] / "report.md").read_text(), "Answers judged in pairs")


def test_a_report_has_both_win_rates_with_their_intervals_and_effects(reports: dict[str, Path]) -> None:
    text = told(reports, "unread")
    helpful, harmless = table(text, "Win rates of after against before")
    assert (helpful["question"], helpful["win rate"], helpful["95 % interval"]) == (
        "helpful",
        "63.5 %",
        "[55.0, 72.0] %",
    )
    assert harmless["win rate"] == "71.9 %" and helpful["ties by disagreeing orders"] == "12"
    controlled, _ = table(text, "Win rates at equal length")
    assert controlled["win rate"] == "58.0 %" and controlled["log odds"].startswith("0.32")
    assert "Agreement with a person: not read." in text and "None of it is a claim" in text


def test_the_frontier_is_a_figure_and_a_table(reports: dict[str, Path]) -> None:
    (point,) = table(told(reports, "unread"), "Helpfulness and harmlessness against the base")
    assert (point["condition"], point["more helpful"], point["less harmful"]) == ("sft", "58.0 %", "71.9 %")
    assert point["at equal length"] == "yes"
    drawn = (reports["unread"] / "figures" / "frontier.svg").read_text()
    assert "Helpfulness against harmlessness" in drawn and ">sft<" in drawn
    assert "% of pairs, at equal length<" in drawn and "% of pairs<" in drawn  # harmlessness is raw


def test_points_of_two_judges_are_told_apart(reports: dict[str, Path]) -> None:
    drawn = (reports["read"] / "figures" / "frontier.svg").read_text()
    assert ">sft by a-judge<" in drawn and ">sft by another<" in drawn and "% of pairs, some at equal length<" in drawn


def test_agreement_with_a_person_stands_beside_it_with_its_interval(reports: dict[str, Path]) -> None:
    row, _ = table(told(reports, "read"), "How often a judge prefers the answer")
    assert (row["pairs told apart by the person"], row["agrees"], row["share"]) == ("40", "30", "75.0 %")
    assert row["95 % interval"] == "[59.8, 85.8] %" and row["pairs called alike"] == "8"
    assert "not read" not in told(reports, "read")


def test_a_run_that_nobody_judged_says_so(reports: dict[str, Path]) -> None:
    assert "Not measured in this run: no judge was asked" in told(reports, "none")
    assert not (reports["none"] / "figures").exists()
