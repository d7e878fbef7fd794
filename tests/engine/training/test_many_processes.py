"""Two processes that train one adapter, on CPUs by gloo: plain data parallelism, and shards (FSDP 2).

accelerate shards on devices that it takes for accelerators alone, so that a start script has it take CPUs for such.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import engine.phases.training as phase
from engine.core.control import Control
from engine.core.events import Event
from engine.run.engine import Engine
from engine.training import child
from engine.training.worker import CONFIGS, command_for, follow
from tests.engine.training.conftest import SLOW_STEPS, rows
from tests.engine.training.training_run import InProcess, losses, patched, settings, train, trainable_store

pytestmark = pytest.mark.xdist_group("training")

# One pass over the examples in six steps, without a dropout whose draws would differ by process.
ONE_PASS = {"sft__epochs": "1.0", "adapter__dropout": "0.0"}
ON_CPUS = """
from accelerate.state import AcceleratorState, PartialState
from accelerate.utils import DistributedType
plainly = AcceleratorState.__init__
def sharding(self, *given, fsdp_plugin=None, **more):
    plainly(self, *given, fsdp_plugin=fsdp_plugin, **more)
    if fsdp_plugin is not None and self.distributed_type == DistributedType.MULTI_CPU:
        if self._mixed_precision != "no":
            fsdp_plugin.set_mixed_precision(self._mixed_precision)
        self.fsdp_plugin, self.distributed_type = fsdp_plugin, DistributedType.FSDP
        PartialState._shared_state["distributed_type"] = DistributedType.FSDP
AcceleratorState.__init__ = sharding
"""


def launched(folder: Path, name: str, patch: str = "", **changed: Any) -> list[str]:
    """A command by accelerate with a shipped configuration, changed where it is said, and a start script."""
    config = folder / f"{name}.yaml"
    config.write_text(yaml.safe_dump(yaml.safe_load((CONFIGS / f"{name}.yaml").read_text()) | changed))
    _, script = patched(folder, patch)
    return [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(config), script]


def weights(opened: Engine) -> dict[str, Any]:
    """The adapter that a training left, tensor by tensor."""
    from safetensors.torch import load_file

    (row,) = rows(opened, "SELECT adapter_path FROM trainings")
    return load_file(opened.store.path.parent / row["adapter_path"] / "adapter_model.safetensors")


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory, model: Path) -> Iterator[Engine]:
    """The same training by one process."""
    path = trainable_store(tmp_path_factory.mktemp("alone") / "a.duckdb", model, settings())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(phase, "Worker", InProcess)
        opened = train(path, "sft", **ONE_PASS)
    yield opened
    opened.close()


def stop_at(step: int) -> Any:
    def stop(engine: Engine, event: Event) -> None:
        if event.kind == "TrainingStepped" and event.payload()["step"] >= step:
            engine.stop()

    return stop


@pytest.mark.slow
@pytest.mark.parametrize(("name", "patch"), [("cpu_2", ""), ("fsdp_2", ON_CPUS)], ids=["all weights", "shards"])
def test_two_processes_stopped_and_resumed_train_what_one_does(
    path: Path, alone: Engine, name: str, patch: str
) -> None:
    precise = {"mixed_precision": "no"}  # as one process on a CPU
    command = launched(path.parent, name, patch + SLOW_STEPS, **precise)
    stopped = train(path, "sft", command=command, on_event=stop_at(3), **ONE_PASS)
    reached = losses(stopped)
    assert stopped.outcome is not None and stopped.outcome.state == "stopped", stopped.outcome
    stopped.close()
    assert 3 <= reached[-1][0] < 6
    opened = train(path, "sft", command=launched(path.parent, name, patch, **precise), **ONE_PASS)
    assert opened.outcome is not None and opened.outcome.state == "done", opened.outcome
    began = [event.payload()["done_steps"] for event in opened.seen if event.kind == "TrainingStarted"]  # type: ignore[attr-defined]
    assert began == [reached[-1][0]]
    facts = json.loads(rows(opened, "SELECT facts FROM trainings")[0]["facts"])
    assert facts["processes"] == 2 and facts["micro_batch"] == 2 and facts["trainable"] == 17408
    tokens = "SELECT n_tokens FROM training_steps ORDER BY step"
    assert rows(opened, tokens) == rows(alone, tokens)
    for (step, loss, norm), (_, loss_1, norm_1) in zip(losses(opened), losses(alone), strict=True):
        assert loss == pytest.approx(loss_1, rel=1e-3), f"step {step}"
        assert norm == pytest.approx(norm_1, rel=1e-2), f"step {step}"
    two, one = weights(opened), weights(alone)
    opened.close()
    assert two.keys() == one.keys()
    assert max(float((two[name] - one[name]).abs().max()) for name in one) < 1e-3
    folder = path.parent / "a.trainings"
    assert not list(folder.rglob("checkpoints/.partial/*")) and len(list(folder.rglob("rng_state_1.pth"))) == 2


@pytest.mark.slow
def test_shards_in_16_bits_tell_their_loss_in_32(path: Path, alone: Engine) -> None:
    import torch

    opened = train(path, "sft", command=launched(path.parent, "fsdp_2", ON_CPUS), **ONE_PASS)
    assert opened.outcome is not None and opened.outcome.state == "done", opened.outcome
    found = losses(opened)
    two, one = weights(opened), weights(alone)
    opened.close()
    for (step, loss, _), (_, loss_1, _) in zip(found, losses(alone), strict=True):
        assert loss == pytest.approx(loss_1, rel=5e-3), f"step {step}"
    rounded = torch.tensor([loss for _, loss, _ in found]).bfloat16().float().tolist()
    assert sum(loss != same for (_, loss, _), same in zip(found, rounded, strict=True)) >= 5
    far = sum(float((two[name] - one[name]).norm() ** 2) for name in one) ** 0.5
    assert far < 0.25 * sum(float(one[name].norm() ** 2) for name in one if "lora_B" in name) ** 0.5


def test_of_several_processes_one_that_fails_ends_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """accelerate ends the others, which wait for this one, where it sees an exit code that is not 0."""

    def fails(_: child.Training) -> None:
        raise ValueError("no such luck")

    monkeypatch.setattr(child.Job, "read", lambda _: child.Job("sft", "m", "m", {}, {}, 7, 1, False, None, None))
    monkeypatch.setattr(child.Training, "run", fails)
    assert child.main(["", str(tmp_path)]) == 0  # alone: the journal has the end of the story
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert child.main(["", str(tmp_path)]) != 0
    reports = [json.loads(line) for line in (tmp_path / "journal.jsonl").read_text().splitlines() if line]
    assert [report["kind"] for report in reports] == ["failed", "failed"]


class Reporting:
    """Stands in for processes that have ended, and left these reports."""

    exit_code = 1

    def __init__(self, *reports: dict[str, Any]) -> None:
        self._reports = reports

    def reports(self) -> Iterator[dict[str, Any]]:
        yield from self._reports

    def kill(self) -> None: ...


def test_the_first_of_several_endings_is_the_one_that_counts() -> None:
    memory, peer = {"kind": "failed", "cause": "memory"}, {"kind": "failed", "cause": "error"}
    done = {"kind": "finished", "why": "done"}
    for first in (memory, done):
        worker: Any = Reporting({"kind": "loaded"}, first, peer)
        assert follow(worker, Control(), lambda report: None) == first


def test_every_shipped_configuration_is_known_by_its_name() -> None:
    for file in CONFIGS.glob("*.yaml"):
        config = yaml.safe_load(file.read_text())
        assert file.stem.endswith(f"_{config['num_processes']}") and str(file) in command_for(file.stem)
