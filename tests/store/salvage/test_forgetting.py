"""What DuckDB notes of blocks that are gone is dropped when the log is merged, and no statement fails for it."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from store import connect
from store.db import Store
from store.query import OwnCursor
from tests.store import rows
from tests.store.salvage.damage import NAME

LIMIT = "SELECT current_setting('memory_limit') AS n"
GONE = "SELECT sum(dead_nodes)::BIGINT AS n FROM duckdb_eviction_queues()"
GROUPS = (
    "SELECT repeat('x', 200) || range AS word, count(*) FROM range(20_000) GROUP BY word ORDER BY word DESC LIMIT 9000"
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / NAME


def commit(store: Store, n: int) -> None:
    for number in range(n):
        store.append({"events": [rows.event(number, f"Noted{number}", {})]})


def merge(store: Store) -> None:
    with store._write_lock:
        store._keeper.merge()  # type: ignore[union-attr]


def told(store: Store, sql: str) -> Any:
    with store.reader() as reader:
        return reader.query(sql)[0]["n"]


def test_what_is_noted_of_blocks_that_are_gone_does_not_pile_up(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Store.open(path, memory="200MB") as store:
        commit(store, 40)
        before, limit = told(store, GONE), told(store, LIMIT)
        merge(store)
        assert told(store, GONE) >= before > 100  # too few to be worth it
        monkeypatch.setattr(connect, "_NOTED", before)
        commit(store, 1)
        merge(store)
        assert told(store, GONE) < 20
        assert told(store, LIMIT) == limit
        assert told(store, "SELECT count(*) AS n FROM events") == 40


def test_it_does_not_wait_for_a_merge_that_is_held_up(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connect, "_NOTED", 20)
    with Store.open(path) as store:
        commit(store, 20)
        cursor = store._cursor()
        parts = cursor.parts("SELECT range FROM range(1_000_000)")
        first = next(parts)
        merge(store)
        assert store._keeper._held_up and told(store, GONE) < 20  # type: ignore[union-attr]
        assert first.num_rows + sum(part.num_rows for part in parts) == 1_000_000
        assert told(store, "SELECT count(*) AS n FROM events") == 20
        cursor.close()


def test_no_statement_finds_no_memory_for_it(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connect, "_NOTED", 0)
    monkeypatch.setattr(OwnCursor, "_roomy", lambda self, sql, params, most: self._run(sql, params))  # it may not retry
    ended, read = threading.Event(), [0, 0]

    def reading(at: int) -> None:
        with store.reader() as reader:
            while not ended.is_set():
                assert len(reader.query(GROUPS)) == 9_000
                read[at] += 1

    failed: list[object] = []
    monkeypatch.setattr(threading, "excepthook", failed.append)
    with Store.open(path, memory="200MB") as store:
        commit(store, 20)
        limit = told(store, LIMIT)
        threads = [threading.Thread(target=reading, args=[at]) for at in range(2)]
        for thread in threads:
            thread.start()
        for _ in range(100):
            with store._write_lock:
                connect.forget_blocks(store._writer)
            assert told(store, LIMIT) == limit
        ended.set()
        for thread in threads:
            thread.join()
    assert not failed and min(read) > 3
