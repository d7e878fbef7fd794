"""The control center over a fake engine and a store filled by hand."""

import threading
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import DataTable, RichLog, Static

from engine.core.events import Event, QuestionAsked, RunFinished, RunStarted
from store.errors import StoreLocked
from tests.tui.fakes import HOSTILE, RUN, FakeEngine, fill
from tests.tui.screen import control_center, settle, shown, shown_below
from tui.app.app import ControlCenter
from tui.widgets.frame.dock import QuestionDock
from tui.widgets.frame.notice import Notice
from tui.widgets.histogram import draw
from tui.widgets.marks import signed_bar, sparkline
from tui.widgets.samples.table import SamplesTable
from tui.words.keys import PURPOSES, key_name
from tui.words.places import PLACES


@pytest.mark.parametrize("size", [(80, 24), (120, 36), (200, 60), (60, 20)])
async def test_run_screen_shows_the_figures(store: Path, size: tuple[int, int]) -> None:
    async with control_center(store, size=size) as (app, pilot):
        await settle(pilot, lambda: app.state.forecast is not None and "104/152" in shown(app, "#figures"))
        header = shown(app, "#header")
        assert RUN in header and "▶ running" in header and "◆ stage_1_small_model" in header
        assert "74.8 %" in shown(app, "#figures") and "[67–81]" in shown(app, "#figures")
        assert "64/98" in shown(app, "#rail") and "● Guard" in shown(app, "#rail")
        assert "✓ guard     passed" in shown(app, "#glance-text") and "filter pair label" in shown(app, "#glance-text")
        await pilot.press("G")
        await settle(pilot, lambda: "AUC 0.51 < 0.60" in shown(app, "#glance-text"))
        await pilot.press("escape")
        await settle(pilot, lambda: "┻" in shown(app, "#histogram"))


async def test_hostile_text_is_inert(store: Path) -> None:
    async with control_center(store) as (app, pilot):
        await pilot.press("2")
        await settle(pilot, lambda: "Exact prompt" in shown(app, "#detail-text"))
        detail = shown(app, "#detail-text")
        assert "␛]52;c;aGFjaw==␇[red]x[/] ⟨U+202E⟩abc⟨U+200B⟩" in detail
        line = app.query_one(SamplesTable).render_line(1).text
        assert "␛]52;c;aGFjaw==␇[" in line
        painted = app.export_screenshot()
        assert not any(char in painted for char in "\x1b\x07\u202e\u200b")


async def test_gate_shows_evidence_and_offenders(store: Path) -> None:
    async with control_center(store) as (app, pilot):
        await pilot.press("4")
        table = app.query_one("#gate-table", DataTable)
        await settle(pilot, lambda: table.row_count == 3)
        assert [str(table.get_row_at(at)[1]) for at in range(3)] == ["token limit", "runaway", "guard"]
        await settle(pilot, lambda: "token limit" in shown(app, "#gate-evidence-text"))
        evidence = shown(app, "#gate-evidence-text")
        assert "✗ token limit FAILED" in evidence and "1 count against it" in evidence and "sample s3" in evidence


async def test_pause_resume_stop_reach_the_engine(store: Path) -> None:
    async with control_center(store) as (app, pilot):
        await settle(pilot, lambda: app.state.forecast is not None)
        engine = app.session.engine
        assert isinstance(engine, FakeEngine)
        await pilot.press("p")
        await settle(pilot, lambda: app.state.state == "paused")
        await pilot.press("p")
        await settle(pilot, lambda: app.state.state == "running")
        await pilot.press("s", "n")
        assert ("stop",) not in engine.calls
        await pilot.press("s", "y")
        await settle(pilot, lambda: app.state.state == "stopped")
        assert engine.calls[:3] == [("pause",), ("resume",), ("stop",)]


async def test_quit_asks_while_a_run_goes_on(store: Path) -> None:
    async with control_center(store) as (app, pilot):
        await settle(pilot, lambda: app.state.forecast is not None)
        await pilot.press("ctrl+c")
        dock = app.query_one(QuestionDock)
        assert dock.current is not None and "resumed" in dock.current.text
        await pilot.press("escape")
        assert dock.current is None and app.is_running
        await pilot.press("q", "y")
        for _ in range(100):
            await pilot.pause(0.02)
            if app.return_value is not None:
                break
        assert app.return_value == "stopped"


