"""Whole pilots on the real base model: headless, in a terminal, under a spec it can't meet."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import CAI, Pilot, cai, rows_of
from tests.e2e.terminal import Terminal

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.model, pytest.mark.timeout(1800)]
one_by_one = pytest.mark.xdist_group("model")  # they share one pilot

QUICK = ("--set", "critics.audit_items=12", "--set", "instructions.round=2", "--set", "critics.shuffles=1")


@one_by_one
def test_a_pilot_of_forty_is_accepted_within_ten_minutes(pilot: Pilot, tmp_path: Path) -> None:
    assert pilot.code == 0 and pilot.seconds < 600
    assert pilot.status["state"] == "done" and pilot.status["spec"] == "stage_1_small_model"
    assert all(gate["passed"] for gate in pilot.status["gates"])
    accepted = json.loads(cai("samples", "--accepted", "--limit", "999", "--json", "--store", str(pilot.store)).stdout)
    assert len(accepted["samples"]) == pilot.status["counts"]["accepted"] >= 40
    again = pilot.status["repeat"]
    assert again["texts"] == 2 and again["texts_differing"] == 0 and 0 <= again["largest_difference_nats"] < 1e-3
    out = tmp_path / "out"
    exported = cai("export", "--what", "sft", "--format", "jsonl", "--out", str(out), "--store", str(pilot.store))
    assert exported.returncode == 0, exported.stderr
    lines = [json.loads(line) for file in out.glob("*.jsonl") for line in file.read_text().splitlines()]
    assert len(lines) == len(accepted["samples"]) and not any("###" in line["completion"] for line in lines)


@one_by_one
def test_the_guard_lets_the_base_pass_which_never_ends_by_itself(pilot: Pilot) -> None:
    found = {row["check_id"]: row for row in rows_of(pilot.store)["guard_checks"]}
    assert [name for name, row in found.items() if row["passed"] is False] == []
    assert "ended by itself 0%" in found["raw-all"]["detail"]


@one_by_one
def test_thresholds_for_32b_refuse_the_small_model(pilot: Pilot, tmp_path: Path) -> None:
    store = shutil.copy(pilot.store, tmp_path / "strict.duckdb")
    quick = (
        *QUICK,
        "--set",
        "critics.sample=[grade]",
        "--set",
        "max_candidates_per_accepted=20",
        "--set",
        "review.ask=[]",  # else the run waits for a review of these very changes
        "--store",
        str(store),
    )
    strict = cai("run", "stage_1_explicit_instructions", "--headless", "--pilot", "2", *quick)
    assert strict.returncode == 4, strict.stdout + strict.stderr
    assert "stage_1_explicit_instructions" in strict.stdout and "audited pair critics" in strict.stdout
    assert "cai recheck" in strict.stdout


@one_by_one
def test_the_same_pilot_in_a_terminal_with_another_batch_size(pilot: Pilot, tmp_path: Path) -> None:
    """A pilot of six: its lists of the first round are the first eight of forty's, and all that follows of them, too."""
    store = tmp_path / "screen.duckdb"
    fewer = ("--set", "instructions.round=8", "--set", "guard.max_tokens=16")
    words = ["run", "--pilot", "6", "--batch-size", "8", *fewer, "--store", str(store)]
    terminal = Terminal([CAI, *words])
    first_paint = terminal.wait_for("Phases", timeout=10)
    terminal.wait_for("Gemma", timeout=60)  # whose licence is said at first use
    terminal.wait_for("Guard started", timeout=120)
    terminal.press("?")
    terminal.wait_for("Pause after the batch or step under way", timeout=10)
    terminal.press("\x1b")
    terminal.wait_until_gone("Pause after the batch or step under way", timeout=10)
    terminal.press("p")
    terminal.wait_for("paused", timeout=60)
    terminal.press("p")
    terminal.wait_for("running", timeout=10)
    terminal.wait_for("Responses started", timeout=400)
    terminal.press("2")
    terminal.wait_for("accepted", "Instruction", timeout=400)
    terminal.press("1")
    terminal.wait_for("! done", "Read before you call it done", timeout=400)  # green only when a person has read
    terminal.press("g", "n")
    terminal.wait_until_gone("Read before you call it done", timeout=10)
    terminal.press("4")
    terminal.wait_for("8 of 8 passed, 5 not tested", timeout=10)
    terminal.press("q")
    assert terminal.wait_for_end(timeout=30) == 0
    assert first_paint < 5  # tests/tui/app/test_first_paint.py measures it alone

    headless, seen = rows_of(pilot.store), rows_of(store)
    for table, of, at_least in (("instructions", "request_id", 80), ("samples", "instruction_id", 20)):
        both = {row[of] for row in headless[table]} & {row[of] for row in seen[table]}
        known, found = ([row for row in rows[table] if row[of] in both] for rows in (headless, seen))
        assert found == known and len(found) >= at_least
    before, after = first_margins(headless["judgements"]), first_margins(seen["judgements"])
    shared = before.keys() & after.keys()
    assert {kind for kind, *_ in shared} >= {"instruction", "candidate"} and len(shared) > 50
    assert max(abs(before[key] - after[key]) for key in shared) < 1e-3


def first_margins(judgements: list[dict[str, Any]]) -> dict[tuple[str, ...], float]:
    """The margin of what was asked first, by all that it is of."""
    found = {}
    for row in judgements:
        part = json.loads(row["parts"])[0]
        key = (row["subject_kind"], row["subject_id"], row["critic"], part["variant"], part["request_id"])
        found[key] = part["logprobs"][0] - part["logprobs"][1]
    return found
