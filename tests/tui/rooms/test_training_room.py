"""Training: curves that follow, a cursor that reads them, several trainings of one run, and how one is begun."""

import asyncio
import os
import socket
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from textual.widgets import Static

from engine.core.errors import SpecError, TrainingError
from engine.core.events import Event, PhaseStarted, RunFinished, RunStarted, TrainingStarted, TrainingStepped
from store import progress
from store.db import Store
from tests.store import rows
from tests.tui.fakes import RUN, FakeEngine, fill, settings
from tests.tui.screen import control_center, settle, shown
from tests.tui.training_fakes import finished_training, leave_checkpoint, plan
from tui.app.app import ControlCenter
from tui.reads.training import training_offer
from tui.rooms.training import TrainingRoom
from tui.widgets.training.curve import Curve
from tui.words.training import settings_words


def trained_rows(steps: int = 40) -> dict[str, list[rows.Row]]:
    """An SFT that is done and, begun later, a DPO at work."""
    dpo = [
        rows.training_step(
            at, "dpo-1", loss=0.6931 / at, reward_margin=at / 10, reward_accuracy=min(1.0, 0.5 + at / 60),
            heldout_loss=0.6 if at % 10 == 0 else None,
        )
        for at in range(1, steps + 1)
    ]  # fmt: skip
    return {
        "trainings": [
            rows.training(state="done"),
            rows.training("dpo-1", method="dpo", started_at=rows.T0.replace(year=2027)),
        ],
        "training_steps": [*(rows.training_step(at) for at in range(1, 11)), *dpo],
        "checkpoints": [
            rows.checkpoint(20, "dpo-1", heldout_loss=0.41),
            rows.checkpoint(40, "dpo-1", heldout_loss=0.52),
        ],
    }


def trained(path: Path) -> None:
    fill(path)
    with Store.open(path) as store:
        store.append(trained_rows())


def titles(app: ControlCenter) -> list[str]:
    return [one.picture.title for one in app.query(Curve) if one.display and one.picture is not None]


