"""The control center with a model's folder that is wrong: the notice says what and what to do, and the app goes on."""

from __future__ import annotations

import hashlib
import re
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from engine.run.orders import NewRun
from tests.engine.models.files.faulty_folders import DEEP, FAULTS, Fault, spoilt
from tests.engine.training.training_run import tiny_model
from tests.tui.screen import settle
from tui.app.app import ControlCenter
from tui.live.opener import opener
from tui.widgets.frame.notice import Notice

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("sound"))


@pytest.fixture
def folder(sound: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sound, tmp_path / "model"))


async def told_by(store: Path, folder: Path, says: str) -> str:
    """The notice of `cai run --model FOLDER`, read as soon as it is there; it has three lines at most."""
    order = NewRun(store, model=str(folder))
    app = ControlCenter(store, order, opener(), None)
    async with app.run_test(size=(120, 36)) as pilot:
        notice = app.query_one(Notice)
        late = time.monotonic() + 60
        while not notice.display and time.monotonic() < late:
            await pilot.pause(0.05)
        await settle(pilot, lambda: bool(re.search(says, str(notice.content))))
        told = str(notice.content)
        assert notice.content_size.height <= 3 and app.state.state == "failed"
        app.session.let_go()
    return told


def before_loading() -> list[Any]:
    """All faults that are seen before a model is loaded; the first one runs wherever tests do, the others take 20 s."""
    found = [fault for fault in FAULTS if not fault.at_load]
    return [pytest.param(one, id=one.name, marks=[pytest.mark.slow][: one is not found[0]]) for one in found]


@pytest.mark.parametrize("fault", before_loading())
async def test_a_folder_that_is_seen_to_be_wrong_is_told_and_touches_no_store(
    fault: Fault, folder: Path, store: Path
) -> None:
    fault.plant(folder)
    before = hashlib.sha256(store.read_bytes()).hexdigest()
    told = await told_by(store, folder, fault.says)
    assert re.search(fault.advises, told) and "Nothing was lost" in told
    assert hashlib.sha256(store.read_bytes()).hexdigest() == before


async def test_a_fault_that_is_seen_when_it_is_loaded_is_told(folder: Path, tmp_path: Path) -> None:
    spoilt(DEEP, float("nan"))(folder)
    told = await told_by(tmp_path / "new.duckdb", folder, "NaN or infinite numbers")
    assert "take another checkpoint" in told and "Nothing was lost" in told
