"""A training process does not outlive its engine, whatever it is doing."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from engine.training.orphan import EXIT_ORPHANED, Orphan

ROOT = Path(__file__).parents[3]
WORKING = """
import sys, time, psutil
from engine.training.orphan import Orphan
with Orphan(psutil.Process(int(sys.argv[1])), seconds=float(sys.argv[3])) as orphan:
    if sys.argv[2] == "steps":
        orphan.step_begins()
    print("working", flush=True)
    time.sleep(300)
"""


@pytest.fixture
def engine() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"])
    yield process
    process.kill()
    process.wait()


def working(engine: subprocess.Popen[bytes], does: str, seconds: float) -> subprocess.Popen[str]:
    asked = [sys.executable, "-c", WORKING, str(engine.pid), does, str(seconds)]
    process = subprocess.Popen(asked, cwd=ROOT, text=True, stdout=subprocess.PIPE)
    assert process.stdout is not None and process.stdout.readline() == "working\n"
    return process


def test_before_its_first_step_it_ends_at_once(engine: subprocess.Popen[bytes]) -> None:
    with working(engine, "loads", 300) as process:
        engine.kill()  # and nobody waits for it: what is left of it is an entry
        assert process.wait(timeout=30) == EXIT_ORPHANED


def test_a_step_has_its_time_and_one_that_hangs_ends(engine: subprocess.Popen[bytes]) -> None:
    with working(engine, "steps", 4) as process:
        engine.kill()
        killed = time.monotonic()
        assert process.wait(timeout=30) == EXIT_ORPHANED
        assert time.monotonic() - killed >= 4


def test_it_leaves_a_process_alone_whose_engine_lives() -> None:
    with Orphan(psutil.Process()) as orphan:
        time.sleep(2.5)
        assert orphan._thread.is_alive()
    assert not orphan._thread.is_alive()
