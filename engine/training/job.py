"""What the engine asks a training process to do, and the files by which the two talk.

A training's folder holds `job.json` (written by the engine before each start), `command` (one word that the engine
leaves for the process: run, pause or stop) and `journal.jsonl` (what the process reports, one JSON object a line). The
journal survives either of them: what the engine did not live to store is read from it at the next start.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

import psutil

RUN, PAUSE, STOP = "run", "pause", "stop"
LOCK_WAIT_S, LOCK_LOOK_S = 120.0, 0.2


@dataclass(frozen=True)
class Job:
    """One start of a training process. The same training may be started many times, with other sizes of batch."""

    method: str  # sft dpo ipo kto orpo simpo
    model: str  # a folder or a name on the hub
    model_name: str  # what the adapter's card and configuration call it
    adapter: Mapping[str, Any]  # the spec's section
    settings: Mapping[str, Any]  # the spec's section sft or dpo
    seed: int
    micro_batch: int  # examples on one device at once
    gradient_checkpointing: bool
    start_adapter: str | None  # folder of the adapter that this training begins with
    resume_from: str | None  # folder of a checkpoint, relative to the training's
    reference_batch: int | None = None  # pairs at once where the reference is computed before training
    base_fingerprint: str | None = None  # of the weights that wrote the data, in the data type below
    base_dtype: str | None = None
    report_to: tuple[str, ...] = ()
    engine_pid: int = field(default_factory=os.getpid)
    engine_began: float = field(default_factory=lambda: psutil.Process().create_time())

    def write(self, folder: Path) -> None:
        """Leave the job in a training's folder, whole or not at all."""
        write_aside(folder / "job.json", json.dumps(asdict(self), indent=1))

    @classmethod
    def read(cls, folder: Path) -> Job:
        """The job that the engine left."""
        values = json.loads((folder / "job.json").read_text())
        return cls(**{**values, "report_to": tuple(values["report_to"])})

    def engine(self) -> psutil.Process | None:
        """The engine that asked for this, None where it is gone already."""
        try:
            found = psutil.Process(self.engine_pid)
            # A clock that was set moves the time of a start; another process of the same number began much later.
            return found if abs(found.create_time() - self.engine_began) < 60.0 else None
        except psutil.Error:
            return None


def write_aside(path: Path, text: str) -> None:
    """Write a file under another name, force it to disk, and rename it into place."""
    aside = path.with_name(f".{path.name}.partial")
    with aside.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    aside.rename(path)


def say(folder: Path, command: str) -> None:
    """Leave a command for the process. No fsync: it is of no use after a crash."""
    aside = folder / ".command.partial"
    aside.write_text(command)
    aside.rename(folder / "command")


def heard(folder: Path) -> str:
    """The command that lies there now."""
    with contextlib.suppress(OSError):
        return (folder / "command").read_text().strip() or RUN
    return RUN


def wait_for_lock(lock: IO[str]) -> None:
    """Hold a training's lock once a process that still writes its last checkpoint has gone; raises TimeoutError."""
    until = time.monotonic() + LOCK_WAIT_S
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > until:
                raise TimeoutError(errno.EBUSY, "another process trains here and does not end") from None
            time.sleep(LOCK_LOOK_S)


class Journal:
    """Appends reports. A line is written at once and whole; a reader skips one that a crash cut off."""

    def __init__(self, folder: Path) -> None:
        self._file = (folder / "journal.jsonl").open("ab", buffering=0)
        if self._file.tell():
            self._file.write(b"\n")  # whatever a crash left behind ends here

    def write(self, kind: str, **fields: Any) -> None:
        """Raises OSError where the disk is full."""
        line = {"kind": kind, "at": time.time(), **fields}
        self._file.write(json.dumps(line, allow_nan=True).encode() + b"\n")


def lives(process: psutil.Process | None) -> bool:
    """Whether a process is still there and no mere entry that nobody has collected."""
    try:
        return process is not None and process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def read_journal(folder: Path, offset: int = 0) -> Iterator[tuple[int, dict[str, Any]]]:
    """The reports from a byte offset on, each with the offset after it; a line that is not whole yet is left."""
    try:
        file = (folder / "journal.jsonl").open("rb")
    except OSError:
        return
    with file:
        file.seek(offset)
        for line in file:
            if not line.endswith(b"\n"):
                return
            offset += len(line)
            try:
                report = json.loads(line)
            except ValueError:
                continue
            if isinstance(report, dict) and "kind" in report:
                yield offset, report


def write_examples(path: Path, rows: list[dict[str, Any]]) -> None:
    """Examples as JSON lines, whole or not at all."""
    write_aside(path, "".join(json.dumps(row, ensure_ascii=True) + "\n" for row in rows))


def read_examples(path: Path) -> list[dict[str, Any]]:
    """The examples of a file."""
    return [json.loads(line) for line in path.read_text().splitlines()]