@pytest.fixture
def plans(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the engine would train; an error where it would train nothing."""
    found: dict[str, Any] = {"sft": plan(), "dpo": plan("dpo", shut=("enough examples", "the guard passed"))}

    def training_plan(_reader: object, run_id: str, kind: str, changed: Mapping[str, str], **_: object) -> Any:
        assert run_id == RUN
        wanted = found.get(f"{kind} {dict(changed)}", found[kind])
        if isinstance(wanted, Exception):
            raise wanted
        return wanted

    monkeypatch.setattr("engine.analyses.offers.training_plan", training_plan)
    return found


def would(app: ControlCenter, kind: str) -> str:
    return str(app.query_one(f"#column-{kind} Static", Static).content)


async def test_a_run_without_training_shows_plans_and_locks_at_once(tmp_path: Path, plans: dict[str, Any]) -> None:
    """Both kinds beside each other: what bars each, with its figure, how that is opened, and what would be trained."""
    fill(tmp_path / "s.duckdb")
    for size, dpo in (
        ((120, 36), plan("dpo", shut=("enough examples",))),
        ((80, 24), SpecError("no section 'dpo'", "Add it.")),
    ):
        plans["dpo"] = dpo
        async with control_center(tmp_path / "s.duckdb", None, size=size) as (app, pilot):
            await settle(pilot, lambda app=app: app.state.run_id == RUN)
            await pilot.press("5", "left", "j", "t", "enter", "w", "o")
            await settle(pilot, lambda app=app: "locks open" in would(app, "sft"))
            assert "Nothing is trained in this run yet" in shown(app, "#training-head")
            assert "SFT sft-new begins anew" in would(app, "sft") and "4 of 4 locks open" in would(app, "sft")
            assert "27 of 8 examples, 3 epochs" in " ".join(would(app, "sft").split())
            await settle(pilot, lambda app=app: "✗" in would(app, "dpo"))
            told = would(app, "dpo")
            if isinstance(dpo, SpecError):
                assert "✗ no section 'dpo'. Add it." in told
            else:
                assert "one lock is shut" in told and "3 of 4 locks open" in told and "\x1b" not in told
                assert told.index("✗ enough examples: 12 to train on") < told.index("Do something for enough examples.")
            assert not app.query(Curve) and len(app.screen_stack) == 1
            room, plans_shown = app.query_one(TrainingRoom).content_region, app.query_one("#training-plans").region
            assert plans_shown.bottom == room.bottom and plans_shown.height >= room.height - 2


async def test_the_plan_is_worked_out_anew_when_the_run_moved_on(tmp_path: Path, plans: dict[str, Any]) -> None:
    fill(tmp_path / "s.duckdb")
    async with control_center(tmp_path / "s.duckdb", None) as (app, pilot):
        await settle(pilot, lambda: app.state.run_id == RUN)
        await pilot.press("5")
        await settle(pilot, lambda: "69 to learn from" in would(app, "sft"))
        plans["sft"] = plan(examples=70)
        app.refresh_room()
        await settle(pilot)
        assert "69 to learn from" in would(app, "sft")
        app.load_history(RUN)
        await settle(pilot, lambda: "70 to learn from" in would(app, "sft"))


async def test_a_held_out_loss_that_comes_after_its_step_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "s.duckdb"
    fill(path)
    with Store.open(path) as store:
        store.append({"trainings": [rows.training()], "training_steps": [rows.training_step(at) for at in (1, 2)]})
    async with control_center(path, None) as (app, pilot):
        await settle(pilot, lambda: app.state.run_id == RUN)
        await pilot.press("5")
        await settle(pilot, lambda: "at step 2," in shown(app, "#training-values"))
        assert "Held-out loss" not in titles(app)
        later = [rows.training_step(2, heldout_loss=1.25), rows.training_step(3)]
        await asyncio.to_thread(app.session.write, lambda store: store.put({"training_steps": later}))
        app.refresh_room()
        await settle(pilot, lambda: "at step 3," in shown(app, "#training-values"))
        assert "Held-out loss" in titles(app)
        assert [step["heldout_loss"] for step in app.query_one(TrainingRoom)._steps] == [None, 1.25, None]


async def test_a_finished_training_says_on_what_it_learned_and_where_it_is(tmp_path: Path) -> None:
    path = tmp_path / "s.duckdb"
    fill(path)
    with Store.open(path) as store:
        store.append(
            {"trainings": [finished_training()], "training_steps": [rows.training_step(at) for at in range(1, 11)],
             "checkpoints": [rows.checkpoint(5, kept=False), rows.checkpoint(10, heldout_loss=1.0, kept=True)]}
        )  # fmt: skip
    async with control_center(path, None, size=(80, 24)) as (app, pilot):
        app.config = replace(app.config, price_per_gpu_hour=2.0)
        await settle(pilot, lambda: app.state.run_id == RUN)
        await pilot.press("5")
        await settle(pilot, lambda: "✓ done" in shown(app, "#training-head"))
        head = shown(app, "#training-head")
        assert "a new adapter · 69 examples, 4 held out" in head
        assert "4 × 2 examples a step, 8 were too many for the memory" in head
        assert "3:53 in all · $0.13 · 2.0 of 24 GiB (forecast 5.1)" in head
        assert "last checkpoint: step 10" in head and "held-out loss 1.0000, 1.3800 before training" in head
        assert "adapter of step 10: s.trainings/run-a/sft-1/adapter" in head
        assert max(map(len, head.split("\n"))) <= 76

        await pilot.press("m")
        await settle(pilot, lambda: bool(app.screen.query("#batch-text")))
        shown_batch = app.screen.query_one("#batch-text", Static).content
        assert "Instruction: ␛]52;x␇⟪ An answer.<eos>⟫" in str(shown_batch)
        assert "\x1b" not in app.export_screenshot()
        await pilot.press("escape")
        assert len(app.screen_stack) == 1


@pytest.mark.parametrize("state", ["running", "paused"])
def test_a_training_whose_process_is_gone_has_stopped(tmp_path: Path, state: str) -> None:
    path = tmp_path / "s.duckdb"
    fill(path)
    gone = rows.session("gone", run_id=RUN, pid=2**22 + 1)
    here = rows.session("here", run_id=RUN, pid=os.getpid(), host=socket.gethostname())
    with Store.open(path) as store:
        trainings = [
            rows.training(name, state=state, session_id=name or None, started_at=rows.T0)
            for name in ("gone", "here", "")
        ]
        store.append({"sessions": [gone, here], "trainings": trainings})
    with Store.open(path, read_only=True) as store, store.reader() as reader:
        found = {row["training_id"]: row for row in progress.trainings(reader, RUN)}
    assert {name: row["state"] for name, row in found.items()} == {"gone": "stopped", "here": state, "": state}
    assert "ended in the middle of training" in found["gone"]["reason"]


# -- beginning ---------------------------------------------------------------------------------------------------------


def told(app: ControlCenter) -> str:
    return f"{app.screen.query_one('#plan-told', Static).content}\n{app.screen.query_one('#plan-text', Static).content}"


async def test_a_plan_is_shown_and_carried_out(tmp_path: Path, plans: dict[str, Any]) -> None:
    path = tmp_path / "s.duckdb"
    fill(path)
    opened: list[Any] = []

    def trains(engine: FakeEngine) -> Iterable[Event]:
        yield RunStarted(RUN, "stage_1_small_model.md", "gemma3-270m", 7, 40, True)
        engine.store.append({"trainings": [rows.training("sft-new", planned_steps=27, state="running")]})
        yield PhaseStarted(RUN, "sft", 27)
        yield TrainingStarted(RUN, "sft-new", "sft", 27, 0, 69, "CPU")
        engine.store.append({"training_steps": [rows.training_step(1, "sft-new")]})
        yield TrainingStepped(RUN, "sft-new", 1, 27, 2.0, None, None, 200.0, None)
        engine.released.wait(20)

    def open_engine(options: Any, emit: Any) -> Any:
        opened.append(options)
        return FakeEngine(Store.open(path), emit, trains)

    async with control_center(path, None, size=(80, 24)) as (app, pilot):
        app.session._open_engine = open_engine
        await settle(pilot, lambda: app.state.run_id == RUN)
        await pilot.press("5", "n")
        await settle(pilot, lambda: "Enter trains" in told(app))
        assert "SFT sft-new begins anew" in told(app) and "27 of 8 examples, 3 epochs" in told(app)
        assert "5.1 GiB of the device's 16.0 GiB" in told(app) and "✓ the guard passed" in told(app)
        await pilot.press("tab")
        await settle(pilot, lambda: "2 locks are shut" in told(app))
        assert "✗ enough examples: 12 to train on ␛[2J" in told(app)
        await pilot.press("enter")
        await settle(pilot, lambda: "Locked: the guard passed. To open it: Do something for the guard" in told(app))
        assert len(app.screen_stack) == 2 and not opened

        await pilot.press("left")
        await settle(pilot, lambda: "begins anew" in told(app))
        await pilot.press("enter")
        await settle(pilot, lambda: "at step 1," in shown(app, "#training-values"))
        assert [(one.resume, one.train, one.store) for one in opened] == [(RUN, ("sft",), path)]
        await settle(pilot, lambda: "step 1 of 27" in shown(app, "#training-head"))
        assert "▶ training" in shown(app, "#header")
        await pilot.press("n")
        await settle(pilot, lambda: "Enter trains" in told(app))
        await pilot.press("enter")
        await settle(pilot, lambda: "A training is going on. Stop it first" in told(app))
        await pilot.press("escape", "s")
        await settle(pilot, lambda: "kept as a checkpoint" in shown(app, "#dock-text"))
        await pilot.press("y")
        await settle(pilot, lambda: app.state.state == "stopped")
        assert app.session.engine is not None and ("stop",) in app.session.engine.calls  # type: ignore[attr-defined]


async def test_a_training_that_was_left_goes_on_by_the_same_key(tmp_path: Path, plans: dict[str, Any]) -> None:
    path = tmp_path / "s.duckdb"
    fill(path)
    left = finished_training("dpo-new", method="dpo", state="stopped", reason="stopped and kept at step 5")
    done = finished_training(started_at=rows.T0.replace(year=2025))
    with Store.open(path) as store:
        store.append({"trainings": [done, left]})
    leave_checkpoint(path, "dpo-new", 4)
    leave_checkpoint(path, "dpo-new", 5)
    plans["dpo"] = plan("dpo")
    plans["sft"] = TrainingError("the spec of this run has no section 'sft'", "Take a spec that has one.")
    async with control_center(path, None, size=(80, 24)) as (app, pilot):
        await settle(pilot, lambda: app.state.run_id == RUN)
        await pilot.press("5")
        await settle(pilot, lambda: "■ stopped" in shown(app, "#training-head"))
        await pilot.press("n")
        await settle(pilot, lambda: "goes on from step 5 of 27" in told(app))
        assert "stopped     stopped and kept at step 5" in told(app)
        assert "begins with the adapter of sft-1" in told(app)
        await pilot.press("l")
        await settle(pilot, lambda: "has no section 'sft'. Take a spec that has one." in told(app))
        await pilot.press("enter", "escape")
        assert len(app.screen_stack) == 1


async def test_a_training_that_is_done_is_not_done_twice(tmp_path: Path, plans: dict[str, Any]) -> None:
    fill(tmp_path / "s.duckdb")
    plans["sft"] = plan(done=True)
    async with control_center(tmp_path / "s.duckdb", None) as (app, pilot):
        await settle(pilot, lambda: app.state.run_id == RUN)
        await pilot.press("5", "n")
        await settle(pilot, lambda: "is trained already on these examples" in told(app))
        await pilot.press("enter")
        await settle(pilot, lambda: "cai train sft --set sft.KEY=VALUE" in told(app))


async def test_a_lock_that_shut_meanwhile_is_told(tmp_path: Path) -> None:
    fill(tmp_path / "s.duckdb")

    def locked(_: FakeEngine) -> Iterable[Event]:
        yield RunStarted(RUN, "stage_1_small_model.md", "gemma3-270m", 7, 40, True)
        yield PhaseStarted(RUN, "sft", 9)
        yield RunFinished(RUN, "gate_failed", "training is locked: enough examples: 12. Take the run further.", 2, 1.0)

    async with control_center(tmp_path / "s.duckdb", locked) as (app, pilot):
        await settle(pilot, lambda: "✗ training locked" in shown(app, "#header"))
        assert app.notice.display and "Take the run further" in str(app.notice.content)


async def test_what_was_left_is_offered_with_its_own_settings(tmp_path: Path, plans: dict[str, Any]) -> None:
    path = tmp_path / "s.duckdb"
    fill(path)
    own = settings()["sft"]
    left = finished_training("sft-one", state="failed", settings={"sft": own | {"epochs": 1.0}})
    with Store.open(path) as store:
        store.append({"trainings": [left]})
    leave_checkpoint(path, "sft-one", 5)
    with Store.open(path, read_only=True) as store, store.reader() as reader:
        plans["sft {'sft.epochs': '1.0'}"] = plan(training_id="sft-one")
        found = training_offer(reader, RUN, "sft")
        assert found["training_id"] == "sft-one" and found["changed"] == {"sft.epochs": "1.0"}
        assert found["stands"] == {"state": "failed", "reason": "", "step": 5}
        assert settings_words(found)[0] == "changed: sft.epochs 1.0"
        plans["sft {'sft.epochs': '1.0'}"] = plan(training_id="sft-of-other-data")
        found = training_offer(reader, RUN, "sft")
        assert (found["training_id"], found["changed"], found["stands"]) == ("sft-new", {}, None)