async def test_quit_while_stopping_leaves_when_the_run_has_ended(store: Path) -> None:
    """The question goes with the run, and what was asked for is done all the same."""
    ending = threading.Event()

    def slow_to_stop(engine: FakeEngine) -> Iterable[Event]:
        yield RunStarted(RUN, "s", "m", 1, 40, False)
        ending.wait(20)
        yield RunFinished(RUN, "stopped", "asked to", 0, 1.0)

    async with control_center(store, slow_to_stop) as (app, pilot):
        await settle(pilot, lambda: app.state.state == "running")
        app.state.ask_state("stopping")
        await pilot.press("q")
        dock = app.query_one(QuestionDock)
        assert dock.current is not None and "finishing" in dock.current.text
        ending.set()
        for _ in range(200):
            await pilot.pause(0.02)
            if app.return_value is not None:
                break
        assert app.return_value == "stopped"


async def test_doubled_enter_answers_one_question(store: Path) -> None:
    typed = threading.Event()

    def two_questions(engine: FakeEngine) -> Iterable[Event]:
        yield RunStarted(RUN, "s", "m", 1, 40, False)
        typed.wait(20)
        yield QuestionAsked(RUN, "q1", "threshold", "First?")
        yield QuestionAsked(RUN, "q2", "threshold", "Second?")
        engine.released.wait(20)

    async with control_center(store, two_questions) as (app, pilot):
        dock = app.query_one(QuestionDock)
        await pilot.press("c")
        typed.set()
        await settle(pilot, lambda: len(dock.waiting) == 2)
        engine = app.session.engine
        assert isinstance(engine, FakeEngine)
        await pilot.press("enter")
        assert dock.current is not None and dock.current.question_id == "engine:q1"  # it does not steal the focus
        now = [0.0]
        dock._clock = lambda: now[0]
        await pilot.press("g", "enter", "enter")
        await settle(pilot)
        assert engine.calls == [("answer", "q1", "approve")]
        assert dock.current is not None and dock.current.question_id == "engine:q2"
        now[0] = 1.0
        await pilot.press("n", "enter", *"noise", "enter", "enter")
        await settle(pilot)
        assert engine.calls == [("answer", "q1", "approve"), ("answer", "q2", "reject")]
        assert engine.reasons == ["answered on the screen", "noise"]
        assert dock.current is None


