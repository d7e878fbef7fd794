"""What surrounds vLLM's engine process: its environment, its session, its end, and the memory it gives back.

vLLM starts a process for its engine and from there one for each worker. All of them carry a mark in their environment,
by which they are found again: a killed engine process leaves workers, a killed `cai` leaves everything, and a GPU's
memory stays taken as long as one of them lives.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping
from multiprocessing import resource_tracker, spawn
from pathlib import Path

import psutil

from engine.core import nvidia

MARK = "CAI_ENGINE_MARK"
END_S = 30.0  # until what is left of an engine is killed, and again until its memory is back
SLACK_MIB = 1024  # other processes' memory moves too
MOST_CORES_BOUND = 4  # with more, one of them is better left to the scheduler: vLLM's own choice
LARGEST_KV_GIB = 4

# Reads until its parent closes the pipe, by dying or on purpose, then kills whatever still carries the mark.
_GUARD = """
import os, pathlib, signal, sys, time
mark = sys.argv[1].encode()
sys.stdin.buffer.read()
for _ in range(3):
    for folder in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            if mark in (folder / "environ").read_bytes().split(b"\\0"):
                os.kill(int(folder.name), signal.SIGKILL)
        except OSError:
            pass
    time.sleep(0.2)
"""


class Processes:
    """All processes of one engine, from before it is started until none of them is left."""

    def __init__(self) -> None:
        self._mark = f"{MARK}={uuid.uuid4().hex}"
        self._free = free_gpu_mib()
        self._guard = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _GUARD, self._mark],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    @contextlib.contextmanager
    def starting(self, environment: Mapping[str, str]) -> Iterator[None]:
        """Where processes are started: they get `environment`, the mark, and a session of their own.

        A terminal's Ctrl-C or end, or a stop of the whole group, would end the engine before the program has asked for
        what it still wants; and a program whose engine died starts another.

        What vLLM itself puts into this process's environment (LD_PRELOAD, thread numbers) is taken out afterwards: the
        training process would inherit it.
        """
        before = dict(os.environ)
        resource_tracker.ensure_running()  # multiprocessing's own, which serves whoever comes later and is not marked
        os.environ.update(environment)
        os.environ.update([self._mark.split("=")])  # type: ignore[list-item]
        try:
            with _own_session():
                yield
        finally:
            for name in set(os.environ) - set(before):
                del os.environ[name]
            os.environ.update(before)

    def left(self) -> list[int]:
        """The ids of those that live."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if self._mark.encode() in (folder / "environ").read_bytes().split(b"\0"):
                    found.append(int(folder.name))
        return found

    def end(self) -> int:
        """Wait until all have ended, kill those that don't, and wait for the GPUs' memory.

        Returns the MiB that one of the GPUs still lacks, 0 where all came back or no GPU is there.
        """
        late_at = time.monotonic() + END_S
        while (left := self.left()) and time.monotonic() < late_at:
            time.sleep(0.05)
        for process in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        if self._guard.stdin is not None:
            self._guard.stdin.close()  # it kills once more what carries the mark, and ends
        self._guard.wait()
        return self._lacking()

    def _lacking(self) -> int:
        late_at = time.monotonic() + END_S
        while True:
            now = free_gpu_mib()
            lacking = max((before - after for before, after in zip(self._free, now, strict=False)), default=0)
            if lacking <= SLACK_MIB:
                return 0
            if time.monotonic() >= late_at:
                return lacking
            time.sleep(0.5)


@contextlib.contextmanager
def _own_session() -> Iterator[None]:
    """Let multiprocessing start Python through `setsid`, where that is installed."""
    setsid = shutil.which("setsid")
    if setsid is None:
        yield
        return
    usual = spawn.get_executable()
    with tempfile.TemporaryDirectory(prefix="cai-engine-") as folder:
        python = Path(folder) / "python"
        python.write_text(f'#!/bin/sh\nexec {shlex.quote(setsid)} {shlex.quote(os.fsdecode(usual))} "$@"\n')
        python.chmod(0o700)
        spawn.set_executable(str(python))
        try:
            yield
        finally:
            spawn.set_executable(usual)


def free_gpu_mib() -> list[int]:
    """Free memory of each GPU in MiB."""
    return [int(row[0]) for row in nvidia.ask("memory.free") if row[0].isdecimal()]


def total_gpu_mib() -> list[int]:
    """Memory of each GPU in MiB."""
    return [int(row[0]) for row in nvidia.ask("memory.total") if row[0].isdecimal()]


def gpu_name() -> str:
    """The first GPU's name."""
    return next(iter(nvidia.ask("name")), ["GPU"])[0]


def visible_gpus(count: int) -> list[str]:
    """The names of the GPUs that this process may use, as CUDA_VISIBLE_DEVICES has them."""
    named = [one.strip() for one in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if one.strip()]
    return named[:count] or [str(n) for n in range(count)]


def visible_cores() -> list[str]:
    """The numbers of the cores that this process may use; empty where the system does not tell."""
    return [str(core) for core in sorted(os.sched_getaffinity(0))] if hasattr(os, "sched_getaffinity") else []


def environment(on_gpu: bool, devices: str = "") -> dict[str, str]:
    """What vLLM is told by variables; those that a person set stay as they are, where they are a person's to set.

    Of several engines each is told its `devices`, GPUs or cores.

    On a CPU the cores are named, since by itself vLLM leaves out one, half of a small machine, and the memory for keys
    and values is bounded, since by itself it takes nearly all.
    """
    found = {
        "VLLM_WORKER_MULTIPROC_METHOD": "spawn",  # a fork would copy the locks of the screen's and the store's threads
        "VLLM_ENABLE_V1_MULTIPROCESSING": "1",
        "VLLM_NO_USAGE_STATS": "1",  # by itself it reports to its makers
        "SPT_NOENV": "1",  # setting a process's title would overwrite the environment that the mark is in
    }
    if on_gpu and devices:
        found["CUDA_VISIBLE_DEVICES"] = devices
    ours = {"VLLM_LOGGING_LEVEL": "WARNING", "TOKENIZERS_PARALLELISM": "false"}
    if not on_gpu:
        cores = visible_cores()
        if devices or 0 < len(cores) <= MOST_CORES_BOUND:
            ours["VLLM_CPU_OMP_THREADS_BIND"] = devices or ",".join(cores)
        free = psutil.virtual_memory().available // 2**30
        ours["VLLM_CPU_KVCACHE_SPACE"] = str(min(max(free // 4, 1), LARGEST_KV_GIB))
    return found | {name: value for name, value in ours.items() if not os.environ.get(name)}
