"""The way of a new user in a pseudo-terminal of three sizes, with an engine that plays its part."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.terminal import Terminal
from tests.tui.cli_fakes import ROOT, command

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(300)]

WAIT_S = 40.0
ENTER, ESCAPE, CTRL_P = "\r", "\x1b", "\x10"
NOTE = "too short to be of use"
TITLES = {
    "3": "─ Thresholds ", "4": "─ Questions, gates, decisions ", "5": "─ Training ", "6": "─ Evaluation ",
    "7": "─ Runs ", "9": "─ Log ", "0": "─ Preferences ", "1": "─ Phases ", "2": "─ Samples ",
}  # fmt: skip


@pytest.mark.parametrize(("columns", "rows"), [(80, 24), (120, 36), (200, 60)])
def test_start_look_around_label_leave_and_come_back(
    columns: int, rows: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CAI_CONFIG", str(tmp_path / "config.toml"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(ROOT)
    program = command("until_stopped", "--store", tmp_path / "cai.duckdb")

    # A store that is not there yet: what a pilot is and the key that starts one, both on the screen.
    terminal = Terminal(program, columns, rows)
    terminal.wait_for("No run yet. Enter starts a pilot.", "start the pilot", timeout=WAIT_S)
    terminal.press(ENTER)
    terminal.wait_for("▶ running", "by rules, not audited, unread" if columns < 120 else "not audited", timeout=WAIT_S)

    # Every room by its key; in the SQL editor figures are text, and its footer names the key that leaves it.
    terminal.press("8")
    terminal.wait_for("─ SQL, read only ", "Esc Leave", timeout=WAIT_S)
    terminal.press("7")
    terminal.wait_for("│ 7 ", timeout=WAIT_S)
    terminal.press(ESCAPE)
    terminal.wait_for("? Help", timeout=WAIT_S)  # Escape and a figure at once would be Alt and the figure
    for key, title in TITLES.items():
        terminal.press(key)
        terminal.wait_for(title, timeout=WAIT_S)

    # The help by purpose, the palette, and the room that it leads to.
    terminal.press("?")
    terminal.wait_for("Keys that work here", "Label", "Esc closes", timeout=WAIT_S)
    terminal.press(ESCAPE)
    terminal.wait_until_gone("Keys that work here", timeout=WAIT_S)
    terminal.press(CTRL_P)
    terminal.wait_for("Search for commands", timeout=WAIT_S)
    terminal.press(*"blind")
    terminal.wait_for("Hide verdicts and margins to label", timeout=WAIT_S)
    terminal.press(ESCAPE)
    terminal.wait_until_gone("Hide verdicts", timeout=WAIT_S)

    # A label, its note although the cursor has moved on, and both taken back.
    terminal.wait_for("▌    1 ✓ accepted", timeout=WAIT_S)
    terminal.press("b")
    terminal.wait_for("− no", "▌    2 ", timeout=WAIT_S)
    terminal.press("i")
    terminal.wait_for(" · to ", timeout=WAIT_S)  # the line for it is open
    terminal.press(*NOTE, ENTER)
    terminal.press("k")
    terminal.wait_for("▌    1 ", NOTE, timeout=WAIT_S)
    terminal.press("U")
    terminal.wait_until_gone(NOTE, timeout=WAIT_S)
    terminal.press("U")
    terminal.wait_until_gone("− no", timeout=WAIT_S)
    terminal.press("j", "j")
    terminal.wait_for("▌    3 ", timeout=WAIT_S)

    # Leaving asks while the run goes on, and says how to go on with it.
    terminal.press("q")
    terminal.wait_for("A run is going on.", "keep running", timeout=WAIT_S)
    terminal.press("y")
    assert terminal.wait_for_end(WAIT_S) in (0, 130)
    assert "go on with" in " ".join(terminal.text.split())

    # Whoever comes back is asked about it, and finds room and row as they were left.
    terminal = Terminal(program, columns, rows)
    terminal.wait_for("Go on with it?", "─ Samples ", timeout=WAIT_S)
    terminal.press(ESCAPE)
    terminal.wait_until_gone("Go on with it?", timeout=WAIT_S)
    terminal.wait_for("■ stopped", "▌    3 ✗ rejected", timeout=WAIT_S)
    assert "− no" not in terminal.text
    terminal.press("q")
    assert terminal.wait_for_end(WAIT_S) == 0
