"""Critique, revision, Best-of-3 and pairs on the real base model: headless, killed in the middle, and on the screen."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from store.db import Store
from tests.e2e.conftest import CAI, cai, differences, rows_of
from tests.e2e.kills.compared import left_by, twice
from tests.e2e.terminal import Terminal

pytestmark = [
    pytest.mark.e2e, pytest.mark.slow, pytest.mark.model, pytest.mark.timeout(1800),
    pytest.mark.xdist_group("preferences"),
]  # fmt: skip

QUICK = {
    "instructions.round": "8", "guard.max_tokens": "16", "critics.probe_sample_at": "0.1",  # so that one wave is enough
    "candidates.boundary_prompts": "4", "pairs.pairs_at_least": "1",
    "pairs.best_of_at_least": "0", "pairs.decided_by_critic_at_least": "0",
}  # fmt: skip
WORDS = ["stage_6_small_model", "--headless", "--pilot", "6", *(f"--set={key}={value}" for key, value in QUICK.items())]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    store = tmp_path_factory.mktemp("preferences") / "whole.duckdb"
    done = cai("run", *WORDS, "--store", str(store))
    assert done.returncode == 0, done.stdout + done.stderr
    return store


def test_every_pair_leads_to_its_rows_and_to_the_calls_that_made_them(whole: Path) -> None:
    status = json.loads(cai("status", "--json", "--store", str(whole)).stdout)
    found = status["preferences"]
    assert found["revisions"] >= 6 and found["pairs_kept"] >= 1 and 0 <= found["revisions_kept"] <= found["revisions"]
    assert found["pairs_by_source"]["best_of"]["pairs"] and found["pairs_by_source"]["hard_negative"]["kept"]
    with Store.open(whole, read_only=True) as store:
        reader = store.reader()
        lost = reader.query(
            "SELECT request_id FROM (SELECT critique_request_id AS request_id FROM revisions UNION ALL "
            "SELECT request_id FROM revisions UNION ALL SELECT request_id FROM candidates WHERE request_id IS NOT NULL "
            "UNION ALL SELECT unnest(parts->>'$[*].request_id') FROM judgements) "
            "ANTI JOIN (SELECT request_id FROM completions UNION ALL SELECT request_id FROM scores) USING (request_id)"
        )
        assert lost == []
        held_out = reader.query("SELECT pair_id FROM pairs JOIN instructions USING (run_id, instruction_id) "
                                "WHERE split != 'train'")  # fmt: skip
        assert held_out == []


def test_pairs_are_exported_and_principles_are_counted(whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "pairs"
    done = cai("export", "--what", "pairs", "--format", "jsonl", "--out", str(out), "--store", str(whole))
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in (out / "train.jsonl").read_text().splitlines()]
    assert rows and all(row["prompt"].endswith("Response:") and row["chosen"] != row["rejected"] for row in rows)
    assert "SHA-256 of the constitution" in (out / "README.md").read_text()
    told = json.loads(cai("principles", "--json", "--store", str(whole)).stdout)["principles"]
    assert sum(row["drawn"] for row in told) >= 6 and max(row["drawn"] for row in told) <= 2


def test_kills_before_and_behind_the_gate_change_no_row(whole: Path, tmp_path: Path) -> None:
    """What only a model on this machine shows; tests/e2e/kills/ kills in all phases."""
    cut = tmp_path / "cut.duckdb"
    words = ["run", *WORDS, "--store", str(cut)]
    committed: dict[str, str] = {}
    for phase in ("Responses started", "Candidates started"):
        process = subprocess.Popen([CAI, *words], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert process.stdout is not None
        assert any(phase in line for line in process.stdout)
        time.sleep(1.5)  # into the work of the phase
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        now, _ = left_by(cut)
        # Who computed an answer never changes: what was committed is neither lost nor computed again.
        assert {key: now.get(key) for key in committed} == committed
        committed = now
        words = ["resume", "--headless", "--store", str(cut)]
    last = cai(*words)
    assert last.returncode == 0, last.stdout + last.stderr
    assert differences(rows_of(cut), rows_of(whole), within=1e-4) == []
    assert twice(cut) == []


def test_the_control_center_shows_pairs_and_principles(whole: Path) -> None:
    terminal = Terminal([CAI, "--store", str(whole), "--no-tmux"])
    terminal.wait_for("! done", "Pair gate", timeout=30)  # nobody has read it
    terminal.press("0")
    terminal.wait_for("correct_facts", timeout=20)
    terminal.press("q")
    assert terminal.wait_for_end(timeout=30) == 0
