"""A copy of a store while it works: of one moment, whole, and a store like any other."""

from __future__ import annotations

import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from store.db import Store, reading
from store.errors import StoreError
from store.query import OwnCursor
from store.serving.snapshot import snapshot
from tests.store.serving.owners import owned, write


@pytest.fixture
def path(small_run_file: Path, tmp_path: Path) -> Path:
    return Path(shutil.copyfile(small_run_file, tmp_path / "cai.duckdb"))


def test_a_copy_holds_the_same_rows_with_and_without_an_owner(path: Path, tmp_path: Path) -> None:
    def rows_of(file: Path) -> dict[str, list[dict[str, object]]]:
        with Store.open(file, read_only=True) as store, store.reader() as reader:
            return {name: reader.query(f"SELECT * FROM {name}") for name in counts}

    with reading(path) as store, store.reader() as reader:
        counts = snapshot(reader, tmp_path / "a.duckdb")
    with owned(path), reading(path) as store, store.reader() as reader:
        assert snapshot(reader, tmp_path / "b.duckdb") == counts
        assert snapshot(reader, tmp_path / "c.duckdb", ["runs"]) == {"runs": 1}
        with pytest.raises(StoreError, match="is there already"):
            snapshot(reader, tmp_path / "b.duckdb")
    assert counts["samples"] == 4 and counts["completions"] == 8
    assert rows_of(tmp_path / "a.duckdb") == rows_of(tmp_path / "b.duckdb") == rows_of(path)
    assert stat.S_IMODE((tmp_path / "b.duckdb").stat().st_mode) == 0o600
    left = {"cai.duckdb", "cai.duckdb.wal", "cai.duckdb.sock", "a.duckdb", "b.duckdb", "c.duckdb"}
    assert {found.name for found in tmp_path.iterdir()} <= left
    with Store.open(tmp_path / "b.duckdb") as copied:
        copied.update_run("run-a", state="done")


def test_a_copy_is_of_one_moment_although_rows_are_written(path: Path, tmp_path: Path) -> None:
    with owned(path) as owner, reading(path) as store:
        write(owner, 2_000, wait=False)
        for number in range(2):
            with store.reader() as reader:
                counts = snapshot(reader, tmp_path / f"{number}.duckdb")
            assert counts["samples"] == counts["verdicts"]  # one transaction writes a row of each


def test_what_fails_on_the_way_leaves_nothing(path: Path, tmp_path: Path) -> None:
    out = tmp_path / "out" / "a.duckdb"
    with owned(path) as owner, reading(path) as store, store.reader() as reader:
        reader.query("SELECT 1 AS one")
        owner.kill()
        owner.wait()
        with pytest.raises(StoreError, match="is gone"):
            snapshot(reader, out)
    assert list(out.parent.iterdir()) == []


def test_a_read_that_fails_on_the_way_is_not_told_as_a_failed_write(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = OwnCursor.parts

    def breaking(cursor: OwnCursor, sql: str) -> Iterator[Any]:
        yield next(parts(cursor, sql))
        raise failed

    failed = StoreError("a part cannot be read", "Put the right files back.")
    monkeypatch.setattr(OwnCursor, "parts", breaking)
    with reading(path) as store, store.reader() as reader, pytest.raises(StoreError) as caught:
        snapshot(reader, tmp_path / "out" / "a.duckdb")
    assert caught.value is failed
    assert list((tmp_path / "out").iterdir()) == []
