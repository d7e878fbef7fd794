"""The key table of the documents is the one that the bindings give."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]


def test_the_key_table_is_current() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "docs/keys.py"), "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
