"""A typed statement in a process of its own: what ends that process ends nothing else."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import pytest

from store.db import Store
from store.errors import StoreError
from tests.tui.fakes import fill
from tui.reads import apart
from tui.reads.apart import run_apart
from tui.reads.sql import run

pytestmark = pytest.mark.integration
EXPONENTIAL = ", ".join(
    f"c{n} AS (SELECT 1 AS one FROM {f'c{n - 1} a, c{n - 1} b' if n else 'samples'})" for n in range(25)
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "s.duckdb"
    fill(path, many=1500)
    return path


def test_it_gives_what_the_room_gives(path: Path) -> None:
    sql = "SELECT *, now() AS at, {'a': [1.5]} AS nested FROM samples;"
    found = run_apart(path, sql, 20)
    with Store.open(path, read_only=True) as store, store.reader() as reader:
        alike = run(reader, sql)
    assert (found.columns, found.more, found.sql) == (alike.columns, True, alike.sql)
    at = [name for name, _ in found.columns].index("at")
    assert [row[:at] + row[at + 1 :] for row in found.rows] == [row[:at] + row[at + 1 :] for row in alike.rows]


def test_what_may_not_run_says_the_same(path: Path) -> None:
    for sql, says in (
        ("DELETE FROM samples", "one SELECT at a time"), ("SELECT oops", "oops"), ("SELECT \ud800", "oops|failed"),
        ("FROM glob('/*')", "glob\\(\\) is not allowed"),
    ):  # fmt: skip
        with pytest.raises(StoreError, match=says):
            run_apart(path, sql, 20)
    with pytest.raises(StoreError, match="there is no store"):
        run_apart(path.with_name("none"), "SELECT 1", 20)


def test_a_statement_whose_planning_cannot_be_interrupted_is_killed(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apart, "GRACE_S", 3.0)
    began = time.monotonic()
    with pytest.raises(StoreError, match=r"was ended: it (took longer than|wrote|needed|s process)|Out of Memory"):
        run_apart(path, f"WITH {EXPONENTIAL} SELECT count(*) FROM c24", 1)
    assert time.monotonic() - began < 15


def test_what_takes_more_memory_than_it_may_ends_alone(path: Path) -> None:
    with pytest.raises(StoreError):
        run_apart(path, "SELECT repeat(chr(97 + range::INT), 1500000000) FROM range(8)", 20)
    with pytest.raises(StoreError, match="result is larger than 64 MiB"):
        run_apart(path, "SELECT repeat('x', 100000) FROM range(1000)", 20)
    assert run_apart(path, "SELECT 1", 20).rows == [(1,)]


def test_a_process_that_is_killed_is_told(path: Path) -> None:
    def kill() -> None:
        me, until = os.getpid(), time.monotonic() + 15
        while time.monotonic() < until:
            children = Path(f"/proc/{me}/task").glob("*/children")
            for pid in [int(pid) for one in children for pid in one.read_text().split()]:
                command = Path(f"/proc/{pid}/cmdline").read_bytes()
                if b"tui.reads.apart" in command:
                    os.kill(pid, signal.SIGKILL)
                    return
            time.sleep(0.02)

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(StoreError, match="its process ended with status -9"):
        run_apart(path, "SELECT sum(a.range * b.range) FROM range(1000000000) a, range(1000000000) b", 20)
    killer.join()
