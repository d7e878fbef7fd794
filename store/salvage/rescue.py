"""`cai salvage`: a new store of all that can still be read in a damaged one, and an account of what cannot."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import duckdb

from store import schema
from store.connect import connect, write_failed
from store.disk import whole_folder
from store.encode import Table
from store.errors import StoreDamaged, StoreError
from store.migrate import create, migrate, tables, version_of
from store.salvage.clock import utc_now
from store.salvage.entries import ABSENT, log_lacks
from store.salvage.known import Known, read_known
from store.salvage.own import say_closed
from store.salvage.pieces import Piece, Pieces, count_of

REPORT = "salvage.json"
_AT_ONCE = 2_048  # rows: as many as DuckDB keeps together
_FEWEST = 16  # rows that are given up together where they cannot be read


def salvage(path: Path, out: Path) -> dict[str, Any]:
    """Write what can be read of the store at `path` to a new one in the folder `out`, which must not be there.

    Returns the report, which lies in the folder as well: `store` (the new one), `how` it was opened, `commits` as
    {known, saved}, and for each of `tables` its rows {saved, lost}; None stands for what nobody knows, and `whole` is
    true where nothing is known to be lost. Each of its runs gets an event that says so. The damaged store is left as
    it was. Raises StoreLocked where somebody has it open, and StoreError where nothing can be read or written.
    """
    path, out = Path(path).expanduser().absolute(), Path(out).expanduser().absolute()
    if not path.is_file():
        raise StoreError(f"there is no store at {path}", "Nothing was written. Name the damaged file.")
    if out.exists():
        raise StoreError(f"{out} is there already", "Nothing was written. Choose another --out.")
    try:
        with whole_folder(out) as aside:
            work = aside / "work"
            work.mkdir()
            report = {"from": str(path), "store": str(out / path.name), **_saved(path, work, aside / path.name)}
            shutil.rmtree(work)
            (aside / REPORT).write_text(json.dumps(report, indent=1) + "\n")
        return report
    except OSError as error:
        raise write_failed(out, error) from error


def _saved(path: Path, work: Path, new: Path) -> dict[str, Any]:
    known = _known(path)
    pieces = Pieces(path, work)
    piece = pieces.best(known)
    if piece is None:
        raise StoreError(
            f"nothing can be read of the store {path}",
            "Nothing was written, and its files are as they were. What is left are copies that were made of it.",
        )
    lacks = log_lacks(pieces.path)
    source = DamagedSource(pieces.path)
    try:
        version = source.version()
        create(new, version)
        target = connect(new, read_only=False)
        try:
            counted = {name: source.copy(table, target) for name, table in tables(target).items()}
            lost = _told(counted, known, piece, lacks)
            if lost is not None:
                _note(target, lost)
            target.execute("CHECKPOINT")
            if version < schema.VERSION:
                target = migrate(new, target, read_only=False, closed=say_closed)
                for backup in new.parent.glob(f"{new.name}.v*.backup*"):
                    backup.unlink()
        except duckdb.Error as error:
            raise write_failed(new, error) from error
        finally:
            target.close()
    finally:
        source.close()
    return {
        "how": piece.how or "as it is",
        "commits": {"known": known.commits if known else None, "saved": piece.commits},
        "tables": counted,
        "whole": lost is None,
        "lost": lost or "",
    }


class DamagedSource:
    """The piece that is read from, opened anew where a damaged block made DuckDB give up on it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._database = connect(path, read_only=True)

    def version(self) -> int:
        """The schema of its tables; this program's where the table that says it cannot be read."""
        with contextlib.suppress(duckdb.Error):
            return version_of(self._path, self._database)
        return schema.VERSION

    def copy(self, table: Table, target: duckdb.DuckDBPyConnection) -> dict[str, int | None]:
        """Copy all rows of a table that can be read; how many were `saved` and `lost`."""
        total = count_of(self._database, table.name)
        try:
            (last,) = self._database.execute(f"SELECT coalesce(max(rowid), -1) FROM {table.name}").fetchall()[0]
        except duckdb.Error:
            last = (total or 0) - 1
        saved = sum(self._rows(table, first, first + _AT_ONCE, target) for first in range(0, last + 1, _AT_ONCE))
        return {"saved": saved, "lost": None if total is None else total - saved}

    def _rows(self, table: Table, first: int, end: int, target: duckdb.DuckDBPyConnection) -> int:
        """Copy the rows from `first` to before `end`, in halves where they cannot be read together."""
        try:
            chosen = f"SELECT * FROM {table.name} WHERE rowid >= {first} AND rowid < {end}"
            rows = self._database.sql(chosen).to_arrow_table()
        except duckdb.Error as error:
            if isinstance(error, duckdb.FatalException):
                self._database.close()
                self._database = connect(self._path, read_only=True)
            if end - first <= _FEWEST:
                return 0
            middle = (first + end) // 2
            return self._rows(table, first, middle, target) + self._rows(table, middle, end, target)
        if rows.num_rows:
            target.register("saved_rows", rows)
            conflict = "OR IGNORE " if table.key else ""
            target.execute(f"INSERT {conflict}INTO {table.name} BY NAME SELECT * FROM saved_rows")
            target.unregister("saved_rows")
        return int(rows.num_rows)

    def close(self) -> None:
        self._database.close()


def _known(path: Path) -> Known | None:
    with contextlib.suppress(StoreDamaged):
        return read_known(path)
    return None


def _told(counted: Mapping[str, Mapping[str, int | None]], known: Known | None, piece: Piece, lacks: str) -> str | None:
    """What is lost, in words; None where nothing is known to be."""
    told, own = [], piece.own
    if known is not None and (own is None or own.store != known.store):
        told.append(f"all {known.commits:,} commits of the store that lay here: this is another one")
    elif known is not None and piece.commits < known.commits:
        told.append(f"{known.commits - piece.commits:,} of {known.commits:,} commits, the last of {known.at[:19]}Z")
    elif known is None and own is not None and ((own.writing and (piece.how or lacks)) or lacks not in ("", ABSENT)):
        since = own.writing or "it was closed"
        told.append(f"what was committed after {since}, of which nobody knows how much there was")
    for name, rows in counted.items():
        if rows["lost"] is None:
            told.append(f"an unknown number of rows of {name}")
        elif rows["lost"]:
            told.append(f"{rows['lost']:,} of {rows['lost'] + (rows['saved'] or 0):,} rows of {name}")
    return "; ".join(told) or None


def _note(target: duckdb.DuckDBPyConnection, lost: str) -> None:
    """Have each run say in its own events what was lost."""
    now = utc_now()
    text = f"this store was saved from a damaged one, without {lost}"
    payload = json.dumps({"level": "warning", "text": text})
    for (run_id,) in target.execute("SELECT run_id FROM runs").fetchall():
        row = [run_id, f"salvage {now:%Y-%m-%dT%H:%M:%SZ} {run_id}", 1, now, "Noted", payload]
        target.execute("INSERT OR IGNORE INTO events VALUES (?, ?, ?, ?, ?, ?)", row)
