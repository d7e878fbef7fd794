"""What each room looks like, as text, at three sizes. After a wanted change: UPDATE_SNAPSHOTS=1 make test ARGS="-k snap"

Read the difference before it is committed: that is the point of these files.
"""

import os
import time
from pathlib import Path

import pytest

from store.db import Store
from tests.tui.fake_preferences import constitution, fill_preferences
from tests.tui.fakes import RUN, fill
from tests.tui.rooms.test_evaluation_room import evaluated_rows
from tests.tui.rooms.test_training_room import trained_rows
from tests.tui.screen import control_center, settle
from tui.app.app import ControlCenter
from tui.host.machine import Load, Machine
from tui.words.places import PLACES

pytestmark = pytest.mark.integration

SNAPSHOTS = Path(__file__).parent / "snapshots"
SIZES = ((80, 24), (120, 36), (200, 60))


def text_of(app: ControlCenter) -> str:
    """The screen's characters, line by line, without what is empty at their ends."""
    strips = app.screen._compositor.render_strips()
    return "\n".join("".join(segment.text for segment in strip).rstrip() for strip in strips) + "\n"


def differing(app: ControlCenter, name: str, size: tuple[int, int]) -> list[str]:
    """The screen with the snapshot's name in front if it is not as that; the snapshot is written where that is asked."""
    found = text_of(app)
    assert [len(line) for line in found.split("\n") if len(line) > size[0]] == []
    path = SNAPSHOTS / f"{size[0]}x{size[1]}" / f"{name}.txt"
    if os.environ.get("UPDATE_SNAPSHOTS"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(found, encoding="utf-8")
        return []
    same = path.exists() and path.read_text(encoding="utf-8") == found
    return [] if same else [f"{path.relative_to(SNAPSHOTS)}:\n{found}"]


@pytest.fixture(params=SIZES, ids=[f"{width}x{height}" for width, height in SIZES])
def size(request: pytest.FixtureRequest) -> tuple[int, int]:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture(autouse=True)
def same_machine_zone_and_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tui.rooms.run.token_hex", lambda _: "lot")
    monkeypatch.setattr("tui.rooms.run.DRAWN_EVERY_S", 1e9)
    monkeypatch.setattr(Machine, "load", lambda _: Load(0.42, 1.2, 8.0, 24.0))
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()


async def test_rooms_look_as_they_did(size: tuple[int, int], tmp_path: Path) -> None:
    fill(tmp_path / "s.duckdb", many=60)
    with Store.open(tmp_path / "s.duckdb") as store:
        store.append(trained_rows() | evaluated_rows())
    wrong = []
    async with control_center(tmp_path / "s.duckdb", None, size=size) as (app, pilot):
        await settle(pilot, lambda: app.state.run_id == RUN)
        for place in PLACES:
            await pilot.press("escape", place.key)  # the SQL editor takes figures as text
            await settle(pilot)
            await pilot.pause(0.3)
            await settle(pilot, lambda name=place.name: app.room.id == name)  # type: ignore[misc]
            wrong += differing(app, place.name, size)
    assert not wrong, "\n".join(wrong)


async def test_a_run_that_makes_pairs_looks_as_it_did(
    size: tuple[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.spec.constitution.CONSTITUTION", constitution(tmp_path / "constitution.yaml"))
    fill_preferences(tmp_path / "s.duckdb")
    wrong = []
    async with control_center(tmp_path / "s.duckdb", None, size=size) as (app, pilot):
        await settle(pilot, lambda: app.state.run_id == RUN)
        for name, keys in (
            ("pairs-run", "1"),
            ("pairs-principles", "0"),
            ("pairs-revisions", "v"),
            ("pairs-pairs", "vj"),
        ):
            await pilot.press(*keys)
            await settle(pilot)
            await pilot.pause(0.3)
            await settle(pilot)
            wrong += differing(app, name, size)
    assert not wrong, "\n".join(wrong)


async def test_the_detail_is_painted_anew_when_it_gets_more_room(tmp_path: Path) -> None:
    fill(tmp_path / "s.duckdb")

    def longest(app: ControlCenter) -> int:
        return max(line.count("█") for line in text_of(app).split("\n"))

    async with control_center(tmp_path / "s.duckdb", None, size=(120, 60)) as (app, pilot):
        await settle(pilot, lambda: app.state.run_id == RUN)
        await pilot.press("2")
        await settle(pilot, lambda: longest(app) > 0)
        narrow = longest(app)
        await pilot.resize_terminal(200, 60)
        await settle(pilot, lambda: longest(app) > narrow)
        assert longest(app) > narrow
