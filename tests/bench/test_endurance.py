"""The benchmark of endurance in twenty seconds: a run as it is stays as large as it is, and a leak shows."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
MINUTES, WARM = 20 / 60, 8 / 60
LEAKS = """
from store.db import Store
kept, commit = [], Store._commit
def leaking(self, work):
    kept.append(bytearray(b"x" * 3_000_000))
    return commit(self, work)
Store._commit = leaking
"""
CODE = """
import sys
sys.path.insert(0, "bench")
import endurance
endurance.LATENCY_S = 0.05
{planted}
sys.argv[1:] = ["{minutes}", "{warm}"]
endurance.main()
"""


def begun(planted: str) -> subprocess.Popen[str]:
    code = CODE.format(planted=planted, minutes=MINUTES, warm=WARM)
    return subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"}, text=True,
        stdout=subprocess.PIPE,
    )  # fmt: skip


def told(process: subprocess.Popen[str]) -> dict[str, Any]:
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    found: dict[str, Any] = json.loads(out.splitlines()[-1])
    return found


@pytest.mark.slow
@pytest.mark.integration
def test_memory_stays_as_it_is_and_a_planted_leak_shows() -> None:
    as_it_is, leaking = map(told, [begun(""), begun(LEAKS)])
    assert as_it_is["growth"] < 0.05 < leaking["growth"], (as_it_is, leaking)
    assert as_it_is["rows"]["scores"] > 40 and as_it_is["reads"] > 5
    assert as_it_is["read_errors"] == 0, as_it_is["first_error"]
