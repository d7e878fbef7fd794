"""Thresholds: what would change is shown at once, and applied only with a reason."""

from pathlib import Path

import pytest
from textual import events

from engine.analyses.whatif import Acceptance, Consequence, apply
from store.db import Store
from tests.store import rows
from tests.tui.fake_preferences import compared, constitution, fill_preferences, pair
from tests.tui.fakes import RUN, fill
from tests.tui.screen import control_center, settle, shown
from tui.rooms.thresholds import ThresholdsRoom
from tui.widgets.frame.dock import QuestionDock


async def test_moving_shows_and_applying_asks_for_a_reason(tmp_path: Path) -> None:
    path = tmp_path / "s.duckdb"
    fill(path, many=60)
    async with control_center(path, None) as (app, pilot):
        await pilot.press("3")
        await settle(pilot, lambda: "pairs" in shown(app, "#outcome"))
        assert "accept above" in shown(app, "#knobs") and "+0.40" in shown(app, "#knobs")
        before = shown(app, "#outcome")
        assert "Move a threshold" in shown(app, "#changes")
        await pilot.press(*["right"] * 6)
        await settle(pilot, lambda: "+0.40 → +0.70" in shown(app, "#knobs") and "was" in shown(app, "#outcome"))
        assert shown(app, "#outcome") != before and "accepted → ? unsure" in shown(app, "#changes")
        await pilot.press("x")
        await settle(pilot, lambda: shown(app, "#outcome") == before)
        await pilot.press("L", "enter")
        dock = app.query_one(QuestionDock)
        await settle(pilot, lambda: dock.current is not None)
        await pilot.press("y", *"stricter", "enter")
        await settle(pilot, lambda: "+0.90" in shown(app, "#knobs") and "→" not in shown(app, "#knobs"))
        told = [note.message for note in app._notifications]
        assert any("samples and 0 instructions changed sides.\n– The gate is not tested. " in item for item in told), (
            told
        )
        await pilot.press("4")
        await settle(pilot, lambda: "1 decided" in str(app.query_one("#gate-table").border_subtitle))
        await pilot.press(*["j"] * 40)
        await settle(pilot, lambda: "stricter" in shown(app, "#gate-evidence-text"))
        assert "made on the figures that the gate has now" in shown(app, "#gate-evidence-text")
    with Store.open(path, read_only=True) as store:
        decision = store.reader().query("SELECT * FROM decisions")[0]
    assert decision["reason"] == "stricter" and "accept_above: 0.4 -> 0.9" in decision["question"]


