"""Trackers beside the store: told each step's figures, and refused before anything is loaded where they cannot be."""

import json
from pathlib import Path

import pytest

from engine.core.errors import TrainingError
from engine.run.engine import open_engine
from engine.run.orders import Train
from engine.training import trackers
from tests.engine.training.training_run import RUN, losses

# What transformers uses of the package tensorboardX, each call written down.
STAND_IN = """
import json, pathlib
class SummaryWriter:
    def __init__(self, log_dir): self.log = pathlib.Path({log!r})
    def _told(self, *what): self.log.open("a").write(json.dumps(what) + "\\n")
    def add_scalar(self, name, value, step): self._told(name, value, step)
    def add_text(self, *_): pass
    def flush(self): pass
    def close(self): self._told("closed")
"""


@pytest.fixture
def none_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("trackio", "pip install trackio"),
        ("wandb", "pip install wandb"),
        ("tensorboard", "pip install tensorboard"),
        ("tensorbord", "tensorboard, trackio, wandb"),
    ],
)
def test_a_tracker_that_cannot_be_told_is_refused_before_the_store_is_opened(
    tmp_path: Path, none_installed: None, name: str, told: str
) -> None:
    with pytest.raises(TrainingError) as refused:
        open_engine(Train(tmp_path / "none.duckdb", RUN, ("sft",), report_to=(name,)), lambda event: None)
    assert told in refused.value.hint and "Nothing was started" in refused.value.hint
    assert name in refused.value.title and not (tmp_path / "none.duckdb").exists()


def test_one_of_two_packages_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name == "tensorboardX" or None)
    trackers.require_trackers(["tensorboard"])


@pytest.mark.slow
@pytest.mark.xdist_group("training")
def test_each_step_is_told_to_the_tracker_that_was_asked_for(
    path: Path, in_process: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "stand_in").mkdir()
    (tmp_path / "stand_in" / "tensorboardX.py").write_text(STAND_IN.format(log=str(tmp_path / "told")))
    in_process.syspath_prepend(tmp_path / "stand_in")
    opened = open_engine(Train(path, RUN, ("sft",), report_to=("tensorboard",)), lambda event: None)
    opened.start()
    assert opened.join(240) and opened.outcome is not None and opened.outcome.state == "done", opened.outcome
    told = [json.loads(line) for line in (tmp_path / "told").read_text().splitlines()]
    found = [(step, value) for name, value, step in (one for one in told if len(one) == 3) if name == "train/loss"]
    kept = losses(opened)
    assert [step for step, _ in found] == [step for step, *_ in kept]
    assert [value for _, value in found] == pytest.approx([loss for _, loss, _ in kept], abs=1e-4)
    opened.close()
