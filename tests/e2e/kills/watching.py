"""A process that reads a store all the time: `python -m tests.e2e.kills.watching STORE` until its input ends.

It asks what a person asks of a run that goes on: its status, its samples, and who computed each answer. What it has
seen once has to be there, and be the same, whenever it looks again. It ends with a line of JSON.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from store.db import reading
from store.errors import CaiError
from store.serving.attached import Attached
from tests.e2e.kills.compared import computed

EVERY_S = 1.0
ROOT = Path(__file__).parents[3]
# What a reader may be told where the owner ends at that moment, or has opened the file and serves nobody yet.
EXPECTED = ("is gone", "is in use by")


def watch(store: Path) -> dict[str, Any]:
    """Read until the input ends; how often over the socket and from the file, what failed, and what was seen to go."""
    over = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), over.set()), daemon=True).start()
    told: Counter[str] = Counter()
    seen: dict[str, str] = {}
    lost, errors = [], []
    while not over.wait(EVERY_S):
        if not store.exists():
            continue
        try:
            with reading(store) as opened, opened.reader() as reader:
                way = "attached" if isinstance(opened, Attached) else "file"
                now = computed(reader)
                run_id = reader.latest_run_id()
                if run_id is not None:
                    reader.status(run_id)
                    reader.samples(run_id, verdict="accepted", limit=10)
                told[way] += 1
        except CaiError as error:
            told["refused"] += 1
            if not any(words in error.title for words in EXPECTED):
                errors.append(error.title)
            continue
        lost += [request for request, session in seen.items() if now.get(request) != session]
        seen = now
    return {**told, "errors": errors, "lost": lost, "seen": len(seen)}


@contextmanager
def watched(store: Path) -> Iterator[dict[str, Any]]:
    """Have a process watch the store meanwhile; what it tells is in the dictionary afterwards."""
    command = [sys.executable, "-m", "tests.e2e.kills.watching", str(store)]
    process = subprocess.Popen(command, cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    found: dict[str, Any] = {}
    try:
        yield found
        out, _ = process.communicate("", timeout=60)
        assert process.returncode == 0, "the reader ended with an error"
        found |= json.loads(out)
    finally:
        process.kill()
        process.communicate()


if __name__ == "__main__":
    sys.stdout.write(json.dumps(watch(Path(sys.argv[1]))))
