"""What a killed process and a full disk leave behind, with real processes and a real volume."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from store import disk, schema
from store.db import Store
from store.errors import StoreWriteFailed
from store.migrate import create
from tests.store import rows

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT)}

# Each batch is five completions, a replaced verdict and an event; it is acknowledged on stdout once append returned.
WRITER = """
import sys
from pathlib import Path
from tests.store import rows
from store.db import Store
store = Store.open(Path(sys.argv[1]))
batch = int(sys.argv[2])
while True:
    store.append({
        "completions": [rows.completion(f"{batch}-{n}", seed=batch, text="text " * 4000) for n in range(5)],
        "events": [rows.event(batch, "Noted", {"batch": batch})],
    })
    store.put({"verdicts": [rows.verdict("s1", reason=str(batch))]})
    print(batch, flush=True)
    batch += 1
"""

# Appends until a write fails, then tells what was acknowledged and what the error says.
FILLER = """
import json, random, resource, sys
from pathlib import Path
from tests.store import rows
from store.db import Store
from store.errors import StoreWriteFailed
store = Store.open(Path(sys.argv[1]))
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
batch = 0
try:
    while batch < 500:
        texts = [random.randbytes(100_000).hex() for _ in range(5)]
        store.append({"completions": [rows.completion(f"{batch}-{n}", text=text) for n, text in enumerate(texts)]})
        batch += 1
except StoreWriteFailed as error:
    print(json.dumps({"batches": batch, "title": error.title, "hint": error.hint}))
store.close()
"""


def test_kill_9_at_random_moments(tmp_path: Path) -> None:
    path = tmp_path / "cai.duckdb"
    moments = random.Random(2)
    acknowledged = -1
    for _ in range(8):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path), str(acknowledged + 1)],
            env=ENVIRONMENT,
            text=True,
            stdout=subprocess.PIPE,
        )
        assert process.stdout is not None
        first = process.stdout.readline()
        time.sleep(moments.uniform(0, 0.25))
        process.send_signal(signal.SIGKILL)
        rest, _ = process.communicate()
        lines = (first + rest).split("\n")[:-1]
        acknowledged = int(lines[-1])
        with Store.open(path) as store, store.reader() as reader:
            batches = reader.query("SELECT seed, count(*) AS n FROM completions GROUP BY 1 ORDER BY 1")
            events = reader.query("SELECT seq FROM events ORDER BY 1")
            verdict = reader.query("SELECT reason FROM verdicts")
        assert [row["n"] for row in batches] == [5] * len(batches)
        assert [row["seed"] for row in batches] == [row["seq"] for row in events] == list(range(len(batches)))
        assert len(batches) - 1 in (acknowledged, acknowledged + 1)
        assert int(verdict[0]["reason"]) in (acknowledged, acknowledged + 1)
    assert acknowledged >= 8


# Opens a store and dies as DuckDB has made a new file, or as the copy of an older store has been written.
DYING = """
import os, shutil, signal, sys
from pathlib import Path
from store import migrate
from store.db import Store
def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)
def copy(source, target):
    target.write_bytes(source.read_bytes()[:4096])
    die()
migrate.shutil.copyfile = copy
if sys.argv[2] == "new":
    migrate._apply = die
Store.open(Path(sys.argv[1]))
"""


@pytest.mark.parametrize("what", ["new", "older"])
def test_a_store_half_made_or_half_copied_goes_at_the_next_start(
    tmp_path: Path, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "cai.duckdb"
    if what == "older":
        create(path, schema.VERSION - 1)
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", DYING, str(path), what], env=ENVIRONMENT, timeout=60)
        assert done.returncode == -signal.SIGKILL
    assert len(list(tmp_path.glob(".*"))) == 2, "each left something"
    monkeypatch.setattr(disk, "_YOUNG_S", 0.0)
    with Store.open(path) as store:
        store.append({"events": [rows.event(1, "Noted", {})]})
    backup = [f"{path.name}.v{schema.VERSION - 1}.backup"] if what == "older" else []
    assert sorted(found.name for found in tmp_path.iterdir()) == [path.name, f"{path.name}.commits", *backup]


# Under 16 MiB the log itself reaches the limit; above, the file does while the log is merged into it.
@pytest.mark.parametrize("limit_mib", [4, 24])
def test_a_quota_loses_nothing_that_was_committed(tmp_path: Path, limit_mib: int) -> None:
    path = tmp_path / "cai.duckdb"
    done = subprocess.run(
        [sys.executable, "-c", FILLER, str(path), str(limit_mib * 2**20)],
        env=ENVIRONMENT,
        text=True,
        capture_output=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["batches"] > 0
    assert "What was committed before is intact" in told["hint"]
    assert "the volume" in told["hint"]
    with Store.open(path) as store, store.reader() as reader:
        batches = reader.query("SELECT split_part(request_id, '-', 1)::INTEGER AS b, count(*) AS n FROM completions "
                               "GROUP BY 1 ORDER BY 1")  # fmt: skip
        assert [row["n"] for row in batches] == [5] * len(batches)
        assert len(batches) in (told["batches"], told["batches"] + 1)
        store.append({"completions": [rows.completion("after")]})


def test_a_full_disk_is_named_and_can_be_emptied(volume: Path) -> None:
    (volume / "other").write_bytes(bytes(4 * 2**20))
    with Store.open(volume / "cai.duckdb") as store:
        reader = store.reader()
        batch = 0
        with pytest.raises(StoreWriteFailed) as caught:
            while True:
                texts = [random.Random(f"{batch} {n}").randbytes(40000).hex() for n in range(5)]
                store.append(
                    {
                        "completions": [rows.completion(f"{batch}-{n}", text=text) for n, text in enumerate(texts)],
                        "events": [rows.event(batch, "Noted", {})],
                    }
                )
                batch += 1
        assert batch > 0
        assert f"the volume {volume}" in caught.value.hint
        assert "MiB free" in caught.value.hint
        count = "SELECT (SELECT count(*) FROM completions) AS completions, (SELECT count(*) FROM events) AS events"
        assert reader.query(count) == [{"completions": 5 * batch, "events": batch}]
        (volume / "other").unlink()
        store.append({"events": [rows.event(batch, "Noted", {})]})
        assert reader.query(count) == [{"completions": 5 * batch, "events": batch + 1}]
    with Store.open(volume / "cai.duckdb") as store:
        assert store.reader().query(count) == [{"completions": 5 * batch, "events": batch + 1}]
