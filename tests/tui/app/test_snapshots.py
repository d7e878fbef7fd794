"""What each room looks like at three sizes, of no run, a running, a failed and a finished one: `__snapshots__/`.

After a wanted change: make test ARGS="tests/tui/app/test_snapshots.py --snapshot-update -n 0". Look at the pictures
before they are committed: that is the point of these files.
"""

import threading
import time
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from syrupy.assertion import SnapshotAssertion
from textual.pilot import Pilot
from textual.widgets import TextArea

from engine.core.events import Event, RunStarted
from store.db import Store
from tests.store import rows
from tests.tui.fake_preferences import constitution, fill_preferences
from tests.tui.fakes import RUN, FakeEngine, fill, steady_run
from tests.tui.pictures import LeanSVG
from tests.tui.rooms.test_evaluation_room import evaluated_rows, gap_check
from tests.tui.rooms.test_training_room import trained_rows
from tests.tui.screen import control_center, settle, shown, text_of
from tests.tui.training_fakes import finished_training, plan
from tui.app.app import ControlCenter
from tui.host.machine import Load, Machine
from tui.live.state import RunState
from tui.words.places import PLACES

pytestmark = pytest.mark.integration

Size = tuple[int, int]
STORE = Path("cai.duckdb")  # in a folder of the test's own
NOW = rows.T0.replace(hour=9)
EACH_EVENT_S = 0.25


