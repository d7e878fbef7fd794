"""A tiny model, a store to train from, and one training without interruption to compare others with."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from engine.run.engine import Engine
from store.db import Store
from tests.engine.training.training_run import (
    InProcess,
    settings,
    tiny_model,
    train,
    trainable_store,
)


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def path(tmp_path: Path, model: Path) -> Path:
    return trainable_store(tmp_path / "a.duckdb", model, settings())


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory, model: Path) -> Any:
    """One run, SFT and DPO without any interruption: what the others are compared with."""
    path = trainable_store(tmp_path_factory.mktemp("whole") / "a.duckdb", model, settings())
    opened = train(path, "sft", "dpo")
    yield opened
    opened.close()


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """For faults that are put in by replacing a function."""
    import engine.phases.training as phase

    monkeypatch.setattr(phase, "Worker", InProcess)
    return monkeypatch


def rows(opened: Engine, sql: str) -> list[dict[str, Any]]:
    with opened.store.reader() as reader:
        return reader.query(sql)


def copied(whole: Engine, folder: Path) -> Path:
    """A store of its own with all that a run has and has trained."""
    shutil.copytree(whole.store.path.parent / "a.trainings", folder / "a.trainings")
    with whole.store.reader() as reader:
        tables = [row["table_name"] for row in reader.query("SELECT table_name FROM information_schema.tables "
                                                            "WHERE table_type = 'BASE TABLE'")]  # fmt: skip
        kept = {
            name: reader.query(f"SELECT * FROM {name}") for name in tables if name not in ("schema_version", "events")
        }
    path = folder / "a.duckdb"
    with Store.open(path) as store:
        store.append({name: found for name, found in kept.items() if found and name in store._tables})
    return path


def child_of(store: Path) -> psutil.Process:
    for process in psutil.process_iter(["cmdline"]):
        line = " ".join(process.info["cmdline"] or ())
        if ("engine.training.child" in line or "patched.py" in line) and str(store.parent) in line:
            return process
    raise AssertionError("there is no training process")


SLOW_STEPS = """
import time, transformers
before = transformers.Trainer.training_step
def slowly(self, *args, **kwargs):
    time.sleep(0.25)
    return before(self, *args, **kwargs)
transformers.Trainer.training_step = slowly
"""


def each_step(patch: pytest.MonkeyPatch, what: Callable[[Any, Any, Any], Any]) -> None:
    """Have `what(trainer, inputs, go_on)` in the place of the trainer's work on each batch."""
    import transformers

    before = transformers.Trainer.training_step

    def step(self: Any, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        return what(self, inputs, lambda: before(self, model, inputs, *args, **kwargs))

    patch.setattr(transformers.Trainer, "training_step", step)
