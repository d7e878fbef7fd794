"""What `cai` says of a run whose volume fills up, what can be looked at meanwhile, and that `cai resume` ends it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tui.cli_fakes import ROOT

pytestmark = pytest.mark.integration

# `cai ARGUMENT...` with a fake model, at whose nth answer the volume is filled; 0 is never.
CAI = """
import shutil, sys
from pathlib import Path
import engine.models.registry
from tests.engine.fakes import FakeModel
at, volume = int(sys.argv[1]), Path(sys.argv[2])
def fill(answered):
    if answered == at:
        (volume / "other").write_bytes(bytes(shutil.disk_usage(volume).free - 2**19))
engine.models.registry.load = lambda *_, **__: FakeModel(on_answer=fill)
from tui.cli import entry
sys.exit(entry.main(sys.argv[3:]))
"""
RUN = (
    "run", "--pilot", "6", "--set", "critics.instruction=[grade]", "--set", "critics.sample=[grade, ended]",
    "--set", "instructions.round=4", "--set", "responses.drafts=1", "--set", "expected_candidates_per_accepted=1.5",
)  # fmt: skip


def cai(volume: Path, *arguments: str, at: int = 0) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-c", CAI, str(at), str(volume), *arguments, "--store", str(volume / "cai.duckdb")]
    return subprocess.run(argv, cwd=ROOT, env=os.environ, capture_output=True, text=True, timeout=60)


def test_a_full_volume_is_named_with_what_is_safe_and_resume_goes_on_when_it_is_freed(volume: Path) -> None:
    full = cai(volume, *RUN, "--headless", at=14)
    assert full.returncode == 1, full.stdout
    told = " ".join((full.stdout + full.stderr).split())
    for words in ("a batch could not be written", "What was committed before is intact", str(volume), "cai resume"):
        assert words in told, told
    assert "Traceback" not in told
    status = cai(volume, "status", "--json")
    assert status.returncode == 0, status.stderr
    made = json.loads(status.stdout)["counts"]["candidates"]

    still = cai(volume, "resume", "--headless")
    assert still.returncode == 1 and "MiB are free" in " ".join((still.stdout + still.stderr).split())

    (volume / "other").unlink()
    ended = cai(volume, "resume", "--json")
    found = json.loads(ended.stdout)
    assert ended.returncode in (0, 4) and found["state"] in ("done", "gate_failed"), ended.stderr
    assert found["counts"]["candidates"] >= made and found["counts"]["accepted"] >= 6
