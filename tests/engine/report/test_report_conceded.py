"""What a report says of itself before a reviewer does: baselines, cut answers, wide intervals, who labelled, what cost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from store.db import Store
from tests.engine.report.conftest import built, section, table
from tests.engine.report.report_rows import full_run, scorer_audit
from tests.store import rows


@pytest.fixture(scope="module")
def weak(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The report of a run with a weak result: cut answers, an interval beyond the range, no claim."""
    found: dict[str, list[dict[str, Any]]] = full_run()
    for row in found["evaluation_answers"]:
        row["stop_reason"] = "length" if row["condition"] == "base_raw" else "stop"
    for row in found["evaluation_results"]:
        row |= {"p_corrected": 0.4, "power": 0.2}
        if row["item_type"] == "lists":
            row |= {"lo": -5.85, "hi": 6.85}
        if row["item_type"] == "naming":
            row["clusters"] = 2
    found["scorer_audits"].append(scorer_audit("length", "sft", 0.9, "run-a", passed=False))
    found["guard_checks"].append(rows.guard_check("raw-77", "run-a", condition="raw", answer="\n\nthree words here"))
    taken = {"natural": True, "n": 210, "taken": 24, "good": 8, "precision": 8 / 24, "lo": 0.18, "hi": 0.53}
    found["audits"] = [rows.audit("probe", "run-a", part="fresh", may_filter=True, detail={"accepted": taken})]
    folder = tmp_path_factory.mktemp("weak")
    with Store.open(folder / "s.duckdb") as store:
        store.append(found)
    built(folder / "s.duckdb", "run-a", folder / "out")
    return Path(folder / "out/report.md").read_text()


def test_the_primary_difference_and_the_strongest_baseline_stand_beside_no_claim(weak: str, folder: Path) -> None:
    told = section(weak, "Question and claim")
    assert "**No claim is made:**" in told and "the registered test shows no difference: p = 0.40" in told
    assert "without a claim: on 120 test items" in told and "+50.0 points [+" in told and "power 20.0 %" in told
    best = "The strongest baseline on the same items is base formatted with 30.0 % right; dpo has 80.0 %"
    assert best in told and best in section((folder / "report.md").read_text(), "Question and claim")


def test_answers_that_the_limit_ended_are_told_beside_the_comparison_and_as_a_threat(weak: str) -> None:
    assert "Cut off by the token limit: 100.0 % of 160 test answers of base raw." in section(weak, "Results")
    threats = section(weak, "Threats to validity")
    assert "Cut off: 100.0 % of 160 test answers of base raw" in threats and "test answers of dpo were" not in threats


def test_an_interval_that_tells_nothing_is_a_dash(weak: str) -> None:
    found = {row["type"]: row for row in table(weak, "Differences by type.") if row["test items"] == "40"}
    assert found["lists"]["95 % interval"] == found["naming"]["95 % interval"] == "–"
    assert found["arithmetic"]["95 % interval"] != "–" and found["arithmetic"]["interval by"] in ("CR2 t", "Newcombe")
    assert "685" not in weak


def test_who_labelled_what_the_critics_rest_on_is_told(weak: str) -> None:
    assert "a person labelled none of them" in section(weak, "Audits of the critics")
    assert "shipped with the program: 60, by language models" in section(weak, "Automation, as measured")
    assert "it is of 24 other items" in weak and "33.3 % of what was accepted is good and 66.7 % is not" in weak


def test_the_guard_shows_what_the_model_wrote(weak: str) -> None:
    seen = {row["check"]: row["what the model wrote first"] for row in table(weak, "Checks of the guard.")}
    assert seen["`raw-77`"] == "three words here"


def test_the_parts_of_the_time_and_what_was_not_run_are_told(folder: Path) -> None:
    markdown = (folder / "report.md").read_text()
    parts = {row["part"]: row["time"] for row in table(markdown, "Where the time went")}
    assert parts["phases of the data"] == "1.60 h" and parts["training"] == "20.0 min"
    threats = section(markdown, "Threats to validity")
    assert "Not run, 7 of 7: SFT on answers chosen at random" in threats
    assert "`critics.accept_above` from `0.0` to `0.4`" in threats and "`sft-1` kept 0 rows apart" in threats


def test_the_parts_of_the_time_add_up(tmp_path: Path) -> None:
    found = rows.small_run("run-a")
    found["sessions"] = [rows.session("session-1", "run-a", started_at=rows.T0)]
    found["metrics"] = [rows.metric("elapsed_s", "run-a", phase="responses", value=60.0)]
    found["trainings"] = [rows.training("sft-1", "run-a", state="done", elapsed_s=120.0, device="CPU")]
    found["events"] = [
        rows.event(200, "PhaseStarted", {"phase": "evaluation", "planned": 2}),
        rows.event(290, "PhaseFinished", {"phase": "evaluation", "done": 2, "accepted": None}),
        rows.event(300, "RunFinished", {}),
    ]
    with Store.open(tmp_path / "s.duckdb") as store:
        store.append(found)
    built(tmp_path / "s.duckdb", "run-a", tmp_path / "out")
    told = section((tmp_path / "out/report.md").read_text(), "Cost")
    assert [row["time"] for row in table(told, "Where the time went")] == [
        "1.0 min",
        "2.0 min",
        "1.5 min",
        "30.0 s",
        "5.0 min",
    ]
    assert "No GPU was recorded" in told and "A GPU computed it" not in told
