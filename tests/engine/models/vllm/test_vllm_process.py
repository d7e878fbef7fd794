"""The processes of vLLM: known by their mark, out of reach of the program's signals, and ended with it."""

from __future__ import annotations

import multiprocessing.spawn
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from engine.models.vllm.process import MARK, Processes, environment


def test_a_persons_variables_stay(monkeypatch):
    monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", "9")
    monkeypatch.delenv("VLLM_CPU_OMP_THREADS_BIND", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {1, 0}, raising=False)
    found = environment(on_gpu=False)
    assert "VLLM_CPU_KVCACHE_SPACE" not in found and found["VLLM_CPU_OMP_THREADS_BIND"] == "0,1"
    assert not {"VLLM_CPU_KVCACHE_SPACE", "VLLM_CPU_OMP_THREADS_BIND"} & set(environment(on_gpu=True))


SLEEPS = [sys.executable, "-c", "import time; print('on', flush=True); time.sleep(60)"]
only_linux = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="processes are found in /proc")


@only_linux
def test_processes_are_known_by_their_mark_and_the_environment_is_as_before():
    before = dict(os.environ)
    processes = Processes()
    with processes.starting({"CAI_SOMETHING": "1"}):
        child = subprocess.Popen(SLEEPS, stdout=subprocess.PIPE)
        os.environ["LD_PRELOAD_OF_A_LIBRARY"] = "x"
    assert dict(os.environ) == before
    assert child.stdout is not None and child.stdout.readline() == b"on\n"
    assert processes.left() == [child.pid]
    child.terminate()
    child.wait()
    assert processes.end() == 0


@only_linux
@pytest.mark.skipif(shutil.which("setsid") is None, reason="there is no setsid here")
def test_a_signal_to_the_programs_group_does_not_reach_the_engine():
    usual = multiprocessing.spawn.get_executable()
    processes = Processes()
    with processes.starting({}):
        child = multiprocessing.get_context("spawn").Process(target=time.sleep, args=(60,), daemon=True)
        child.start()
        late_at = time.monotonic() + 30  # the way it is started through is there as long as processes are started
        while time.monotonic() < late_at and os.getsid(child.pid) == os.getsid(0):
            time.sleep(0.05)
    assert multiprocessing.spawn.get_executable() == usual
    assert os.getsid(child.pid) == child.pid
    assert processes.left() == [child.pid]
    child.terminate()
    child.join(10)
    assert processes.end() == 0


@only_linux
def test_what_does_not_end_is_killed(monkeypatch):
    monkeypatch.setattr("engine.models.vllm.process.END_S", 0.2)
    processes = Processes()
    with processes.starting({}):
        child = subprocess.Popen(SLEEPS)
    processes.end()
    assert child.wait(5) == -signal.SIGKILL


@only_linux
def test_a_program_that_is_killed_leaves_no_engine_behind():
    program = f"""
import subprocess, sys, time
from engine.models.vllm.process import Processes
processes = Processes()
with processes.starting({{}}):
    child = subprocess.Popen({SLEEPS!r}, stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
time.sleep(60)
"""
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    assert MARK.encode() in Path(f"/proc/{child}/environ").read_bytes()
    parent.kill()
    parent.wait()
    late_at = time.monotonic() + 10
    while time.monotonic() < late_at and _lives(child):
        time.sleep(0.05)
    assert not _lives(child)


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
