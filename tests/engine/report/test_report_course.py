"""What a report tells of the order of things: what was known when the comparison was named, and what came before what."""

from __future__ import annotations

import copy
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from store.db import Store
from tests.engine.report.conftest import built, section, table
from tests.engine.report.report_rows import full_run
from tests.store import rows
from tests.store.rows import T0

HALF_HOUR = timedelta(minutes=30)


@pytest.fixture(scope="module")
def late(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The report of a run whose base answered before the registration and whose DPO began after a look at SFT."""
    found: dict[str, list[dict[str, Any]]] = full_run()
    for row in found["evaluation_answers"]:
        if row["condition"].startswith("base"):
            row["at"] = T0 + HALF_HOUR
    for row in found["evaluation_looks"]:
        if row["after"] == "sft":
            row["at"] = T0 + timedelta(hours=3)
    for row in found["trainings"]:
        if row["method"] == "dpo":
            row["started_at"] = T0 + timedelta(hours=4)
    for n, minutes in ((90, 10), (91, 240)):
        decided = {"gate": "gap", "passed": True, "failed_checks": []}
        found["events"].append(rows.event(n, "GateDecided", decided, "run-a", at=T0 + timedelta(minutes=minutes)))
    for row in found["gates"]:
        if row["gate"] == "gap":
            row["decided_at"] = T0 + timedelta(minutes=240)
    folder = tmp_path_factory.mktemp("late")
    with Store.open(folder / "s.duckdb") as store:
        store.append(copy.deepcopy(found))
    built(folder / "s.duckdb", "run-a", folder / "out")
    return Path(folder / "out/report.md").read_text()


def test_what_the_base_had_answered_when_the_comparison_was_named_is_told(late: str, folder: Path) -> None:
    design = section(late, "Design of the evaluation")
    assert "Of 320 answers of the base to test items 320 came before the registration" in design
    assert "after the base had given 320 of its 320 test answers" in section(late, "Results")
    assert "Registered after the base had answered: 320 of 320" in section(late, "Threats to validity")
    other = (folder / "report.md").read_text()
    assert "None of the 320 answers of the base to test items came before the registration" in other
    assert "Registered after the base" not in other and "had given" not in section(other, "Results")


def test_the_course_has_each_event_on_its_side_of_the_registration(late: str) -> None:
    found = [
        (row["what"], row["of"], row["before or after the registration"])
        for row in table(late, "What happened in which order")
    ]
    assert found == [
        ("run", "stage 1 small model.md", "before"),
        ("training", "sft-1", "before"),
        ("gap gate decided", "first and last", "before"),
        ("answers to test items", "base formatted", "before"),
        ("answers to test items", "base raw", "before"),
        ("registration", found[5][1], "itself"),
        ("answers to test items", "dpo", "after"),
        ("answers to test items", "sft", "after"),
        ("look at results on test items", found[8][1], "after"),
        ("training", "dpo-1", "after"),
    ]
    (gate,) = table(late, "Checks of the gap gate: shares of development items right.")
    assert gate["decided first"] != gate["decided last"]


def test_a_training_after_a_look_is_told(late: str, folder: Path) -> None:
    before = {row["training"]: row["looks at test results before"] for row in table(late, "Trainings.")}
    assert before == {"`sft-1`": "0", "`dpo-1`": "1"}
    assert "Trained after a look: `dpo-1`" in section(late, "Threats to validity")
    assert "Trained after a look" not in (folder / "report.md").read_text()


def test_the_commands_stand_in_the_order_in_which_things_happened(late: str, folder: Path) -> None:
    def commands(markdown: str) -> list[str]:
        told = section(markdown, "Manifest").rpartition("```text\n")[2]
        return [
            " ".join(line.split()[1:3]).removesuffix(" RUN") for line in told.splitlines() if line.startswith("cai ")
        ]

    assert commands(late)[1:-1] == ["train sft", "evaluate", "preregister", "evaluate", "train dpo"]
    assert commands((folder / "report.md").read_text())[1:-1] == ["train sft", "train dpo", "preregister", "evaluate"]


def test_no_sentence_is_cut_or_left_without_its_figure(late: str) -> None:
    design = section(late, "Design of the evaluation").partition("### Registration")[2]
    assert "nothing is added or left out after" in design and "…" not in design
    assert "not measured percentage points" not in design and "conditions not measured" not in design
    assert f"With the code of commit `{'0123abcd' * 5}`" in section(late, "Manifest")
