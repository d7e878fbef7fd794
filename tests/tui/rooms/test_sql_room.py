"""The SQL console: reads, says what went wrong, completes, remembers, writes results to files."""

from pathlib import Path

import pyarrow.parquet
import pytest
from textual.widgets import DataTable, Input

from store.db import Store
from store.errors import StoreError
from tests.tui.fakes import HOSTILE, fill
from tests.tui.screen import control_center, settle, shown
from tui.reads.sql import History, export, plain_select, run
from tui.rooms.sql import SqlEditor


async def test_a_statement_is_run_and_hostile_cells_are_inert(tmp_path: Path) -> None:
    fill(tmp_path / "s.duckdb", many=20)
    async with control_center(tmp_path / "s.duckdb", None) as (app, pilot):
        await pilot.press("8")
        editor = app.query_one(SqlEditor)
        editor.text = "SELECT response, NULL AS nothing, [1, 2] AS some FROM samples WHERE sample_id = 's1'"
        await pilot.press("enter")
        table = app.query_one("#sql-result", DataTable)
        await settle(pilot, lambda: table.row_count == 1)
        cells = [str(cell) for cell in table.get_row_at(0)]
        assert HOSTILE not in cells[0] and "␛]52" in cells[0] and cells[1:] == ["∅", "[1, 2]"]
        assert "✓ 1 row," in shown(app, "#sql-told")
        editor.text = "SELECT no_such FROM samples"
        await pilot.press("enter")
        await settle(pilot, lambda: "✗" in shown(app, "#sql-told"))
        assert "no_such" in shown(app, "#sql-told") and table.row_count == 0  # no result of another statement
        for text in ("DELETE FROM samples", "SELECT 1; DROP TABLE samples", "COPY samples TO 'x.csv'"):
            editor.text = text
            await pilot.press("f5")
            await settle(pilot, lambda: "one SELECT at a time" in shown(app, "#sql-told"))
            editor.text = "SELECT 1"
            await pilot.press("enter")
            await settle(pilot, lambda: "✓" in shown(app, "#sql-told"))


async def test_tab_completes_and_history_is_there_the_next_time(tmp_path: Path) -> None:
    path = tmp_path / "s.duckdb"
    fill(path)
    async with control_center(path, None) as (app, pilot):
        await pilot.press("8")
        await settle(pilot, lambda: "instructions" in app.query_one("#sql")._words)  # type: ignore[attr-defined]
        await pilot.press(*"SELECT count(*) AS n FROM guard_c", "tab")
        editor = app.query_one(SqlEditor)
        await settle(pilot, lambda: editor.text.endswith("guard_checks"))
        await pilot.press("enter")
        await settle(pilot, lambda: "✓" in shown(app, "#sql-told"))
    async with control_center(path, None) as (app, pilot):
        await pilot.press("8", "up")
        await settle(pilot, lambda: app.query_one(SqlEditor).text == "SELECT count(*) AS n FROM guard_checks")


async def test_a_long_statement_is_interrupted_and_other_rooms_go_on(tmp_path: Path) -> None:
    fill(tmp_path / "s.duckdb")
    async with control_center(tmp_path / "s.duckdb", None) as (app, pilot):
        await pilot.press("8")
        app.query_one(SqlEditor).text = "SELECT sum(a.r * b.r) FROM range(1000000000) a(r), range(1000000000) b(r)"
        await pilot.press("enter")
        for _ in range(100):
            await pilot.pause(0.02)
            if app.query_one("#sql")._reader is not None:  # type: ignore[attr-defined]
                break
        assert "running" in shown(app, "#sql-told")
        await pilot.press("escape")
        await settle(pilot, lambda: "✗" in shown(app, "#sql-told"))
        assert "nterrupt" in shown(app, "#sql-told")


async def test_the_whole_result_is_written_to_a_file(tmp_path: Path) -> None:
    fill(tmp_path / "s.duckdb", many=1500)
    async with control_center(tmp_path / "s.duckdb", None) as (app, pilot):
        await pilot.press("8")
        app.query_one(SqlEditor).text = "FROM samples"
        await pilot.press("enter")
        await settle(pilot, lambda: "there are more" in shown(app, "#sql-told"))
        await pilot.press("f8")
        box = app.query_one("#sql-path", Input)
        box.value = str(tmp_path / "all.txt")
        await pilot.press("enter")
        await settle(pilot, lambda: "neither .csv nor .parquet" in shown(app, "#sql-told"))
        assert box.display and box.has_focus and box.value.endswith("all.txt")  # it stays open to be corrected
        box.value = str(tmp_path / "all.parquet")
        await pilot.press("enter")
        await settle(pilot, lambda: "1,504 rows" in shown(app, "#sql-told"))
        assert not box.display and app.query_one(SqlEditor).has_focus
    assert pyarrow.parquet.read_table(tmp_path / "all.parquet").num_rows == 1504


def test_files_are_whole_and_never_written_over(tmp_path: Path) -> None:
    fill(tmp_path / "s.duckdb")
    with Store.open(tmp_path / "s.duckdb", read_only=True) as store, store.reader() as reader:
        target = tmp_path / "a.csv"
        assert (
            export(reader, "SELECT sample_id, flags FROM samples JOIN verdicts ON subject_id = sample_id", target)[0]
            == 3
        )
        assert target.read_text().splitlines()[0] == "sample_id,flags" and '"[""runaway""]"' in target.read_text()
        with pytest.raises(StoreError, match="already"):
            export(reader, "SELECT 1", target)
        with pytest.raises(StoreError, match="neither"):
            export(reader, "SELECT 1", tmp_path / "a.txt")
        with pytest.raises(StoreError):
            export(reader, "SELECT oops", tmp_path / "b.csv")
        export(reader, "SELECT '=1+1' AS \"=a\", chr(27) || '[2J' AS b, -1 AS c", tmp_path / "b.csv")
        assert (tmp_path / "b.csv").read_text() == "'=a,b,c\n'=1+1,␛[2J,-1\n"
        assert (tmp_path / "b.csv").stat().st_mode & 0o777 == 0o600
        with pytest.raises(StoreError, match=r"glob\(\) is not allowed"):
            export(reader, "FROM glob('/*')", tmp_path / "c.csv")
        assert sorted(path.name for path in tmp_path.iterdir() if not path.name.startswith("s.")) == ["a.csv", "b.csv"]
        names = [row[0] for row in run(reader, "SHOW TABLES;").rows]
        assert "samples" in names and plain_select("describe samples").startswith("SELECT column_name")


def test_a_history_that_is_broken_or_cannot_be_written_harms_nothing(tmp_path: Path) -> None:
    path = tmp_path / "history"
    path.write_text('"one"\nnot json\n42\n"two"\n')
    history = History(path)
    assert history.statements == ["one", "two"]
    history.add("two")
    history.add("three")
    assert History(path).statements == ["one", "two", "three"]
    blocked = History(tmp_path / "history" / "below_a_file")
    blocked.add("kept for now")
    assert blocked.statements == ["kept for now"]
