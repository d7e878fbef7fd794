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
from tests.engine.models.files.faulty_folders import FAULTS, Fault
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


def seen(*, at_load: bool) -> list[Any]:
    """All faults that are seen when a model is loaded, or before; the first runs wherever tests do, all take 50 s."""
    found = [fault for fault in FAULTS if fault.at_load is at_load]
    return [pytest.param(one, id=one.name, marks=[pytest.mark.slow][: one is not found[0]]) for one in found]


@pytest.mark.parametrize("fault", seen(at_load=False))
async def test_a_folder_that_is_seen_to_be_wrong_is_told_and_touches_no_store(
    fault: Fault, folder: Path, store: Path
) -> None:
    fault.plant(folder)
    before = hashlib.sha256(store.read_bytes()).hexdigest()
    told = await told_by(store, folder, fault.says)
    assert re.search(fault.advises, told) and "Nothing was lost" in told
    assert hashlib.sha256(store.read_bytes()).hexdigest() == before


@pytest.mark.parametrize("fault", seen(at_load=True))
async def test_a_fault_that_is_seen_when_it_is_loaded_is_told(fault: Fault, folder: Path, tmp_path: Path) -> None:
    fault.plant(folder)
    told = await told_by(tmp_path / "new.duckdb", folder, fault.says)
    assert re.search(fault.advises, told) and "Nothing was lost" in told
