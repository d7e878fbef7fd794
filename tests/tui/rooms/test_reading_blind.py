"""Reading blind in the room Samples: nothing tells a verdict, it goes on after a restart, and every page tells it then."""

from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import DataTable

from engine.quality.labels import audit_anew
from store.db import Store
from store.headline import readings_of
from store.names import READING
from tests.store import rows
from tests.tui.fakes import RUN, fill, settings
from tests.tui.rooms.test_labelling import labels_in
from tests.tui.rooms.test_samples_room import column, samples
from tests.tui.screen import control_center, settle, shown
from tui.app.app import ControlCenter
from tui.rooms.samples import SamplesRoom
from tui.widgets.frame.dock import QuestionDock
from tui.widgets.samples.filters import FilterBar
from tui.widgets.samples.table import SamplesTable

ASKED = 6
TELLS = ("accepted", "rejected", "unsure", "by rules", " nats", "runaway", "token limit", "kept")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A run that is done; six of its candidates are to be read, and the gate says that nobody has."""
    path = tmp_path / "s.duckdb"
    fill(path, many=60)
    chosen = settings() | {"gate": {"read_at_least": ASKED}}
    with Store.open(path) as store:
        store.update_run(RUN, state="done", reason="", settings=chosen)
        store.put({"gates": [rows.gate("marker leaks", "final", RUN, measured=0.0, lo=None, hi=None, op="<=",
                                       threshold=0)]})  # fmt: skip
        audit_anew(store, RUN)
    return path


async def reading(app: ControlCenter, pilot: Pilot[Any]) -> SamplesTable:
    table = await samples(app, pilot, 64)
    await pilot.press("B")
    await settle(pilot, lambda: table.count == ASKED and table.row_at(0) is not None)
    return table


def room_of(app: ControlCenter) -> str:
    """What the room shows, without the keys that filter by a verdict; the header counts the whole run."""
    keys = app.query_one(FilterBar).region
    strips = app.screen._compositor.render_strips()
    return "\n".join(strip.text for y, strip in enumerate(strips) if y > 1 and not keys.y <= y < keys.bottom)


def read_so_far(path: Path) -> int:
    with Store.open(path, read_only=True) as store, store.reader() as reader:
        return readings_of(reader, [RUN])[RUN].read


@pytest.mark.parametrize("size", [(80, 24), (200, 60)])
async def test_nothing_on_the_screen_tells_a_verdict_while_it_is_read(path: Path, size: tuple[int, int]) -> None:
    async with control_center(path, None, size=size) as (app, pilot):
        table = await reading(app, pilot)
        verdicts = set(column(table, "verdict")[:ASKED])
        assert len(verdicts) > 1  # rejected ones among accepted ones
        header = str(app.query_one("#header").content)  # type: ignore[attr-defined]
        for number in range(ASKED):
            await settle(pilot, lambda: "hidden" in shown(app, "#detail-text"))
            assert not [word for word in TELLS if word in room_of(app).lower()], number
            await pilot.press("h", "l", "Y", "J", "v")  # what would tell more does nothing
            await settle(pilot)
            assert table.blind and len(app.screen_stack) == 1
            assert str(app.query_one("#header").content) == header  # type: ignore[attr-defined]
            if number < ASKED - 1:
                await pilot.press("y" if number % 2 else "b")
        assert "good" not in app.state.headline.told and "not read" in app.state.headline.told


async def test_two_keys_an_item_and_every_page_tells_it_when_it_is_left(path: Path) -> None:
    async with control_center(path, None, size=(200, 60)) as (app, pilot):
        table = await reading(app, pilot)
        wanted = column(table, "sample_id")
        panel = app.query_one("#samples-list")
        await pilot.press(*"ybyby")
        await settle(pilot, lambda: "5 of 6 read" in str(panel.border_subtitle))
        assert "not read by a person" in app.state.headline.told
        await pilot.press("b")
        await settle(pilot, lambda: "6 of 6 read · B shows" in str(panel.border_subtitle))
        await pilot.press("B")
        await settle(pilot, lambda: table.count == 64 and app.state.headline.read)
        assert not table.blind and "read by a person: " in app.state.headline.told
        assert any("Read by a person: " in note.message for note in app._notifications)
        await pilot.press("4")
        gates = app.query_one("#gate-table", DataTable)
        await settle(pilot, lambda: gates.row_count > 3)
        cells = {str(gates.get_row_at(at)[1]): gates.get_row_at(at) for at in range(gates.row_count)}
        assert str(cells["read by a person"][0]) == "✓" and "–" in str(cells["accepted, read as good"][4])
    assert labels_in(path) == {name: ("bad" if at % 2 else "good", READING) for at, name in enumerate(wanted)}


async def test_reading_goes_on_after_a_restart_where_it_was_and_an_undo_takes_back(path: Path) -> None:
    async with control_center(path, None) as (app, pilot):
        table = await reading(app, pilot)
        before = column(table, "sample_id")
        await pilot.press("y", "b", "d", "u")
        await settle(pilot, lambda: "2 of 6 read" in str(app.query_one("#samples-list").border_subtitle))
        assert table.cursor == 2
    assert read_so_far(path) == 2
    async with control_center(path, None) as (app, pilot):
        await settle(pilot, lambda: app.state.run_id == RUN)
        assert "2 of 6 read by a person" in app.state.headline.told
        table = await reading(app, pilot)
        assert column(table, "sample_id") == before and table.cursor == 2
        assert column(table, "person")[:3] == ["good", "bad", None]
        await pilot.press("up", "U")
        await settle(pilot, lambda: column(table, "person")[1] is None)
    assert read_so_far(path) == 1


async def test_the_row_of_the_gate_offers_it_and_a_filter_leaves_it(path: Path) -> None:
    async with control_center(path, None) as (app, pilot):
        await pilot.press("4")
        table = app.query_one("#gate-table", DataTable)
        await settle(pilot, lambda: table.row_count > 3)
        names = [str(table.get_row_at(at)[1]) for at in range(table.row_count)]
        table.move_cursor(row=names.index("read by a person"))
        await settle(pilot, lambda: "read 6 candidates blind: B in the room" in shown(app, "#gate-evidence-text"))
        await pilot.press("enter")
        listed = app.query_one(SamplesTable)
        await settle(pilot, lambda: app.room.id == "samples" and listed.count == ASKED)
        await pilot.press("a")
        await settle(pilot, lambda: set(column(listed, "verdict")) == {"accepted"})
        assert not listed.blind and app.query_one(SamplesRoom)._queue is None


async def test_the_end_of_a_run_offers_it_once(path: Path) -> None:
    async with control_center(path, None) as (app, pilot):
        await settle(pilot, lambda: app.state.run_id == RUN)
        dock = app.query_one(QuestionDock)
        assert dock.current is None  # a run that ended long ago asks for nothing
        app.tell_of("RunFinished", {"state": "done"})
        app.load_history(RUN)
        await settle(pilot, lambda: dock.current is not None)
        assert dock.current is not None and "6 candidates of this run are drawn" in dock.current.text
        dock.focus()
        await pilot.press("y")
        await settle(pilot, lambda: app.room.id == "samples" and app.query_one(SamplesTable).count == ASKED)
        app.load_history(RUN)
        await settle(pilot)
        assert dock.current is None
