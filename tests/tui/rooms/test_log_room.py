"""The log by level: what libraries print, told apart by how they write it."""

from pathlib import Path

import pytest
from textual.widgets import RichLog

from tests.tui.fakes import fill
from tests.tui.screen import control_center, settle
from tui.words.text import Leveller

TRACE = ["Traceback (most recent call last):", '  File "x.py", line 1, in f', "    f()", "ValueError: no", "after"]


@pytest.mark.parametrize(("line", "level"), [
    ("2026-01-02 03:04:05,678 ERROR vllm.engine: engine died", "error"),
    ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB", "error"),
    ("E0102 03:04:05.6 7 cuda_dnn.cc:1 cannot register factory", "error"),
    ("[W102 socket.cpp:663] the client socket cannot be initialised", "warning"),
    ("/x/y.py:3: UserWarning: this will change", "warning"),
    ("nanobind: leaked 3 functions!", "warning"),
    ("--- 2026-01-02 03:04:05 +0000 cai run, process 7", "part"),
    ("Loading checkpoint shards: 100%", "info"),
    ("mean squared errors are fine here", "info"),
])  # fmt: skip
def test_a_line_has_the_level_that_its_writer_meant(line: str, level: str) -> None:
    assert Leveller().level(line) == level


def test_a_traceback_is_one_error_to_its_end() -> None:
    leveller = Leveller()
    assert [leveller.level(line) for line in TRACE] == ["error"] * 4 + ["info"]


async def test_levels_are_chosen_and_counted(tmp_path: Path) -> None:
    fill(tmp_path / "s.duckdb")
    log = tmp_path / "run.log"
    log.write_text("\n".join(["plain", "x WARNING y", *TRACE]) + "\n")
    async with control_center(tmp_path / "s.duckdb", None, log=log) as (app, pilot):
        await pilot.press("9")
        lines = app.query_one("#log-lines", RichLog)
        await settle(pilot, lambda: len(lines.lines) == 7)
        assert "✗ 4 ! 1" in str(app.query_one("#log").border_title)
        await pilot.press("v")
        await settle(pilot, lambda: len(lines.lines) == 5)
        await pilot.press("v")
        await settle(pilot, lambda: len(lines.lines) == 4)
        assert lines.lines[3].text.startswith("✗ ValueError")
        with log.open("a") as more:
            more.write("fine\nRuntimeError: again\n")
        await settle(pilot, lambda: len(lines.lines) == 5)
        await pilot.press("v", "slash", *"error", "enter")
        await settle(pilot, lambda: "2 of 9 lines" in str(app.query_one("#log").border_title))


async def test_a_long_line_is_wrapped_and_not_cut(tmp_path: Path) -> None:
    fill(tmp_path / "s.duckdb")
    log = tmp_path / "run.log"
    log.write_text("short\n" + " ".join(f"word{number}" for number in range(60)) + " END\n" + "x" * 300 + "Y\n")
    async with control_center(tmp_path / "s.duckdb", None, size=(80, 24), log=log) as (app, pilot):
        await pilot.press("9")
        lines = app.query_one("#log-lines", RichLog)
        await settle(pilot, lambda: any("END" in line.text for line in lines.lines))
        await settle(pilot, lambda: any("Y" in line.text for line in lines.lines))
        width = lines.scrollable_content_region.width
        assert [line.text for line in lines.lines if len(line.text.rstrip()) > width] == []
        assert lines.lines[1].text.startswith("· word0 ") and lines.lines[2].text.startswith("  word")
        assert "3 lines" in str(app.query_one("#log").border_title)
        rows = len(lines.lines)
        await pilot.resize_terminal(160, 24)
        await settle(pilot, lambda: len(lines.lines) < rows)
        assert any("END" in line.text for line in lines.lines)