class Clock:
    """Seconds that only the test lets go by."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds

    def wall(self) -> float:
        return NOW.timestamp() + self.seconds


class Morning(datetime):
    @classmethod
    def now(cls, tz: Any = None) -> datetime:
        return NOW.astimezone(tz)


START: dict[str, Any] = {
    "model": "gemma3-270m", "device": "CPU", "gpus": 0, "memory": 24 * 2**30, "free": 16 * 2**30, "training": [],
    "inference": {"weights": 2**30, "fits": True}, "reason": None,
    "pilot": {"examples": 100, "hours": 0.5, "usd": None}, "target": {"examples": 100, "hours": 0.5, "usd": None},
}  # fmt: skip


@pytest.fixture(params=((80, 24), (120, 36), (200, 60)), ids=lambda size: f"{size[0]}x{size[1]}")
def size(request: pytest.FixtureRequest) -> Size:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
def picture(snapshot: SnapshotAssertion) -> SnapshotAssertion:
    return snapshot.use_extension(LeanSVG)


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Clock:
    """The same time, zone, machine, folder, samples, plans and verifiers for every picture."""
    clock = Clock()
    monkeypatch.setattr("tui.app.app.RunState", lambda: RunState(clock, clock.wall))
    monkeypatch.setattr("tui.widgets.run.figures.time", SimpleNamespace(time=clock.wall))
    monkeypatch.setattr("tui.widgets.training.account.datetime", Morning)
    monkeypatch.setattr("tui.rooms.run.token_hex", lambda _: "lot")
    monkeypatch.setattr("tui.rooms.run.DRAWN_EVERY_S", 1e9)
    monkeypatch.setattr(Machine, "load", lambda _, gpus: Load(0.42, 1.2, 8.0, 24.0))
    monkeypatch.setattr("tui.rooms.run.forecast_start", lambda _: START)
    monkeypatch.setattr("engine.analyses.offers.training_plan", training_plan)
    monkeypatch.setattr("engine.evaluation.plan.scorer_sha256", lambda: "ab" * 32)  # no new pictures for a new rule
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    return clock


def training_plan(_reader: object, _run_id: str, kind: str, *_: object, **__: object) -> dict[str, Any]:
    return plan(kind, shut=("enough examples",))


async def differing(
    app: ControlCenter, pilot: Pilot[Any], picture: SnapshotAssertion, views: Iterable[tuple[str, tuple[str, ...]]]
) -> list[str]:
    """The names of views that do not look as they did; each is (name, keys that lead to it)."""
    wrong = []
    for area in app.query(TextArea):
        area.cursor_blink = False
    for name, keys in views:
        await pilot.press(*keys)
        await settle(pilot)
        await pilot.pause(0.3)
        await settle(pilot, lambda: "Working out" not in text_of(app) and "eing read" not in text_of(app))
        assert max(map(len, text_of(app).split("\n"))) <= app.size.width
        if picture(name=name) != app:
            wrong.append(f"{name}:\n{text_of(app)}")
    return wrong


def phases_done() -> list[rows.Row]:
    """What the run of `fill` told of its phases when they ended."""
    ended = {
        "audit": (3, None), "instructions": (64, 64), "instruction_judgements": (64, 1), "responses": (64, None),
        "response_judgements": (63, 27), "gate": (2, None),
    }  # fmt: skip
    return [
        rows.event(19, "PhaseStarted", {"phase": "responses", "planned": 64}),
    ] + [
        rows.event(at, "PhaseFinished", {"phase": name, "done": done, "accepted": accepted})
        for at, (name, (done, accepted)) in enumerate(ended.items(), 20)
    ]


# The SQL editor takes figures as text, so it is left by Escape.
ROOMS = tuple((place.name, ("escape", place.key)) for place in PLACES)


async def test_empty(size: Size, picture: SnapshotAssertion) -> None:
    async with control_center(STORE, None, size=size) as (app, pilot):
        await settle(pilot, lambda: bool(app.query("#start")) and "priors" in shown(app, "#start"))
        wrong = await differing(app, pilot, picture, ROOMS)
    assert not wrong, "\n".join(wrong)


async def test_running(size: Size, picture: SnapshotAssertion, clock: Clock) -> None:
    fill(STORE, many=60, state="running")

    def begun(engine: FakeEngine) -> Iterable[Event]:
        yield RunStarted(RUN, "stage_1_small_model.md", "gemma3-270m", 7, 40, False)
        engine.released.wait()

    over = threading.Event()
    over.set()
    async with control_center(STORE, begun, size=size) as (app, pilot):
        await settle(pilot, lambda: app.state.run_id == RUN)
        for event in steady_run(SimpleNamespace(released=over)):  # type: ignore[arg-type]
            clock.seconds += EACH_EVENT_S
            app.state.apply(event)
        wrong = await differing(app, pilot, picture, ROOMS)
    assert not wrong, "\n".join(wrong)


async def test_failed(size: Size, picture: SnapshotAssertion) -> None:
    """The data's gate, a training and the gap gate failed."""
    fill(STORE, many=60)
    why = "the loss of step 10 is not a number"
    with Store.open(STORE) as store:
        store.update_run(RUN, state="gate_failed", reason="token_limit is 0.300, wanted < 0.050", updated_at=rows.T0)
        store.append(
            {
                "trainings": [rows.training(state="failed", reason=why)],
                "training_steps": [rows.training_step(at) for at in range(1, 11)],
                "gates": [gap_check("base_formatted against reference", 0.41, False)],
                "events": phases_done(),
            }
        )
    async with control_center(STORE, None, size=size) as (app, pilot):
        await settle(pilot, lambda: app.state.state == "gate_failed")
        wrong = await differing(app, pilot, picture, ROOMS)
    assert not wrong, "\n".join(wrong)


async def test_done(size: Size, picture: SnapshotAssertion) -> None:
    fill(STORE, many=60)
    found = trained_rows() | evaluated_rows()
    found["trainings"] = [finished_training(), finished_training("dpo-1", method="dpo", planned_steps=40)]
    with Store.open(STORE) as store:
        store.append(found | {"events": phases_done()})
        store.put({"gates": [rows.gate("token_limit", run_id=RUN)]})
    async with control_center(STORE, None, size=size) as (app, pilot):
        await settle(pilot, lambda: app.state.run_id == RUN)
        wrong = await differing(app, pilot, picture, ROOMS)
    assert not wrong, "\n".join(wrong)


async def test_done_with_pairs(
    size: Size, tmp_path: Path, picture: SnapshotAssertion, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.spec.constitution.CONSTITUTION", constitution(tmp_path / "constitution.yaml"))
    fill_preferences(STORE)
    views = (("run", ("1",)), ("principles", ("0",)), ("revisions", ("v",)), ("pairs", ("v", "j")))
    async with control_center(STORE, None, size=size) as (app, pilot):
        await settle(pilot, lambda: app.state.run_id == RUN)
        wrong = await differing(app, pilot, picture, views)
    assert not wrong, "\n".join(wrong)
