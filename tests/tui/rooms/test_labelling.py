"""Labelling in the room Samples: the queue, undoing, progress, and a refit that is asked for with its reason."""

from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from engine.quality.queue import LabelStanding
from engine.run.orders import Refit
from store.db import Store
from store.names import REFIT
from tests.store import rows
from tests.tui.fakes import RUN, fill
from tests.tui.rooms.test_samples_room import column, samples
from tests.tui.screen import control_center, settle, shown
from tui.app import asking
from tui.app.app import ControlCenter
from tui.live.state import beside
from tui.printed.leaving import farewell
from tui.rooms.samples import SamplesRoom
from tui.widgets.frame.dock import QuestionDock
from tui.widgets.samples.table import SamplesTable
from tui.words.wording import again_with, labelling


def subtitle(app: ControlCenter) -> str:
    return str(app.query_one("#samples-list").border_subtitle)


def labels_in(path: Path) -> dict[str, tuple[str, str | None]]:
    with Store.open(path, read_only=True) as store, store.reader() as reader:
        found = reader.query("SELECT subject_id, label, drawn FROM person_labels")
    return {row["subject_id"]: (row["label"], row["drawn"]) for row in found}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A run whose samples a probe judged, each with log-odds of its own."""
    path = tmp_path / "s.duckdb"
    fill(path, many=60)
    with Store.open(path) as store:
        probed = [rows.judgement(f"s{at}", "probe", margin_nats=(at - 40) / 8, score=0.0) for at in range(10, 70)]
        store.append({"judgements": probed})
    return path


async def queue(app: ControlCenter, pilot: Pilot[Any]) -> SamplesTable:
    table = await samples(app, pilot, 64)
    await pilot.press("Q")
    await settle(pilot, lambda: 30 < table.count < 64 and table.row_at(0) is not None)
    return table


async def test_the_queue_lists_what_the_probe_is_unsure_of_blind_and_labels_go_on(path: Path) -> None:
    async with control_center(path, None) as (app, pilot):
        table = await queue(app, pilot)
        assert "0 labels, 0 at random · own AUC not known yet" in subtitle(app)
        doubt = [abs(int(str(name)[1:]) - 40) for name in column(table, "sample_id")[:9]]
        assert doubt == sorted(doubt) and doubt[0] <= 1
        await settle(pilot, lambda: "hidden" in shown(app, "#detail-text"))
        assert "accepted" not in table.render_line(1).text and "rejected" not in column(table, "verdict")
        wanted = column(table, "sample_id")[:10]
        await pilot.press(*"ybybybybyb")
        await settle(pilot, lambda: "10 labels, 1 at random" in subtitle(app) and "newer than the fit" in subtitle(app))
        assert table.cursor == 10 and column(table, "person")[:4] == ["good", "bad", "good", "bad"]
        await pilot.press("Q")
        await settle(pilot, lambda: table.count == 64)
        assert not table.blind and "accepted" in "".join(table.render_line(at).text for at in range(1, 9))
    assert labels_in(path) == {
        name: ("bad" if at % 2 else "good", "random" if at == 9 else "queue") for at, name in enumerate(wanted)
    }


async def test_labels_are_undone_one_after_another_in_the_queue_and_outside_it(path: Path) -> None:
    async with control_center(path, None) as (app, pilot):
        table = await queue(app, pilot)
        wanted = column(table, "sample_id")[:3]
        await pilot.press("y", "b", "d", "u", "u")  # faster than they are written
        await settle(pilot, lambda: "1 label, 0 at random" in subtitle(app) and table.cursor == 1)
        assert column(table, "person")[:3] == ["good", None, None]
        await pilot.press("Q")
        await settle(pilot, lambda: table.count == 64 and table.row_at(0) is not None)
        await pilot.press("home", "y", "U")
        await settle(pilot, lambda: table.cursor == 0 and column(table, "person")[0] is None)
        await pilot.press("U")  # the one from the queue
        await settle(pilot, lambda: column(table, "sample_id")[table.cursor] == wanted[0])
    assert labels_in(path) == {}


async def test_a_label_of_an_earlier_sitting_is_taken_away_under_the_cursor_and_a_changed_one_comes_back(
    path: Path,
) -> None:
    label = {"run_id": RUN, "subject_kind": "sample", "subject_id": "s1", "reader": "", "label": "good", "note": "n",
             "at": rows.T0}  # fmt: skip
    with Store.open(path) as store:
        store.append({"person_labels": [label]})
    async with control_center(path, None) as (app, pilot):
        table = await samples(app, pilot, 64)
        await pilot.press("b", "U")
        await settle(pilot, lambda: column(table, "person")[0] == "good" and table.cursor == 0)
        await pilot.press("U")
        await settle(pilot, lambda: column(table, "person")[0] is None)
        await pilot.press("U")
        await settle(pilot, lambda: any("No label is left" in note.message for note in app._notifications))
    assert labels_in(path) == {}


async def test_a_filter_leaves_the_queue(path: Path) -> None:
    async with control_center(path, None) as (app, pilot):
        table = await queue(app, pilot)
        await pilot.press("a")
        await settle(pilot, lambda: set(column(table, "verdict")) == {"accepted"})
        assert not table.blind and app.query_one(SamplesRoom)._queue is None


async def test_a_refit_is_asked_for_with_its_reason(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    orders: list[Any] = []
    async with control_center(path, None) as (app, pilot):
        monkeypatch.setattr(app.session, "begin", lambda order: orders.append(order) or RUN)
        await samples(app, pilot, 64)
        await pilot.press("R")
        await settle(pilot, lambda: any("fitted on all labels" in note.message for note in app._notifications))
        await pilot.press("y")
        await settle(pilot, lambda: "1 newer than the fit, R refits" in subtitle(app))
        await pilot.press("R")
        dock = app.query_one(QuestionDock)
        await settle(pilot, lambda: dock.current is not None)
        await pilot.press("y", *"taught", "enter")
        await settle(pilot, lambda: bool(orders))
        assert app.state.refits and app.state.doing == "A refit"
    assert orders == [Refit(path, RUN, "taught")]


def test_how_far_labelling_is_in_words() -> None:
    told = labelling(LabelStanding(34, 4, "probe", 0.81, 0.05, 12))
    assert told == "34 labels, 4 at random · own AUC 0.81 ± 0.05 · 12 newer than the fit"
    assert labelling(LabelStanding(1, 0, None, None, None, None)) == "1 label, 0 at random · own AUC not known yet"


@pytest.mark.parametrize("already", [False, True])
def test_stopping_and_leaving_a_refit_say_what_becomes_of_the_run(already: bool) -> None:
    assert "The run stays as it was" in asking.stop((REFIT,)).text
    told = asking.leave((REFIT,), already=already).text
    assert "committed is safe" in told if already else "Until it is done the run stays as it was" in told
    assert again_with(RUN, (REFIT,)) == "label --refit --run run-a --reason WHY"
    state = beside(RUN, (REFIT,))
    state.state = "stopped"
    assert farewell(state, "cai").startswith("refit of run run-a stopped")
