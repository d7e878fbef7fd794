"""Runs: shown, compared, gone on with, forked."""

from pathlib import Path
from typing import Any

import pytest
import rows
from fakes import fill, settings
from test_screen import control_center, settle, shown
from textual.widgets import DataTable, Input

from engine.errors import SpecError
from engine.spec import load_spec
from store.db import Store
from tui.query_runs import account, flat, fork_options
from tui.widgets.compare import compare
from tui.widgets.dock import QuestionDock
from tui.widgets.fork import ForkScreen


def two_runs(path: Path) -> None:
    """run-a is done; run-b, begun later, was stopped and differs in a threshold, its seed and its acceptance."""
    fill(path)
    other = settings()
    other["critics"]["accept_above"] = 0.9
    later = rows.small_run("run-b", state="stopped", settings=other, seed=8, created_at=rows.T0.replace(year=2027))
    later["verdicts"][0]["verdict"] = "rejected"
    with Store.open(path) as store:
        store.append({name: later[name] for name in ("runs", "instructions", "samples", "judgements", "verdicts")})


async def test_runs_are_compared_settings_that_differ_first(tmp_path: Path) -> None:
    two_runs(tmp_path / "s.duckdb")
    async with control_center(tmp_path / "s.duckdb", None) as (app, pilot):
        await settle(pilot, lambda: app.query_one(QuestionDock).current is not None)
        await pilot.press("escape", "7")
        table = app.query_one("#runs-table", DataTable)
        await settle(pilot, lambda: table.row_count == 2)
        assert [str(table.get_row_at(at)[1]) for at in range(2)] == ["run-b", "run-a"]
        await pilot.press("space", "j")
        await settle(pilot, lambda: "Settings that differ" in shown(app, "#run-account-text"))
        text = shown(app, "#run-account-text")
        head, _, measured = text.partition("Measured")
        differ = [line for line in head.split("\n") if line.startswith("≠")]
        assert any("accept_above" in line and "0.9" in line and "0.4" in line for line in differ)
        assert any("seed" in line for line in differ) and "settings and facts are equal" in head
        assert "≠ pairs accepted" in measured
        await pilot.press("space", "enter")
        await settle(pilot, lambda: app.state.run_id == "run-a")


async def test_a_run_is_gone_on_with_only_after_a_yes(tmp_path: Path) -> None:
    two_runs(tmp_path / "s.duckdb")
    async with control_center(tmp_path / "s.duckdb", None) as (app, pilot):
        await settle(pilot, lambda: app.query_one(QuestionDock).current is not None)
        await pilot.press("escape", "7")
        await settle(pilot, lambda: app.query_one("#runs-table", DataTable).row_count == 2)
        begun: list[str] = []
        app.session.begin_again = lambda run_id: begun.append(run_id) or run_id  # type: ignore[method-assign, func-returns-value]
        await pilot.press("R", "n")
        await settle(pilot)
        assert begun == []
        await pilot.press("R", "y")
        await settle(pilot, lambda: begun == ["run-b"])


async def test_a_fork_starts_with_what_was_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "s.duckdb"
    two_runs(path)
    sha = load_spec("stage_1_small_model").sha256
    with Store.open(path) as store:
        store.update_run("run-a", spec="stage_1_small_model", spec_sha256=sha)
        store.update_run("run-b", spec="stage_1_small_model", spec_sha256=sha, state="done")
    async with control_center(path, None) as (app, pilot):
        await pilot.press("7")
        await settle(pilot, lambda: app.query_one("#runs-table", DataTable).row_count == 2)
        begun: list[dict[str, Any]] = []
        monkeypatch.setattr(app.session, "begin_new", lambda **options: begun.append(options) or "run-c")
        await pilot.press("f")
        await settle(pilot, lambda: isinstance(app.screen, ForkScreen))
        await pilot.press(*"temperature", "down", "enter")
        box = app.screen.query_one("#fork-value", Input)
        assert box.display and box.value == "1.0"
        box.value = "0.8"
        await pilot.press("enter", "f2")
        await settle(pilot, lambda: bool(begun))
        assert begun[0]["overrides"]["instructions.temperature"] == "0.8"
        assert begun[0]["overrides"]["critics.accept_above"] == "0.9"  # as the run itself has it
        assert begun[0]["seed"] == 8 and begun[0]["spec"] == "stage_1_small_model"


def test_a_fork_of_another_file_or_with_a_wrong_value_is_refused(tmp_path: Path) -> None:
    two_runs(tmp_path / "s.duckdb")
    with Store.open(tmp_path / "s.duckdb") as store, store.reader() as reader:
        with pytest.raises(SpecError, match="not the file"):
            fork_options(reader, "run-a", {})
        with pytest.raises(SpecError, match="did you mean 'rules.echo'"):
            fork_options(reader, "run-a", {"rules.ecko": "1"})


def test_equal_runs_differ_in_nothing(tmp_path: Path) -> None:
    two_runs(tmp_path / "s.duckdb")
    with Store.open(tmp_path / "s.duckdb") as store, store.reader() as reader:
        same = account(reader, "run-a")
    assert "none: these runs were told the same" in compare(same, same, 100).plain
    assert flat({"a": {"b": 1, "c": {"d": None}}}) == {"a.b": "1", "a.c.d": ""}
