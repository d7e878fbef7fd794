"""A store that a killed process left, with rows in its file and in its log, and thirty ways to damage it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from store.db import Store

ROOT = Path(__file__).parents[3]
NAME = "cai.duckdb"
IN_FILE, IN_LOG = 40, 40  # batches, of five completions, an event and a metric each

# Batches until `merged` are in the file, those until `all` in the log; then the process is gone without a word.
LEFT = """
import os, sys
from pathlib import Path
from store.db import Store
from tests.store import rows
store = Store.open(Path(sys.argv[1]))
first, merged, last = map(int, sys.argv[2:5])
for batch in range(first, last):
    store.append({
        "completions": [rows.completion(f"{batch}-{n}", seed=batch, text=f"text {batch} {n} " * 40) for n in range(5)],
        "events": [rows.event(batch, "Noted", {"batch": batch})],
        "metrics": [rows.metric()],
    })
    if batch + 1 == merged:
        with store._write_lock:
            store._keeper.merge()
os._exit(9)
"""


def leave(path: Path, first: int = 0, merged: int = IN_FILE, last: int = IN_FILE + IN_LOG) -> None:
    """Write batches in a process that ends without closing the store."""
    asked = [sys.executable, "-c", LEFT, str(path), str(first), str(merged), str(last)]
    done = subprocess.run(asked, env=os.environ | {"PYTHONPATH": str(ROOT)}, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 9, done.stderr
    beside(path, "sock").unlink()  # nobody listens on it any more, and a folder with a socket cannot be copied


def beside(path: Path, kind: str) -> Path:
    return Path(f"{path}.{kind}")


def files_of(path: Path) -> dict[str, bytes]:
    """Everything that lies in the store's folder, but folders."""
    return {found.name: found.read_bytes() for found in sorted(path.parent.iterdir()) if found.is_file()}


def batches(path: Path) -> tuple[int, int, list[str]]:
    """How many completions and events there are, and the last columns of all rows, each read in full."""
    with Store.open(path) as store, store.reader() as reader:
        texts = reader.query("SELECT text FROM completions ORDER BY seed, request_id")
        events = reader.query("SELECT seq, payload FROM events ORDER BY seq")
        for table in reader.query("SELECT table_name FROM duckdb_tables()"):
            reader.query(f"SELECT * FROM {table['table_name']}")
    return len(texts), len(events), [row["text"] for row in texts]


def flipped(kind: str, share: float, how_many: int = 1) -> Callable[[Path], None]:
    """Bytes changed at a share of the way through the file or its log."""

    def damage(path: Path) -> None:
        target = beside(path, "wal") if kind == "wal" else path
        held = bytearray(target.read_bytes())
        start = min(int(share * len(held)), len(held) - how_many)
        for at in range(start, start + how_many):
            held[at] ^= 0x5A
        target.write_bytes(held)

    return damage


def at(kind: str, place: int) -> Callable[[Path], None]:
    """One byte changed at a place."""

    def damage(path: Path) -> None:
        target = path if kind == "file" else beside(path, kind)
        held = bytearray(target.read_bytes())
        held[place] ^= 0x5A
        target.write_bytes(held)

    return damage


def cut(kind: str, share: float) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        target = path if kind == "file" else beside(path, kind)
        os.truncate(target, int(share * target.stat().st_size))

    return damage


def removed(*kinds: str) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        for kind in kinds:
            (path if kind == "file" else beside(path, kind)).unlink()

    return damage


def instead(older: str, *kinds: str) -> Callable[[Path], None]:
    """Files of another folder in the place of these: `earlier` is the same store before, `other` another one."""

    def damage(path: Path) -> None:
        for kind in kinds:
            name = NAME if kind == "file" else f"{NAME}.{kind}"
            shutil.copyfile(path.parent / older / name, path.parent / name)

    return damage


def both(one: Callable[[Path], None], other: Callable[[Path], None]) -> Callable[[Path], None]:
    return lambda path: (one(path), other(path))[0]


def in_front(path: Path) -> None:
    """4,000 bytes of something else before the log."""
    log = beside(path, "wal")
    log.write_bytes(os.urandom(4000) + log.read_bytes())


def behind(path: Path) -> None:
    with beside(path, "wal").open("ab") as log:
        log.write(os.urandom(4000))


DAMAGES: dict[str, Callable[[Path], None]] = {
    "nothing": lambda path: None,
    **{f"log, byte {place}": at("wal", place) for place in (0, 4, 8, 12, 18, 26, 33, 40, 46)},
    **{f"log, flipped at {share:.0%}": flipped("wal", share) for share in (0.05, 0.4, 0.7, 0.999)},
    **{f"log, cut to {share:.0%}": cut("wal", share) for share in (0, 0.001, 0.3, 0.8, 0.999)},
    "log removed": removed("wal"),
    "log with bytes before it": in_front,
    "log with bytes behind it": behind,
    "log of the same store before": instead("earlier", "wal"),
    "log of another store": instead("other", "wal"),
    **{f"file, byte {place}": at("file", place) for place in (3, 9, 60, 4100, 4110, 8200, 8210)},
    **{f"file, flipped at {share:.1%}": flipped("file", share, 64) for share in (0.02, 0.1, 0.3, 0.5, 0.7, 0.9, 0.999)},
    **{f"file, cut to {share:.0%}": cut("file", share) for share in (0, 0.01, 0.5, 0.95)},
    "file removed": removed("file"),
    "file and log removed": removed("file", "wal"),
    "file of the same store before": instead("earlier", "file"),
    "file and log of the same store before": instead("earlier", "file", "wal"),
    "file of another store": instead("other", "file"),
    "file and log of another store": instead("other", "file", "wal"),
    "file copied alone": removed("wal", "commits"),
    "log emptied and what is known removed": both(cut("wal", 0), removed("commits")),
    "log damaged and what is known removed": both(at("wal", 33), removed("commits")),
    **{f"log, byte {place}, and what is known removed": both(at("wal", place), removed("commits")) for place in (0, 4, 32)},
    **{f"log cut to {share:.0%} and what is known removed": both(cut("wal", share), removed("commits")) for share in (0.001, 0.3, 0.8)},
    "what is known removed": removed("commits"),
    "what is known, one line": at("commits", 30),
    "what is known, cut": cut("commits", 0.02),
    "what is known of another store": instead("other", "commits"),
}  # fmt: skip
