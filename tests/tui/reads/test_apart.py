"""A typed statement in a process of its own: what ends that process ends nothing else."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from store.db import Store
from store.errors import StoreError
from store.serving.service import ReadingService
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


def test_a_copy_that_takes_too_long_is_not_the_statements_fault(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def late(service: ReadingService, *asked: Any, **how: Any) -> None:
        over.wait(60)

    over = threading.Event()
    monkeypatch.setattr(ReadingService, "_send_rows", late)
    monkeypatch.setattr(apart, "BEGIN_S", 3.0)
    with Store.open(path):
        with pytest.raises(StoreError, match="had not begun after 3 s") as caught:
            run_apart(path, "SELECT count(*) FROM samples", 1)
        over.set()
    assert "cai export --snapshot" in caught.value.hint


def test_a_statement_has_its_own_time_after_a_late_begin() -> None:
    begin = "print(json.dumps({{'begun': time.monotonic()}}), flush=True)"
    code = f"import json, time; time.sleep({{}}); {begin}; time.sleep({{}})"
    for begins, takes, ends in ((1.5, 1.5, True), (0.5, 30, False)):
        child = subprocess.Popen(
            [sys.executable, "-c", code.format(begins, takes)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        try:
            if ends:
                assert b"begun" in apart._output(child, b"", 2.5)
            else:
                with pytest.raises(subprocess.TimeoutExpired):
                    apart._output(child, b"", 2.5)
        finally:
            child.kill()
            child.communicate()


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
