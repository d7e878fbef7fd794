"""The training process as the engine sees it: started, listened to, told to stop, and never left behind."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import yaml

from engine.core.control import Control
from engine.core.errors import TrainingError
from engine.models import checkpoints
from engine.training.job import PAUSE, RUN, STOP, Job, read_journal, say, wait_for_lock

LOOK_S = 0.05
SILENT_S = 1800.0  # without any report
LOADING_FACTOR = 4  # times as long until the model is loaded
SHARDED = ("FSDP", "DEEPSPEED")  # kinds of accelerate whose processes share the weights
ROOT = Path(__file__).parent.parent.parent
CONFIGS = Path(__file__).parent / "accelerate"


class Worker:
    """One process. `offset` is where in the journal to begin."""

    def __init__(self, folder: Path, job: Job, command: Sequence[str], offset: int) -> None:
        self.folder = folder
        self.offset = offset
        job.write(folder)
        say(folder, "run")
        env = os.environ | {
            "OMP_WAIT_POLICY": "PASSIVE",  # threads that spin while they wait made steps of 30 s on a shared machine
            "TQDM_DISABLE": "1",
            "TOKENIZERS_PARALLELISM": "false",
            "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
        }
        # Descriptors 1 and 2 lead to the run's log; a session of its own keeps a Ctrl-C of the terminal away from it.
        self._process = subprocess.Popen(
            [*command, str(folder)], stdin=subprocess.DEVNULL, start_new_session=True, env=env, cwd=folder
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        return self._process.poll()

    def reports(self) -> Iterator[dict[str, Any]]:
        """What has been reported since the last call."""
        for offset, report in read_journal(self.folder, self.offset):
            self.offset = offset
            yield report

    def wait_a_little(self) -> None:
        """Until there may be something new."""
        time.sleep(LOOK_S)

    def say(self, command: str) -> None:
        """Leave a command for it."""
        say(self.folder, command)

    def kill(self) -> None:
        """End it and whatever it started, at once: accelerate's processes have groups of their own."""
        with contextlib.suppress(OSError):  # for one that is found by nobody
            say(self.folder, "stop")
        below: list[psutil.Process] = []
        with contextlib.suppress(psutil.Error):
            below = psutil.Process(self._process.pid).children(recursive=True)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, 9)
        for process in below:
            with contextlib.suppress(psutil.Error):
                process.kill()
        self._process.wait()


def follow(
    worker: Worker, control: Control, take: Callable[[Mapping[str, Any]], None], silent_s: float = SILENT_S
) -> dict[str, Any]:
    """Give each report to `take` and a person's commands to the process until it ends; returns its last report.

    Where it ended without a word that report is made up. Raises TrainingError where it is silent for too long, and
    Interrupted where it was stopped before it had loaded.
    """
    said, heard_at, loaded = RUN, time.monotonic(), False
    ending: dict[str, Any] | None = None
    try:
        while True:
            code = worker.exit_code  # before its reports are read: none can follow those
            some = False
            for report in worker.reports():
                some = True
                loaded = loaded or report["kind"] == "loaded"
                if report["kind"] in ("finished", "failed"):
                    ending = ending or dict(report)  # what ends first is why the other processes end
                else:
                    take(report)
            now = time.monotonic()
            heard_at = now if some or control.paused else heard_at
            if code is not None:
                break
            if control.stopping and not loaded:
                break  # no step was done yet: nothing is lost by not waiting for one
            command = STOP if control.stopping else PAUSE if control.paused else RUN
            if command != said:
                worker.say(command)
                said = command
            # Before it has loaded it may fetch a model of many gigabytes.
            if now - heard_at > silent_s * (1 if loaded else LOADING_FACTOR):
                raise TrainingError(
                    f"the training process has said nothing for {silent_s:.0f} s, and was ended",
                    "The last checkpoint is whole: the same command goes on from it. The log has what it printed.",
                )
            worker.wait_a_little()
    finally:
        worker.kill()
    if ending is not None:
        return ending
    control.check()
    return {"kind": "failed", "cause": "error", **_died(code)}


