"""Runs: shown, compared, gone on with, forked."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from textual.widgets import DataTable, Input, OptionList, Static

from engine.core.errors import SpecError
from engine.spec.stage import load_spec
from store.db import Store
from tests.store import rows
from tests.tui.fakes import fill, noting, settings
from tests.tui.screen import control_center, settle, shown
from tui.app.app import ControlCenter
from tui.live.opener import opener
from tui.reads.runs import account, flat, fork_options, judge_changes
from tui.widgets.frame.dock import QuestionDock
from tui.widgets.runs.compare import compare
from tui.widgets.runs.fork import ForkScreen


def two_runs(path: Path) -> None:
    """run-a is done; run-b, begun later, was stopped and differs in a threshold, its seed and its acceptance."""
    fill(path)
    other = settings()
    other["critics"]["accept_above"] = 0.9
    later = rows.small_run("run-b", state="stopped", settings=other, seed=8, created_at=rows.T0.replace(year=2027))
    later["verdicts"][0]["verdict"] = "rejected"
    with Store.open(path) as store:
        store.append({name: later[name] for name in ("runs", "instructions", "samples", "judgements", "verdicts")})


def fork_told(app: ControlCenter) -> str:
    return str(app.screen.query_one("#fork-told", Static).content)


def forkable(path: Path) -> None:
    """Both runs are of a spec that is there, and done."""
    two_runs(path)
    sha = load_spec("stage_1_small_model").sha256
    with Store.open(path) as store:
        store.update_run("run-a", spec="stage_1_small_model", spec_sha256=sha)
        store.update_run("run-b", spec="stage_1_small_model", spec_sha256=sha, state="done")


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
    forkable(path)
    async with control_center(path, None) as (app, pilot):
        await pilot.press("7")
        await settle(pilot, lambda: app.query_one("#runs-table", DataTable).row_count == 2)
        begun: list[dict[str, Any]] = []
        monkeypatch.setattr(app.session, "begin_new", lambda **options: begun.append(options) or "run-c")
        await pilot.press("f")
        await settle(pilot, lambda: isinstance(app.screen, ForkScreen))
        await pilot.press("f2")
        assert "change at least one setting" in fork_told(app) and isinstance(app.screen, ForkScreen)
        await pilot.press(*"temperature", "enter")
        box = app.screen.query_one("#fork-value", Input)
        assert box.display and box.value == box.selected_text == "1.0"
        await pilot.press(*"0.8")
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


async def test_values_are_taken_or_refused_where_they_are_typed(tmp_path: Path) -> None:
    forkable(tmp_path / "s.duckdb")
    async with control_center(tmp_path / "s.duckdb", None) as (app, pilot):
        await pilot.press("7")
        await settle(pilot, lambda: app.query_one("#runs-table", DataTable).row_count == 2)
        await pilot.press("f")
        await settle(pilot, lambda: isinstance(app.screen, ForkScreen))
        form, listed = app.screen, app.screen.query_one(OptionList)
        assert isinstance(form, ForkScreen)
        box = form.query_one("#fork-value", Input)
        await pilot.press(*"median", "enter")
        assert box.display and box.has_focus and box.value == box.selected_text == "40"
        await pilot.press(*"abc", "enter")
        assert "median_tokens_below" in fork_told(app) and "--set" not in fork_told(app)
        assert box.display and box.has_focus and app.screen is form
        await pilot.press("f2")
        assert app.screen is form and "Enter takes the value first" in fork_told(app)
        box.select_all()
        await pilot.press(*"50", "enter")
        assert not box.display and form._changes == {"gate.median_tokens_below": "50"}
        await pilot.press(*"seed", "enter")  # what is typed next is the next search
        assert box.has_focus and box.value == "8"  # the run's own, not that of its spec
        await pilot.press(*"0x9", "enter", *"median", "enter", *"4_0", "enter")
        assert form._changes == {"seed": "0x9"}  # the same figure written otherwise is no change
        await pilot.press(*"no such thing", "enter")
        assert "no setting matches" in str(listed.get_option_at_index(0).prompt) and not box.display
        await pilot.press("escape")
        assert len(app.screen_stack) == 1


async def test_a_run_that_cannot_be_forked_says_so_in_the_form(tmp_path: Path) -> None:
    two_runs(tmp_path / "s.duckdb")  # their spec is no file that is there
    async with control_center(tmp_path / "s.duckdb", None) as (app, pilot):
        await settle(pilot, lambda: app.query_one(QuestionDock).current is not None)
        await pilot.press("escape", "7")
        await settle(pilot, lambda: app.query_one("#runs-table", DataTable).row_count == 2)
        await pilot.press("f")
        await settle(pilot, lambda: isinstance(app.screen, ForkScreen) and "✗" in fork_told(app))
        assert "not the file" in fork_told(app)
        await pilot.press(*"seed", "enter", "9", "enter", "f2")
        assert isinstance(app.screen, ForkScreen) and "not the file" in fork_told(app)


def test_changes_are_judged_by_what_they_do(tmp_path: Path) -> None:
    forkable(tmp_path / "s.duckdb")
    with Store.open(tmp_path / "s.duckdb") as store, store.reader() as reader:
        run = reader.run("run-b")
        assert judge_changes(run, {"seed": "8"}) is None and judge_changes(run, {"seed": "9"}) == ""
        assert "seed" in str(judge_changes(run, {"seed": "nine"}))
        assert fork_options(reader, "run-b", {"seed": "0x9"})["seed"] == 9


async def test_the_cursor_is_on_the_run_that_is_shown_and_only_what_is_left_can_be_resumed(tmp_path: Path) -> None:
    two_runs(tmp_path / "s.duckdb")
    async with control_center(tmp_path / "s.duckdb", None) as (app, pilot):
        await settle(pilot, lambda: app.query_one(QuestionDock).current is not None)
        await pilot.press("escape", "7")
        table = app.query_one("#runs-table", DataTable)
        room = app.rooms["runs"]
        await settle(pilot, lambda: table.row_count == 2 and table.cursor_row == 0)
        assert room.check_action("again", ()) and "R Resume" in shown(app, "#keys")
        await pilot.press("j")
        await settle(pilot, lambda: "R Resume" not in shown(app, "#keys"))
        assert not room.check_action("again", ())
        await pilot.press("k")
        app.show_run("run-a")
        await settle(pilot, lambda: app.state.run_id == "run-a" and table.cursor_row == 1)
        later = rows.small_run("run-c", state="done", settings=settings(), created_at=rows.T0.replace(year=2028))
        app.session.write(lambda store: store.append({"runs": later["runs"]}))
        app.show_run("run-c")
        await settle(pilot, lambda: table.row_count == 3 and table.cursor_row == 0)
        assert str(table.get_row_at(0)[0]) == "▶"
        await pilot.press("j", "j")
        app.refresh_room()
        await settle(pilot)
        assert table.cursor_row == 2  # the person moved it since


def test_a_setting_that_is_equal_is_no_difference_and_names_keep_their_distance(tmp_path: Path) -> None:
    two_runs(tmp_path / "s.duckdb")
    with Store.open(tmp_path / "s.duckdb") as store, store.reader() as reader:
        one = account(reader, "run-a")
        store.update_run("run-a", overrides={"critics.accept_above": [0.3, 0.4]})
        other = account(reader, "run-a")
    assert other.told != one.told
    assert "none: these runs were told the same" in compare(one, other, 100).plain
    long = "critics.a_name_that_is_longer_than_its_column_is"
    text = compare(replace(one, told={long: "x" * 40 + "1"}), replace(one, told={long: "x" * 40 + "2"}), 80).plain
    line = next(line for line in text.split("\n") if line.startswith("≠"))
    assert "… …xxx" in line and "x1 …" in line and line.endswith("x2") and len(line) <= 80


def test_a_run_asked_for_on_the_screen_is_another_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fork with settings that some run has already is begun all the same: --new cannot be typed there."""
    from engine.run import engine, same

    opened: list[Any] = []
    monkeypatch.setattr(engine, "open_engine", noting(opened))
    monkeypatch.setattr(same, "same_run", lambda _: {"run_id": "run-a", "state": "stopped", "until": None})
    for another in (True, False):
        opener()(engine.NewRun(tmp_path / "s.duckdb", another=another), lambda _: None)
    assert [item.resume for item in opened] == [None, "run-a"]


async def test_a_repeat_with_another_seed_is_listed_under_the_run_that_it_repeats(tmp_path: Path) -> None:
    fill(tmp_path / "s.duckdb")
    child = rows.run("run-b", state="done", seed=9, created_at=rows.T0.replace(year=2027),
                     manifest={"repeat_of": "run-a", "repeat": 2})  # fmt: skip
    with Store.open(tmp_path / "s.duckdb") as store:
        store.append({"runs": [child]})
    async with control_center(tmp_path / "s.duckdb", None) as (app, pilot):
        await settle(pilot, lambda: app.state.run_id == "run-a")  # what is opened is the run, not its repeat
        await pilot.press("7")
        table = app.query_one("#runs-table", DataTable)
        await settle(pilot, lambda: table.row_count == 2)
        cells = [str(cell) for cell in table.get_row_at(0)]
        assert (cells[1], cells[3], cells[4], cells[6]) == ("run-b", "–", "repeat 2", "of run-a")