@pytest.mark.parametrize("size", [(80, 24), (120, 36), (200, 60)])
async def test_the_calibration_is_drawn_and_the_line_follows_the_threshold(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    fill(tmp_path / "s.duckdb", many=60)
    async with control_center(tmp_path / "s.duckdb", None, size=size) as (app, pilot):
        await pilot.press("3")
        await settle(pilot, lambda: "Move a threshold" in shown(app, "#changes"))
        box = app.query_one("#changes-box")
        await pilot.press("g")
        await settle(pilot, lambda: "calibration error" in shown(app, "#changes"))
        assert box.border_title == "How well the critic is calibrated"
        text = shown(app, "#changes")
        fresh, own = text.split("pair label · cross-validated")
        assert "pair label · fresh, read blind" in fresh and "n=210" in fresh and "n=60" in own  # never in one diagram
        assert fresh.count("accept at 0.60") == 1 and fresh.count("●") + fresh.count("◈") == 11  # one in the legend
        assert "Scores above +0.40: " in fresh and "% good [" in fresh
        assert max(map(len, (line for line in text.split("\n") if "●" in line))) <= box.content_size.width
        await pilot.press(*["right"] * 6)
        await settle(pilot, lambda: "accept at 0.67" in shown(app, "#changes"))
        assert "Scores above +0.70: " in shown(app, "#changes")
        await pilot.press("g")
        await settle(pilot, lambda: "unsure" in shown(app, "#changes"))
        assert box.border_title == "What changes sides"


async def test_without_a_probe_no_calibration_is_made_up(tmp_path: Path) -> None:
    fill(tmp_path / "s.duckdb")
    with Store.open(tmp_path / "s.duckdb") as store:
        store.put({"audits": [rows.audit("label", RUN, part=part, auc=0.7) for part in ("own", "fresh")]})
    async with control_center(tmp_path / "s.duckdb", None) as (app, pilot):
        await pilot.press("3")
        await settle(pilot, lambda: "pairs" in shown(app, "#outcome"))
        await pilot.press("g")
        await settle(pilot, lambda: "No critic of this run has a score that is a probability" in shown(app, "#changes"))


async def test_values_that_contradict_are_said_and_a_running_run_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "s.duckdb"
    fill(path)
    async with control_center(path) as (app, pilot):
        await settle(pilot, lambda: app.state.forecast is not None)
        await pilot.press("3")
        await settle(pilot, lambda: "pairs" in shown(app, "#outcome"))
        await pilot.press("j", "L", "L")
        await settle(pilot, lambda: "must not exceed" in shown(app, "#outcome"))
        await pilot.press("enter")
        await settle(pilot)
        assert app.query_one(QuestionDock).current is None


async def test_keys_that_come_before_the_list_take_effect(tmp_path: Path) -> None:
    fill(tmp_path / "s.duckdb", many=60)
    async with control_center(tmp_path / "s.duckdb", None) as (app, pilot):
        await settle(pilot, lambda: app.state.state == "done")
        for key in ("3", "j", "j", "l"):  # as a terminal sends them: at once, nothing is waited for
            app.post_message(events.Key(key, key))
        await settle(pilot, lambda: "0.60 → 0.61" in shown(app, "#knobs"))
        assert app.query_one(ThresholdsRoom).list.chosen == 2
        await pilot.press("r")
        await settle(pilot, lambda: "→" not in shown(app, "#knobs"))


async def test_instructions_that_change_sides_are_counted(tmp_path: Path) -> None:
    fill(tmp_path / "s.duckdb")
    async with control_center(tmp_path / "s.duckdb", None) as (app, pilot):
        await pilot.press("3")
        await settle(pilot, lambda: "pairs" in shown(app, "#outcome"))
        room = app.query_one(ThresholdsRoom)

        def outcome(accepted: int) -> Consequence:
            kinds = {"instruction": Acceptance(accepted, 100, 0, 1), "sample": Acceptance(5, 9, 0, 1)}
            return Consequence(kinds, [], {"instruction": "label", "sample": "label"}, 0, [])

        room._moved = {"critics.min_auc": 0.9}
        room._paint(outcome(92), outcome(71), [])
        told = shown(app, "#changes")
        assert "21 fewer instructions would be accepted: 71 instead of 92." in told
        assert "No sample would change sides." in told and "Nothing" not in told


@pytest.mark.parametrize("size", [(80, 24), (120, 36)])
async def test_thresholds_of_pairs_are_tried_and_applied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]
) -> None:
    monkeypatch.setattr("engine.spec.constitution.CONSTITUTION", constitution(tmp_path / "constitution.yaml"))
    path = tmp_path / "s.duckdb"
    fill_preferences(path)
    with Store.open(path) as store:
        store.append(
            {
                "pairs": [pair("p5", "best_of", "c1", "s4"), pair("p6", "best_of", "c1", "s3", ordinal=2)],
                "judgements": [compared("pair", "p5", 0.75, 0.25), compared("pair", "p6", 1.25, 0.75)],
                "verdicts": [rows.verdict(name, run_id=RUN, subject_kind="pair") for name in ("p5", "p6")],
            }
        )
    async with control_center(path, None, size=size) as (app, pilot):
        await pilot.press("3")
        await settle(pilot, lambda: "pref. pairs" in shown(app, "#outcome"))
        assert "by compare, unaudited" in shown(app, "#outcome") and "smallest margin" in shown(app, "#outcome")
        room = app.query_one(ThresholdsRoom)
        at = [knob.key for knob in room._knobs].index("pairs.min_margin_nats")
        await pilot.press(*["j"] * at)
        # The list shows what is chosen, however low the screen is, and the checks that its thresholds are about.
        await settle(pilot, lambda: "▸ min margin nats" in shown(app, "#knobs"))
        assert len(shown(app, "#knobs").split("\n")) <= room.list.content_size.height
        box = app.query_one("#outcome-box")
        await settle(pilot, lambda: box.scroll_y == box.max_scroll_y)
        await pilot.press(
            "L", "l", "l"
        )  # p1 prefers its chosen side by 0.5 nats, p3 and p4 were made to have a worse one
        await settle(pilot, lambda: "+0.00 → +0.60" in shown(app, "#knobs"))
        await settle(pilot, lambda: "would change sides" in shown(app, "#changes"))
        assert "1 preference pair would change sides: 1 kept instead of 2." in shown(app, "#changes")
        assert "No sample would change sides." in shown(app, "#changes")
        assert "smallest margin" in shown(app, "#outcome") and "1 >= 0.6" in shown(app, "#outcome")
        await pilot.press("enter", "y", *"plain", "enter")
        await settle(pilot, lambda: "+0.60" in shown(app, "#knobs") and "→" not in shown(app, "#knobs"))
        told = [note.message for note in app._notifications]
        assert any("0 instructions, 3 preference pairs changed sides." in item for item in told)
    with Store.open(path, read_only=True) as store:
        found = store.reader().query("SELECT verdict, flags FROM verdicts WHERE subject_id IN ('p5', 'p6') ORDER BY 1")
    assert [tuple(row.values()) for row in found] == [("accepted", []), ("rejected", ["margin"])]


