"""A copy of a store in a file of its own, while others may be writing to it."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from store.connect import connect
from store.disk import volume, whole_file
from store.errors import CaiError, StoreError, StoreWriteFailed
from store.migrate import create, tables
from store.query import Query

_MEMORY = "512MB"  # for DuckDB, which writes what it copies


def snapshot(reader: Query, out: Path, only: Sequence[str] | None = None) -> dict[str, int]:
    """Copy a store as it is at this moment into `out`, a file that is not there yet; returns the rows by table.

    All tables are of one moment, whatever is written meanwhile; of tables that are not among `only` there are no rows.
    The file appears whole or not at all, and is a store like any other. Raises StoreError where `out` is there already
    or reading fails, and StoreWriteFailed where it cannot be written.
    """
    out = Path(out).expanduser().absolute()
    if out.exists() or out.is_symlink():
        raise StoreError(f"{out} is there already", "Nothing was written; give another name.")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(out) as aside:
            create(aside)
            with contextlib.closing(connect(aside, read_only=False, named=out)) as target:
                target.execute(f"SET memory_limit = '{_MEMORY}'")
                return _filled(reader, target, only)
    except (OSError, duckdb.Error) as error:
        raise StoreWriteFailed(
            f"the copy {out} could not be written: {error}",
            f"Nothing was left behind, and the store is intact. Check {volume(out)}, or choose another name.",
        ) from error


def _filled(reader: Query, target: duckdb.DuckDBPyConnection, only: Sequence[str] | None) -> dict[str, int]:
    counts = {}
    failed: list[CaiError] = []
    with reader.as_of_now() as parts:
        for name, table in tables(target).items():
            if only is not None and name not in only:
                continue
            columns = ", ".join(f'"{column.name}"' for column in table.columns)
            found = parts(f"SELECT {columns} FROM {name}")
            first = next(found)
            target.register("given", pa.RecordBatchReader.from_batches(first.schema, _batches(first, found, failed)))
            try:
                [(counts[name],)] = target.execute(f"INSERT INTO {name} BY NAME SELECT * FROM given").fetchall()
            except duckdb.Error:
                if failed:  # reading failed, not writing
                    raise failed[0] from None
                raise
            target.unregister("given")
    target.execute("CHECKPOINT")
    return counts


def _batches(first: Any, others: Iterator[Any], failed: list[CaiError]) -> Iterator[Any]:
    """The batches of one table; an error of reading is kept in `failed`, since DuckDB makes one of its own of it."""
    try:
        for part in itertools.chain([first], others):
            yield from part.to_batches()
    except CaiError as error:
        failed.append(error)
        raise
