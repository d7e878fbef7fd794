"""What a hostile reader holds against a run, from rows that call for it: the base, the scorer, changes, leakage, choice."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from store.db import Store
from tests.engine.report.conftest import built, section, table
from tests.engine.report.report_rows import full_run, scorer_audit
from tests.store import rows
from tests.store.test_pairs_export import pair

SETTINGS = {
    "guard": {"max_eos_rate": 0.34, "max_empty_rate": 0.33, "min_known_answers": 0.8},
    "instructions": {"duplicate_at": 0.7},
}
WHY = {"topic": "thresholds", "question": "critics.accept_above: 0.0 -> 0.4", "reason": "the audit asks for it"}


@pytest.fixture(scope="module")
def held(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The report of a run of little power, with a scorer that errs and two settings changed for no reason told."""
    found: dict[str, list[dict[str, Any]]] = full_run()
    found["runs"][0] |= {"settings": SETTINGS}
    found["runs"][0]["overrides"] |= {"evaluation.items_per_type": [6, 2]}
    found["decisions"][0] |= WHY
    for row in found["evaluation_results"]:
        row |= {"p_corrected": 0.4, "power": 0.2, "newcombe_lo": -0.9, "newcombe_hi": 0.9}
    found["scorer_audits"] += [
        scorer_audit(part, "all", measured, n=n, op="", threshold=None, passed=None)
        for part, measured, n in (("false accepts", 0.03, 300), ("false rejects", 0.07, 200), ("abstains", 0.11, 500))
    ]
    near = found["evaluation_items"][0] | {"prompt": "Name three big animals of the sea."}
    found["evaluation_items"][0] = near
    found["instructions"][0] |= {"text": "Name three animals of the sea."}
    found["training_examples"].append({**found["training_examples"][0], "training_id": "dpo-1", "example_id": "p1"})
    found["pairs"] = [pair("p1", instruction_id="i1"), pair("p2", instruction_id="i4")]
    found["verdicts"] += [rows.verdict(name, subject_kind="pair", verdict=verdict)
                          for name, verdict in (("p1", "accepted"), ("p2", "rejected"))]  # fmt: skip
    found["runs"] += [rows.run("run-b", state="stopped"), rows.run("run-c", spec_sha256="ef" * 32)]
    found["sessions"].append(rows.session("session-b", "run-b"))
    found["completions"][0] |= {"session_id": "session-b"}
    found["guard_checks"][0] |= {"answer": "\n" + "a" * 119 + "\nb and more"}
    found["evaluation_results"][-1] |= {"role": "exploratory", "registered": False}
    found["evaluation_results"][-2] |= {"role": "descriptive", "registered": False}
    found["registrations"][0]["body"]["forecast"]["detectable"] = None
    found["scorer_audits"].append(scorer_audit("length", "sft", 0.9, passed=False))
    folder = tmp_path_factory.mktemp("held")
    with Store.open(folder / "s.duckdb") as store:
        store.append(found)
    built(folder / "s.duckdb", "run-a", folder / "out")
    return Path(folder / "out/report.md").read_text()


def threats(markdown: str) -> str:
    return section(markdown, "Threats to validity")


def test_what_the_guard_cannot_find_is_conceded_and_its_rule_stands_with_its_rows(held: str, bare: str) -> None:
    assert "in the pretraining of `gemma3-270m` is not known. The guard (2 checks)" in threats(held)
    told = section(held, "Contamination guard")
    assert "at most 34.0 % end by themselves, at most 33.0 % are empty" in told and "80.0 % of known sentences" in told
    assert "The guard (0 checks)" in threats(bare) and "end by themselves" not in bare


def test_that_no_difference_is_corrected_for_the_scorer_is_conceded_with_its_errors(held: str, folder: Path) -> None:
    told = threats(held)
    assert "called 3.0 % of 300 wrong ones right, 7.0 % of 200 right ones wrong, and abstained on 11.0 % of 500" in told
    assert "No difference in this report is corrected for these rates" in told and "errors were" not in told
    assert "false rejects and abstains were not measured" in threats((folder / "report.md").read_text())


def test_all_changed_settings_are_told_with_how_many_have_a_reason(held: str, bare: str) -> None:
    told = threats(held)
    for change in ("`critics.accept_above` from `0.0` to `0.4`", "`gate.median` from `40` to `null`"):
        assert f"Changed from the spec: {change}." in told
    assert "`evaluation.items_per_type` from `6` to `2`" in told
    assert "for 2 of 3 settings that differ from the spec no decision says why" in told
    assert "Changed from the spec" not in bare and "Deviations without" not in bare


def test_rows_of_training_near_a_test_item_are_counted_by_the_rule_for_duplicates(held: str, folder: Path) -> None:
    told = threats(held)
    for training in ("sft-1", "dpo-1"):
        assert f"Leakage: of 1 rows of `{training}` 1 have an instruction that is the prompt of one of 120 test" in told
    assert "ROUGE-L of at least 0.7" in told and "test_evaluation_items.py" in told
    assert "near test items was not measured" in threats((folder / "report.md").read_text())


def test_other_runs_and_answers_taken_from_them_are_told(held: str) -> None:
    told = threats(held)
    assert "runs in this store: 3 (done: 1, running: 1, stopped: 1); others of the same spec: 1." in told
    assert "Of the same spec are run-b (stopped), 1 in all" in told
    assert "Reused answers: 1 of " in told and "sessions of other runs: run-b." in told


def test_rows_of_training_and_kept_pairs_are_shown_by_their_hash(held: str, bare: str) -> None:
    told = section(held, "Examples")
    assert "### Row of supervised training `s1`" in told and "### Kept pair `p1`, from" in told
    assert "`p2`" not in told and "`s4`" not in told and "Name three animals of the sea." in told
    assert "smallest hash of run and id" not in bare


def test_exploratory_results_are_told_apart_from_descriptive_ones(held: str) -> None:
    found = re.search(r"Of (\d+) results (\d+) are exploratory and (\d+) descriptive", threats(held))
    assert found and int(found[3]) >= 1 and 1 <= int(found[2]) < int(found[1])


def test_a_text_of_the_guard_that_is_cut_ends_with_an_ellipsis(held: str) -> None:
    wrote = [row["what the model wrote first"] for row in table(held, "Checks of the guard.")]
    assert sorted(text[-1] for text in wrote) == ["s", "…"] and "and more" not in " ".join(wrote)


def test_that_no_difference_is_large_enough_is_told_where_it_was_computed(held: str, folder: Path) -> None:
    told = "No difference is large enough for these items"
    assert told in held and "can show was not computed" not in held
    assert told not in (folder / "report.md").read_text()


def test_intervals_narrower_than_the_one_of_independent_items_are_told(held: str) -> None:
    assert "Some clustered intervals are narrower than Newcombe's" in section(held, "Results")


def test_fewer_items_than_the_spec_asks_for_stand_beside_the_power(held: str, folder: Path) -> None:
    fewer = "`evaluation.items_per_type` was changed from `6` to `2`: fewer items lower the power."
    for title in ("Question and claim", "Threats to validity"):
        told = section(held, title).splitlines()
        at = [place for place, line in enumerate(told) if line.startswith("- ") and "power of 20.0 %" in line]
        at += [place for place, line in enumerate(told) if line.startswith("- Low power: 20.0 %")]
        assert [told[place + 1].startswith(f"- {fewer}") for place in at] == [True]
    assert "fewer items lower" not in (folder / "report.md").read_text()
