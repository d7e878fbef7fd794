"""A volume that fills up while a run works, and is freed again: nothing is lost, and the run goes on to its end."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import engine.models.registry
from engine.run.engine import open_engine
from engine.run.orders import NewRun
from store.db import Store
from tests.engine.fakes import FakeModel, data_rows, run_engine
from tests.engine.run.test_pipeline import SETTINGS

pytestmark = pytest.mark.integration

OPTIONS = {"pilot": 6, "overrides": SETTINGS}
LEFT = 2**19  # bytes that are still free when it is full


def filling(volume: Path, at: int) -> Callable[[int], None]:
    """What fills the volume at the model's nth answer."""

    def fill(answered: int) -> None:
        if answered == at:
            (volume / "other").write_bytes(bytes(max(shutil.disk_usage(volume).free - LEFT, 0)))

    return fill


@pytest.mark.parametrize("at", [1, 31])
def test_a_run_on_a_volume_that_fills_up_goes_on_when_it_is_freed(
    volume: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    undisturbed = FakeModel()
    alone = run_engine(tmp_path / "alone.duckdb", monkeypatch, undisturbed, **OPTIONS)
    wanted = data_rows(alone)
    alone.close()

    path, model = volume / "cai.duckdb", FakeModel(on_answer=filling(volume, at))
    monkeypatch.setattr(engine.models.registry, "load", lambda *_, **__: model)
    opened = open_engine(NewRun(path, **OPTIONS), lambda event: None)
    opened.start()
    assert opened.join(60)  # no write is tried again for ever
    full = opened.outcome
    assert full is not None and full.state == "failed"
    for words in ("a batch could not be written", "What was committed before is intact", str(volume), "cai resume"):
        assert words in full.reason
    opened.close()

    with Store.open(path, read_only=True) as store, store.reader() as reader:  # it can be looked at while it is full
        kept = {row["request_id"] for row in reader.query("SELECT request_id FROM completions")}
        assert reader.run(opened.run_id)["state"] in ("stopped", "running", "failed")
    (volume / "other").unlink()
    again = FakeModel()
    ended = run_engine(path, monkeypatch, again, resume="")
    assert ended.outcome is not None and ended.outcome.state in ("done", "gate_failed"), ended.outcome
    assert data_rows(ended) == wanted
    assert len(again.generated) == len(undisturbed.generated) - len(kept)  # what was paid for is not paid for again
    ended.close()
