"""A process that owns a store, for those who read it from another one."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
OWNER = """
import sys
from pathlib import Path
from store.db import Store
from tests.store import rows
with Store.open(Path(sys.argv[1])) as store:
    print("open", flush=True)
    for line in sys.stdin:  # batches to write, each of two rows in two tables
        for number in range(int(line)):
            store.append({
                "samples": [rows.sample(f"more{number}", "i1", ordinal=100 + number)],
                "verdicts": [rows.verdict(f"more{number}")],
            })
        print("written", flush=True)
"""


@contextmanager
def owned(path: Path) -> Iterator[subprocess.Popen[str]]:
    """The owner's process; it writes when told how many batches, and ends when its input does."""
    process = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(path)], cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None and process.stdout.readline() == "open\n"
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def write(process: subprocess.Popen[str], batches: int, *, wait: bool = True) -> None:
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(f"{batches}\n")
    process.stdin.flush()
    if wait:
        assert process.stdout.readline() == "written\n"