def wait_until_free(folder: Path) -> None:
    """Until a process of a killed engine has written its last checkpoint and gone. Raises TrainingError."""
    with (folder / "lock").open("w") as lock:
        try:
            wait_for_lock(lock)
        except TimeoutError as error:
            raise TrainingError(
                "another process still trains here, and does not end",
                f"It holds {folder / 'lock'}: see who with `fuser`, end it, then go on. Nothing was lost.",
            ) from error


def _died(code: int | None) -> dict[str, str]:
    """What to say of a process that ended without a last word."""
    if code is not None and code < 0:
        return {
            "title": f"the training process was killed (signal {-code})",
            "hint": "By a person, or by the system where memory ran out. The same command goes on from the last "
            "checkpoint.",
        }
    return {
        "title": f"the training process ended without a word (exit code {code})",
        "hint": "The log has what it printed; a full disk is the likeliest reason. The same command goes on from the "
        "last checkpoint.",
    }


def failure(
    folder: Path, ending: Mapping[str, Any], instead: str = "Lower max_length or the adapter's rank"
) -> TrainingError:
    """What to raise where a process failed, with what it left in the training's folder.

    `instead` is what helps, beside a larger device, where the memory is used up.
    """
    found, _ = checkpoints.newest(folder)
    kept = f"Kept up to step {found.step}." if found else "No checkpoint was reached."
    if ending["cause"] == "memory":
        hint = f"{instead}, or take a larger device. {kept}"
        return TrainingError(ending["title"], hint)
    return TrainingError(ending["title"], f"{kept} {ending['hint']}".strip())


@dataclass(frozen=True)
class Sizes:
    """What decides how much memory a step takes: examples on one device at once, and activations computed again.

    `reference_batch` is how many pairs' reference log-probabilities are computed at once before training, None for as
    many as a step has.
    """

    micro_batch: int
    gradient_checkpointing: bool
    reference_batch: int | None = None

    def smaller(self) -> Sizes | None:
        """What to go on with where the memory is used up; None where nothing smaller is left.

        Activations are computed again first, which costs a third of the time (Chen et al. 2016, arXiv 1604.06174,
        section 4). Then the micro-batch becomes the next smaller one that divides it, half of it at most. Either way
        the reference is computed with the micro-batch from then on.
        """
        micro = self.micro_batch
        if not self.gradient_checkpointing:
            return Sizes(micro, True)
        if micro == 1:
            return None
        return Sizes(max(size for size in range(1, micro) if size <= micro // 2 and micro % size == 0), True)

    @property
    def told(self) -> str:
        again = ", activations computed again" if self.gradient_checkpointing else ""
        return f"{self.micro_batch} example{'s' * (self.micro_batch != 1)} at once{again}"


def command_for(accelerate: str | None = None) -> list[str]:
    """How the training process is started: alone, or by accelerate with a configuration, by name or by path.

    Raises TrainingError where there is no such configuration.
    """
    module = "engine.training.child"
    if accelerate is None:
        return [sys.executable, "-m", module]
    path = next((p for p in (Path(accelerate).expanduser(), CONFIGS / f"{accelerate}.yaml") if p.is_file()), None)
    if path is None:
        known = ", ".join(sorted(file.stem for file in CONFIGS.glob("*.yaml")))
        raise TrainingError(
            f"no configuration {accelerate!r} for accelerate", f"Give a file, or one of: {known}. Nothing was trained."
        )
    config = str(path.absolute())
    return [sys.executable, "-m", "accelerate.commands.launch", "--config_file", config, "-m", module]


def processes_of(command: Sequence[str]) -> int:
    """How many processes a command starts, each with a micro-batch of its own."""
    config = _configured(command)
    return int(config.get("num_processes", 1)) * int(config.get("num_machines", 1))


def shards_of(command: Sequence[str]) -> int:
    """How many processes of a command share the weights; 1 where each holds all of them."""
    return processes_of(command) if _configured(command).get("distributed_type") in SHARDED else 1


def _configured(command: Sequence[str]) -> dict[str, Any]:
    """The configuration of accelerate that a command names, empty where it names none."""
    if "--config_file" not in command:
        return {}
    found: dict[str, Any] = yaml.safe_load(Path(command[command.index("--config_file") + 1]).read_text())
    return found
