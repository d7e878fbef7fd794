"""What is seen at the sizes that terminals have: titles, events, dialogs above the bars, whole keys."""

from pathlib import Path

import pytest
from textual.widgets import DataTable

from tests.tui.fakes import RUN, fill, steady_run
from tests.tui.screen import control_center, settle, shown, text_of
from tui.app.app import ControlCenter
from tui.widgets.frame.bar import KeyBar, RoomBar


@pytest.fixture
def store(tmp_path: Path) -> Path:
    fill(tmp_path / "s.duckdb")
    return tmp_path / "s.duckdb"


async def test_80x24_names_the_columns_and_shows_events_where_samples_were(store: Path) -> None:
    async with control_center(store, steady_run, size=(80, 24)) as (app, pilot):
        await settle(pilot, lambda: app.state.forecast is not None)
        await pilot.press("e")
        await settle(pilot, lambda: "Responses started" in text_of(app))
        lines = text_of(app).split("\n")
        names = next(line for line in lines if "done" in line and "acc." in line)
        judged = next(line for line in lines if "Judge instr." in line and "131/131" in line)
        assert abs(names.index("done") + 4 - judged.index("131/131") - 7) <= 1  # below their figures, ends together
        for name, key in (("#events", ""), ("#accepted", "e"), ("#histogram", "c"), ("#accepted", "escape")):
            await pilot.press(*key.split())
            await settle(pilot, lambda name=name: app.query_one(name).content_size.height >= 5)  # type: ignore[misc]
            assert app.query_one("#figures").content_size.height >= 7
            assert app.query_one("#glance").content_size.height == 3


@pytest.mark.parametrize("size", [(60, 20), (80, 24)])
async def test_dialogs_leave_the_bars_readable(store: Path, size: tuple[int, int]) -> None:
    async with control_center(store, steady_run, size=size) as (app, pilot):
        await settle(pilot, lambda: app.state.forecast is not None)
        await pilot.press("2")
        await settle(pilot)
        await pilot.press("question_mark")
        await settle(pilot, lambda: "Esc closes" in text_of(app))
        assert "9Log" in text_of(app).split("\n")[-3].replace(" ", "")
        for where in ("#help", "#lineage"):
            assert app.screen.query_one(where).region.bottom <= app.desk.query_one(RoomBar).region.y
            await pilot.press("escape")
            if where == "#help":
                await pilot.press("l")
                await settle(pilot, lambda: bool(app.screen.query("#lineage")))


async def test_help_lists_the_programs_own_keys_only(store: Path) -> None:
    async with control_center(store, None, size=(120, 60)) as (app, pilot):
        await settle(pilot, lambda: app.state.run_id == RUN)
        await pilot.press("question_mark")
        await settle(pilot, lambda: "Esc closes" in text_of(app))
        text = text_of(app)
        assert "^q" not in text and "Scroll" not in text and "All runs: compare, fork, resume" in text


async def test_no_key_is_cut_in_the_middle(store: Path) -> None:
    async with control_center(store, steady_run, size=(80, 24)) as (app, pilot):
        await settle(pilot, lambda: app.state.forecast is not None)
        await pilot.press("2")
        await settle(pilot)
        for width in (80, 60, 44, 30):
            await pilot.resize_terminal(width, 24)
            await settle(pilot, lambda width=width: app.query_one(KeyBar).size.width == width)  # type: ignore[misc]
            line = str(app.query_one(KeyBar).content)
            assert len(line) <= width and "? Help" in line and "q Quit" in line, line
        assert line.endswith("…")


async def test_an_opened_sample_names_its_two_numbers_once(store: Path) -> None:
    async with control_center(store, None) as (app, pilot):
        await settle(pilot, lambda: app.state.run_id == RUN)
        await pilot.press("2")
        await settle(pilot, lambda: "Exact prompt" in shown(app, "#detail-text"))
        text = shown(app, "#detail-text")
        assert (
            text.count("score: the margin on the critic's own scale; 0 midway") == 1
            and text.count("nats: the raw") == 1
        )


async def test_the_runs_room_follows_the_run_under_way(store: Path) -> None:
    async with control_center(store, steady_run) as (app, pilot):
        await settle(pilot, lambda: app.state.forecast is not None)
        await pilot.press("7")
        table = app.query_one("#runs-table", DataTable)
        await settle(pilot, lambda: table.row_count == 1 and "running" in str(table.get_row_at(0)[2]))
        app.state.worked.before = 65.0
        await settle(pilot, lambda: str(table.get_row_at(0)[5]).startswith("1:"))
        assert str(table.get_row_at(0)[3]) == "36/40" and "60.0 %" in str(table.get_row_at(0)[4])


async def test_the_detail_is_painted_anew_when_it_gets_more_room(store: Path) -> None:
    def longest(app: ControlCenter) -> int:
        return max(line.count("█") for line in text_of(app).split("\n"))

    async with control_center(store, None, size=(120, 60)) as (app, pilot):
        await settle(pilot, lambda: app.state.run_id == RUN)
        await pilot.press("2")
        await settle(pilot, lambda: longest(app) > 0)
        narrow = longest(app)
        await pilot.resize_terminal(200, 60)
        await settle(pilot, lambda: longest(app) > narrow)
        assert longest(app) > narrow