@pytest.mark.parametrize(("room", "takes_it"), [("1", True), ("2", False)])
async def test_a_question_takes_the_keys_of_a_person_at_rest_in_the_room_run(
    store: Path, room: str, takes_it: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tui.app.serving.IDLE_S", 0.0)
    opened = threading.Event()

    def one_question(engine: FakeEngine) -> Iterable[Event]:
        yield RunStarted(RUN, "s", "m", 1, 40, False)
        opened.wait(20)
        yield QuestionAsked(RUN, "q1", "pilot", "Scale?")
        engine.released.wait(20)

    async with control_center(store, one_question) as (app, pilot):
        await pilot.press(room)
        opened.set()
        await settle(pilot, lambda: app.dock.current is not None)
        assert app.dock.has_focus is takes_it
        assert (str(app.dock.border_subtitle) == "g, then its keys") is not takes_it
        await pilot.press("g")
        assert app.dock.has_focus and not app.dock.border_subtitle


async def test_failed_engine_is_shown_with_its_hint(tmp_path: Path) -> None:
    def refuse(*_: Any) -> Any:
        raise StoreLocked("Process 42 holds the store", "Leave it, or choose another --store")

    app = ControlCenter(tmp_path / "x.duckdb", object(), refuse, None)  # type: ignore[arg-type]
    async with app.run_test() as pilot:
        notice = app.query_one(Notice)
        await settle(pilot, lambda: bool(notice.display))
        assert "Process 42" in str(notice.content) and "--store" in str(notice.content)
        assert app.state.state == "failed"


async def test_any_worker_failure_is_shown(store: Path) -> None:
    async with control_center(store) as (app, pilot):
        app.background("counting to zero", lambda: 1 // 0)
        await settle_failing(pilot)
        assert "counting to zero failed: ZeroDivisionError" in str(app.query_one(Notice).content)
        await pilot.press("escape")


async def settle_failing(pilot: Pilot[Any]) -> None:
    for _ in range(50):
        await pilot.pause(0.02)
        if pilot.app.query_one(Notice).display:
            return


async def test_run_that_fails_says_what_is_safe(store: Path) -> None:
    def fails(_: FakeEngine) -> Iterable[Event]:
        yield RunStarted(RUN, "s", "m", 1, 40, False)
        yield RunFinished(RUN, "failed", "out of memory", 0, 1.0)

    async with control_center(store, fails) as (app, pilot):
        await settle(pilot, lambda: bool(app.query_one(Notice).display))
        assert "out of memory" in str(app.query_one(Notice).content)
        assert "✗ failed" in shown(app, "#header")


async def test_unfinished_run_is_offered(tmp_path: Path) -> None:
    path = tmp_path / "store.duckdb"
    fill(path, state="stopped")
    async with control_center(path, None) as (app, pilot):
        dock = app.query_one(QuestionDock)
        await settle(pilot, lambda: dock.current is not None and app.state.state == "stopped")
        assert dock.current is not None and RUN in dock.current.text
        begun: list[str] = []
        app.session.begin_again = lambda run_id: begun.append(run_id) or run_id  # type: ignore[method-assign, func-returns-value]
        await pilot.press("enter")
        await settle(pilot, lambda: begun == [RUN])


async def test_finished_run_is_shown_and_can_be_left(store: Path) -> None:
    async with control_center(store, None) as (app, pilot):
        await settle(pilot, lambda: app.state.state == "done")
        assert app.query_one(QuestionDock).current is None
        await pilot.press("s", "p")
        assert app.query_one(QuestionDock).current is None


async def test_empty_store_explains_a_pilot(tmp_path: Path) -> None:
    begun = threading.Event()
    async with control_center(tmp_path / "none.duckdb", None) as (app, pilot):
        await settle(pilot, lambda: bool(app.query("#start")))
        assert "A pilot takes a base model" in shown(app, "#start")
        app.session.begin_new = lambda: begun.set() or RUN  # type: ignore[method-assign, func-returns-value]
        await pilot.press("enter")
        await settle(pilot, begun.is_set)
        assert not app.query("#start")


async def test_log_is_tailed_and_searched(store: Path, tmp_path: Path) -> None:
    log = tmp_path / "run.log"
    log.write_text("first line\n\x1b[31m" + HOSTILE + "\nprogress 1%\rprogress 99%\n")
    async with control_center(store, log=log) as (app, pilot):
        await pilot.press("9")
        lines = app.query_one("#log-lines", RichLog)
        await settle(pilot, lambda: len(lines.lines) == 3)
        assert "␛[31m␛]52" in lines.lines[1].text and lines.lines[2].text.startswith("· progress 99%")
        await pilot.press("slash", *"first", "enter")
        await settle(pilot, lambda: len(lines.lines) == 1)


async def test_help_comes_from_the_bindings(store: Path) -> None:
    async with control_center(store) as (app, pilot):
        await settle(pilot, lambda: app.state.forecast is not None)
        await pilot.press("question_mark")
        text = str(app.screen.query(Static).first().content)
        assert "Pause after the batch or step under way" in text
        assert app.session.engine is not None
        app.session.engine.pause()  # the screen below help is kept up to date
        await settle(pilot, lambda: "‖ paused" in shown_below(app, "#header"))
        await pilot.press("escape")
        assert len(app.screen_stack) == 1


@pytest.mark.parametrize("room", [place.name for place in PLACES])
async def test_help_and_palette_tell_each_command_once(store: Path, room: str) -> None:
    async with control_center(store, None) as (app, pilot):
        app.open_room(room)
        await settle(pilot)
        titles = [command.title.partition(" (")[0] for command in app.get_system_commands(app.screen)]
        assert sorted(titles) == sorted(set(titles))
        await pilot.press("f1" if room == "sql" else "question_mark")
        if room == "sql":  # the editor takes what is typed: its footer names the key that leaves it
            assert "Esc Leave" in shown(app, "#keys")
            await pilot.press("escape", "question_mark")
        await settle(pilot, lambda: len(app.screen_stack) == 2)
        rows = str(app.screen.query(Static).first().content).split("\n")
        heads = [row for row in rows if row in PURPOSES]
        assert heads == [purpose for purpose in PURPOSES if purpose in heads] and "Rooms" in heads
        told = [row.split("  ", 1)[1].strip() for row in rows if "  " in row.strip()[:30] and row not in PURPOSES]
        assert len(told) == len(set(told))
        assert not any(raw in "\n".join(rows) for raw in ("escape ", "question_mark", "^", "ctrl+", "pagedown"))
        await pilot.press("escape", "1")
        await settle(pilot, lambda: app.room.id == "run")


def test_keys_are_written_in_one_way() -> None:
    told = {"ctrl+c": "Ctrl+C", "escape": "Esc", "f5": "F5", "G": "G", "g": "g", "shift+right": "Shift+→", "+": "+"}
    assert {key: key_name(key) for key in told} == told
    assert key_name("question_mark") == "?" and key_name("ctrl+enter") == "Ctrl+Enter"


def test_every_binding_has_id_description_and_tooltip() -> None:
    from tui.widgets.frame import help, notice
    from tui.widgets.samples import detail
    from tui.widgets.training import first_batch
    from tui.widgets.training import plan as training_plan

    owners = (
        ControlCenter,
        *(getattr(import_module(place.where[0]), place.where[1]) for place in PLACES),
        detail.SampleDetail,
        notice.Notice,
        help.HelpScreen,
        first_batch.FirstBatchScreen,
        training_plan.TrainingPlanScreen,
    )
    for owner in owners:
        for binding in owner.BINDINGS:
            assert binding.id and binding.description and binding.tooltip, (owner, binding)  # type: ignore[union-attr]


def test_a_series_with_values_below_zero_rises_where_they_do() -> None:
    assert sparkline([0.0, 1.0, 2.0], 9) == "▁▄█" and sparkline([], 9) == ""
    assert sparkline([-1.0, 0.0, 1.0], 9) == "▁▄█" and sparkline([-2.0, -1.0], 9) == "▁█"
    assert sparkline([0.0, 0.0], 9) == "▁▁"


def test_drawings_fit_their_size() -> None:
    picture = draw([0.1, 0.5, -3.0, 9.0] * 30, 0.4, 40, 8, 60)
    assert [len(line) for line in picture.plain.split("\n")] == [40] * 8
    assert len(signed_bar(-9.0, 0.4, 31, 1.0).plain) == 31
    assert "◀" in signed_bar(-9.0, 0.4, 31, 1.0).plain


# -- the store changes hands ------------------------------------------------------------------------------------------


async def test_a_read_under_way_when_the_store_changes_hands_is_repeated(store: Path) -> None:
    begun, goes_on, found = threading.Event(), threading.Event(), []

    def slow(library: Any) -> Any:
        begun.set()
        goes_on.wait(10)
        return library.runs()

    async with control_center(store) as (app, pilot):
        await settle(pilot, lambda: app.state.forecast is not None)
        engine = app.session.engine
        assert isinstance(engine, FakeEngine)
        engine.stop()
        await settle(pilot, lambda: app.state.state == "stopped")
        before = app.session.library
        app.room.read("listing slowly", slow, found.append)
        for _ in range(100):
            await pilot.pause(0.02)
            if begun.is_set():
                break
        app.begin(lambda: app.session.begin(object()))  # type: ignore[arg-type]
        for _ in range(100):
            await pilot.pause(0.02)
            if app.session.library not in (None, before):
                break
        goes_on.set()
        await settle(pilot, lambda: bool(found))
        assert [run["run_id"] for run in found[0]] == [RUN]
        assert not app.notice.display


async def test_a_read_without_a_store_waits_for_one_and_a_failed_start_leaves_it_readable(store: Path) -> None:
    found: list[Any] = []
    async with control_center(store, None) as (app, pilot):
        await settle(pilot, lambda: app.state.state == "done")
        app.session.let_go()
        app.room.read("listing", lambda library: library.runs(), found.append)
        await settle(pilot)
        assert not found and not app.notice.display

        def refuse(*_: Any) -> Any:
            raise StoreLocked("Process 42 holds the store", "Leave it")

        app.session._open_engine = refuse
        app.begin(lambda: app.session.begin(object()))  # type: ignore[arg-type]
        for _ in range(100):
            await pilot.pause(0.02)
            if found:
                break
        assert "Process 42" in shown(app, "#notice") and app.state.state == "failed"
        assert [run["run_id"] for run in found[0]] == [RUN]
