"""The benchmark of readers ends where there is nothing to read."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CODE = """
import sys
from pathlib import Path
sys.path.insert(0, "bench")
import readers
readers.LATEST_S = 0.3
readers.read(Path(sys.argv[1]), 0, 1.0)
"""


def test_a_run_that_never_shows_ends_the_benchmark(tmp_path: Path) -> None:
    asked = [sys.executable, "-c", CODE, str(tmp_path / "cai.duckdb")]
    ran = subprocess.run(asked, cwd=ROOT, text=True, stderr=subprocess.PIPE)
    assert ran.returncode == 1
    assert ran.stderr.strip() == "no run with a loaded model was there to be read within 0.3 s"
