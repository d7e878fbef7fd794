"""Questions: what failed comes first, under the cursor, by its whole name."""

from pathlib import Path

from textual.widgets import DataTable

from store.db import Store
from tests.store import rows
from tests.tui.fakes import RUN, fill
from tests.tui.screen import control_center, settle, shown

LONG = "a_check_whose_name_is_longer_than_a_narrow_column"


def gates(path: Path, **fields: object) -> None:
    later = rows.T0.replace(year=2028)
    checks = [
        rows.gate("accepted", "final", run_id=RUN, decided_at=later, **fields),
        rows.gate(LONG, "final", run_id=RUN, decided_at=later, **fields),
        rows.gate("runaway", "final", run_id=RUN, decided_at=later, passed=False, **fields),
        rows.gate("zeal", "final", run_id=RUN, decided_at=later, passed=False, **fields),
    ]
    with Store.open(path) as store:
        store.put({"gates": checks})


async def test_failed_checks_of_the_latest_gate_come_first_with_the_cursor(tmp_path: Path) -> None:
    path = tmp_path / "s.duckdb"
    fill(path)
    gates(path)
    async with control_center(path, None, size=(200, 60)) as (app, pilot):
        await pilot.press("4")
        table = app.query_one("#gate-table", DataTable)
        await settle(pilot, lambda: table.row_count == 7)
        names = [str(table.get_row_at(at)[1]) for at in range(7)]
        assert names == ["runaway", "zeal", LONG.replace("_", " "), "accepted", "token limit", "runaway", "guard"]
        assert table.cursor_row == 0
        await settle(pilot, lambda: "runaway FAILED" in shown(app, "#gate-evidence-text"))
        strips = app.screen._compositor.render_strips()
        assert any(LONG.replace("_", " ") in strip.text for strip in strips)  # whole where there is room
        await pilot.press("j", "j")
        app.load_history(RUN)
        await settle(pilot)
        assert table.cursor_row == 2  # a person put it there, and nothing has changed
        await pilot.resize_terminal(80, 24)
        await settle(pilot)
        assert table.cursor_row == 2 and table.row_count == 7


async def test_new_figures_put_the_cursor_on_what_fails_now(tmp_path: Path) -> None:
    path = tmp_path / "s.duckdb"
    fill(path)
    gates(path)
    async with control_center(path, None) as (app, pilot):
        await pilot.press("4")
        table = app.query_one("#gate-table", DataTable)
        await settle(pilot, lambda: table.row_count == 7)
        await pilot.press("G")

        def change(store: Store) -> None:
            fixed = rows.gate("runaway", "final", run_id=RUN, decided_at=rows.T0.replace(year=2029))
            store.put({"gates": [fixed | {"evidence_sha256": "ab" * 32}]})

        app.session.write(change)
        app.show_run(RUN)
        await settle(pilot, lambda: str(table.get_row_at(0)[1]) == "zeal" and table.cursor_row == 0)
