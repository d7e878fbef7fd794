"""A newcomer's first ten minutes, with the real model in a real terminal, by what is on the screen alone."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from store.db import Store
from tests.e2e.conftest import CAI
from tests.e2e.terminal import Terminal

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.model, pytest.mark.timeout(900)]

QUICK = ("--set", "critics.audit_items=12", "--set", "instructions.round=8", "--set", "critics.shuffles=1",
         "--set", "critics.sample=[grade]", "--set", "guard.max_tokens=16")  # fmt: skip
RIGHT, HOME, ENTER, ESCAPE, CTRL_C = "\x1b[C", "\x1b[H", "\r", "\x1b", "\x03"
WHY = "both sides were read"


@pytest.mark.xdist_group("kills")
def test_first_ten_minutes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAI_CONFIG", str(tmp_path / "config.toml"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    store = tmp_path / "first.duckdb"

    # Start, watch, pause, resume.
    terminal = Terminal([CAI, "run", "--pilot", "12", *QUICK, "--store", str(store)])
    terminal.wait_for("Phases", timeout=10)
    terminal.wait_for("Guard finished", timeout=180)
    terminal.press("p")
    terminal.wait_for("‖ paused", "p Resume", timeout=60)
    terminal.press("p")
    terminal.wait_for("▶ running", "p Pause", timeout=10)

    # A question docks; Escape keeps the run; a second Enter answers nothing else.
    terminal.press(CTRL_C)
    terminal.wait_for("keep running", timeout=10)
    terminal.press(ESCAPE)
    terminal.wait_until_gone("keep running", timeout=10)
    terminal.wait_for("Responses finished", timeout=400)

    # Leave in the middle; the question is answered, the run is stopped, nothing is lost.
    terminal.press("q")
    terminal.wait_for("Stop it and leave?", timeout=10)
    terminal.press("y", ENTER, ENTER)
    assert terminal.wait_for_end(timeout=60) in (0, 130)
    before = rows(store)
    assert before["samples"] and before["state"] == "stopped"

    # Come back: it offers to go on, and goes on.
    terminal = Terminal([CAI, "--store", str(store)])
    terminal.wait_for("Go on with it?", timeout=30)
    terminal.press(ENTER)
    terminal.wait_for("! done", timeout=400)

    # Look at samples: filter the rejected, read a margin, label one.
    terminal.press("2")
    terminal.wait_for("Margins of the pair", timeout=20)
    terminal.press(HOME)  # the cursor is on what was judged when the run was stopped, which may be any
    terminal.wait_for_match(r"grade +([│█◀▶ ]+ [+-]\d+\.\d\d|no scale) [+-]\d+\.\d{3} nats", timeout=20)
    terminal.press("b")
    terminal.wait_for("− no", timeout=10)
    terminal.press("r")
    terminal.wait_until_gone("✓ accepted", timeout=10)
    counted = re.search(r"(\d+) · by number", terminal.text)
    shown = len(re.findall(r"✗ rejected +[+-]", terminal.text))
    assert counted and int(counted[1]) == shown, terminal.text
    terminal.press("e")
    terminal.wait_for("✓ accepted", timeout=10)

    # Change a threshold: see what changes sides, apply it with a reason.
    terminal.press("3")
    terminal.wait_for("repeated trigrams", "→ More", timeout=20)
    terminal.press("j", "j", "j")
    terminal.wait_for("▸ repeated trigrams", timeout=10)
    terminal.press(RIGHT)
    terminal.wait_for("0.20 → 0.2", timeout=10)
    terminal.press(ENTER)
    terminal.wait_for("leave it", timeout=10)
    terminal.press("y")
    terminal.wait_for("why", timeout=10)
    terminal.press(*WHY)
    terminal.wait_for(WHY, timeout=10)
    terminal.press(ENTER, ENTER)
    terminal.wait_until_gone(WHY, timeout=20)
    terminal.press("4")
    terminal.wait_for("decided", timeout=20)
    terminal.press("q")
    assert terminal.wait_for_end(timeout=30) == 0

    # Come back once more: label, threshold and decision are where they were, and no row was written twice.
    after = rows(store)
    assert before["samples"].items() <= after["samples"].items()
    assert after["decisions"] == [WHY]
    terminal = Terminal([CAI, "--store", str(store)], columns=80, rows=24)
    terminal.wait_for("! done", timeout=30)
    terminal.press("2")
    terminal.wait_for("▌", timeout=20)  # on the row where it was left
    terminal.press(HOME)
    terminal.wait_for("− no", timeout=20)
    terminal.press("4")
    terminal.wait_for("decided", timeout=20)
    terminal.press("G")
    terminal.wait_for(WHY, timeout=20)
    terminal.press("q")
    assert terminal.wait_for_end(timeout=30) == 0


def rows(path: Path) -> dict[str, Any]:
    """The run's state, its samples by id, and the reasons of its decisions."""
    with Store.open(path, read_only=True) as store:
        reader = store.reader()
        return {
            "state": reader.query("SELECT state FROM runs")[0]["state"],
            "samples": {row["sample_id"]: row["raw"] for row in reader.query("SELECT sample_id, raw FROM samples")},
            "decisions": [row["reason"] for row in reader.query("SELECT reason FROM decisions")],
        }
