"""The training process as the engine sees it: started, listened to, told to stop, and never left behind."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil
import yaml

from engine.core.errors import TrainingError
from engine.training.job import Job, read_journal, say

LOOK_S = 0.05
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
    if "--config_file" not in command:
        return 1
    config = yaml.safe_load(Path(command[command.index("--config_file") + 1]).read_text())
    return int(config.get("num_processes", 1)) * int(config.get("num_machines", 1))
