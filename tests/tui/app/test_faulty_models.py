"""The control center with a model's folder that is wrong: the notice says what and what to do, and the app goes on."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from engine.run.orders import NewRun
from tests.engine.models.files.faulty_folders import DEEP, removed, spoilt
from tests.engine.training.training_run import tiny_model
from tests.tui.screen import settle
from tui.app.app import ControlCenter
from tui.live.opener import opener
from tui.widgets.frame.notice import Notice

pytestmark = pytest.mark.integration


@pytest.mark.parametrize(
    ("plant", "says", "advises"),
    [
        (removed("tokenizer*"), "no tokenizer in", "Copy tokenizer.json"),
        (spoilt(DEEP, float("nan")), "NaN or infinite numbers", "take another checkpoint"),
    ],
    ids=["before the store", "when it is loaded"],
)
async def test_a_faulty_folder_is_told_with_what_to_do(plant, says: str, advises: str, tmp_path: Path) -> None:
    folder = tiny_model(tmp_path / "model")
    plant(folder)
    order = NewRun(tmp_path / "s.duckdb", model=str(folder))
    app = ControlCenter(order.store, order, opener(), None)
    async with app.run_test(size=(120, 36)) as pilot:
        notice = app.query_one(Notice)
        late = time.monotonic() + 60
        while not notice.display and time.monotonic() < late:
            await pilot.pause(0.1)
        await settle(pilot, lambda: says in str(notice.content))
        told = str(notice.content)
        assert advises in told and ("Nothing was lost" in told or "safe" in told)
        assert notice.size.height <= 6 and app.state.state == "failed"
        app.session.let_go()