async def test_the_list_goes_back_up_and_its_lines_can_be_clicked_where_they_stand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.spec.constitution.CONSTITUTION", constitution(tmp_path / "constitution.yaml"))
    fill_preferences(tmp_path / "s.duckdb")
    async with control_center(tmp_path / "s.duckdb", None, size=(80, 24)) as (app, pilot):
        await pilot.press("3")
        await settle(pilot, lambda: "pref. pairs" in shown(app, "#outcome"))
        room = app.query_one(ThresholdsRoom)
        await pilot.press(*["j"] * 40)
        assert room.list.chosen == len(room._knobs) - 1
        lines = shown(app, "#knobs").split("\n")
        at = next(y for y, line in enumerate(lines) if "per instruction" in line)
        await pilot.click("#knobs", offset=(6, at + 1))
        await settle(pilot, lambda: "▸ per instruction" in shown(app, "#knobs"))
        await pilot.press(*["k"] * 40)
        await settle(pilot, lambda: "▸ accept above" in shown(app, "#knobs"))
        assert app.query_one("#outcome-box").scroll_y == 0


async def test_after_thresholds_were_applied_every_room_agrees(tmp_path: Path) -> None:
    path = tmp_path / "s.duckdb"
    fill(path, many=60)
    async with control_center(path, None, size=(160, 50)) as (app, pilot):
        await settle(pilot, lambda: app.state.state == "done")

        def change(store: Store) -> None:
            apply(store, RUN, {"gate.pair_acceptance_at_least": "0.9"}, "only what is mostly good")

        app.session.write(change)
        app.show_run(RUN)
        await settle(pilot, lambda: app.state.state == "gate_failed")
        screens = {}
        for key in ("1", "3", "4", "7"):
            await pilot.press(key)
            await settle(pilot)
            screens[key] = "\n".join(strip.text for strip in app.screen._compositor.render_strips())
        assert all("✗ gate failed" in text for text in screens.values())
        assert "✗ QC gate" in screens["1"] and "Gate pilot FAILED: pair acceptance" in screens["1"]
        assert app.state.gates["pilot"].result == "failed" and "pair acceptance" in app.state.gates["pilot"].failed
        assert "✗ pair acceptance" in screens["3"] and "pair acceptance" in screens["4"]
        assert "what may be done about the pilot gate" in screens["4"]
        for way in ("more candidates", "other thresholds", "a review: cai review ask", "an override"):
            assert way in screens["4"], way

        def back(store: Store) -> None:
            apply(store, RUN, {"gate.pair_acceptance_at_least": "0.1"}, "as it was")

        app.session.write(back)
        app.show_run(RUN)
        await settle(pilot, lambda: app.state.state == "stopped")
        told = [moment.text for moment in app.state.events if moment.text.startswith("Gate pilot")]
        assert len(told) == 2 and "FAILED" in told[0] and "FAILED" not in told[1]
