"""The store's file and its one writer.

Every write is one transaction: a batch is there as a whole or not at all, whatever happens to the process. Rows are
identified by their primary key, so that a batch which was committed but not acknowledged can be appended again.
"""

from __future__ import annotations

import contextlib
import threading
import time
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from store.connect import cursor, require_space, write_failed
from store.disk import sweep
from store.encode import Table, nearest, to_arrow
from store.errors import NotFound, StoreError, StoreLocked
from store.migrate import migrate, tables
from store.query import OwnCursor
from store.read import Reader
from store.salvage.check import open_whole
from store.salvage.clock import utc_now
from store.salvage.keeper import CommitKeeper
from store.salvage.own import say_closed
from store.serving.attached import Attached
from store.serving.channel import Channel
from store.serving.kept import Changes, KeptAnswers
from store.serving.place import served
from store.serving.service import ReadingService

PATIENCE_S = 2.0  # with an owner that serves nobody yet, or no more, and with those who read the file

Rows = Mapping[str, Sequence[Mapping[str, object]]]


def reading(path: Path, memory: str | None = None) -> Store | Attached:
    """The store at `path` for reading alone: its file, or what the process that owns it tells of it.

    Raises what `Store.open` raises, StoreLocked only where the owner does not answer.
    """
    path = Path(path).expanduser().absolute()
    until = time.monotonic() + PATIENCE_S
    while True:
        attached = Attached.to(path)
        if attached is not None:
            return attached
        try:
            return Store.open(path, read_only=True, memory=memory)
        except StoreLocked as error:
            # For a moment an owner has the file and serves nobody: when it opens it, and when it closes it.
            if time.monotonic() > until:
                hint = "Nothing was changed. That process lets nobody read the store; read it when it has ended."
                raise StoreLocked(error.title, hint) from error
            time.sleep(PATIENCE_S / 20)


def _when_free(path: Path, *, read_only: bool) -> duckdb.DuckDBPyConnection:
    """Connect to the file; to write, once those who only read it have let it go: each has it for a moment.

    Raises what `open_whole` raises, StoreLocked at once where an owner serves it.
    """
    until = time.monotonic() + PATIENCE_S
    while True:
        try:
            return open_whole(path, read_only=read_only)
        except StoreLocked:
            if read_only or time.monotonic() > until or served(path):
                raise
            time.sleep(PATIENCE_S / 20)


class Store:
    """One open store file, with its writer.

    Writing methods may be called from any thread, one at a time takes effect. Reading is done on a `reader()`, one a
    thread, and goes on while rows are written.
    """

    def __init__(self, path: Path, database: duckdb.DuckDBPyConnection, *, read_only: bool) -> None:
        self.path = path
        self.read_only = read_only
        # Cursors are made from `_database`, which runs no statement itself: a reader need not wait for the writer.
        self._database: duckdb.DuckDBPyConnection | None = database
        self._writer = cursor(database, path)
        self._tables: dict[str, Table] = tables(self._writer)
        self._write_lock = threading.Lock()
        self._keeper = None if read_only else CommitKeeper(path, self._writer, self._write_lock)
        self._cursor_lock = threading.Lock()
        self._readers: weakref.WeakSet[Reader] = weakref.WeakSet()
        self.channel = Channel()  # to those who follow what is worked on here
        self._changes = Changes.of(path)
        kept = KeptAnswers(self._changes, self._tables)
        self._service = None if read_only else ReadingService.of(path, self._cursor, self.channel, kept)

    @classmethod
    def open(cls, path: Path, *, read_only: bool = False, memory: str | None = None) -> Store:
        """Open the store at `path`, creating it and its folder where there is none.

        What killed exports left beside it is removed. `memory` bounds DuckDB's share for all who have the file open in
        this process, but not that of a migration. A new file is for its owner alone.
        A store of an older schema is migrated, after a copy `<name>.v<old>.backup` was made beside it. Raises
        StoreLocked when another process has the file open, StoreTooNew for a schema newer than this program, and
        StoreDamaged when less would come up than was committed, with the files as they were, and StoreError when the
        path cannot be read or is no store.
        """
        path = Path(path).expanduser().absolute()
        sweep(path.parent)
        database = _when_free(path, read_only=read_only)
        try:
            database = migrate(path, database, read_only=read_only, closed=say_closed)
            if memory is not None:
                database.execute(f"SET memory_limit = '{memory}'")
            return cls(path, database, read_only=read_only)
        except BaseException:
            database.close()
            raise

    def append(self, rows: Rows) -> None:
        """Write rows, `{table: rows}`, in one transaction; a row whose key exists is left as it is.

        Absent columns become null. Of rows with the same key in one call the first is kept. Raises StoreError, with
        nothing written, for an unknown table or column, a required value that is absent or one of the wrong type, and
        StoreWriteFailed when the file cannot be written.
        """
        self._write(rows, replace=False)

    def put(self, rows: Rows) -> None:
        """Write rows like `append`, but a row whose key exists is replaced as a whole; the last of equal keys wins."""
        self._write(rows, replace=True)

    def renew(self, run_id: str, rows: Rows, *, only: Mapping[str, Mapping[str, str]] | None = None) -> None:
        """Write rows in place of all that a run has in these tables, in one transaction; an empty list only removes.

        `only` narrows what is removed from a table to rows with these values, {table: {column: value}}. Raises what
        `append` raises, with nothing written or removed.
        """
        self._write(rows, replace=False, instead_of=run_id, only=only or {})

    def update_run(self, run_id: str, **fields: object) -> None:
        """Set fields of one run, and its `updated_at` unless that is among them.

        Raises NotFound when there is no such run, and what `append` raises.
        """
        fields.setdefault("updated_at", utc_now())
        runs = self._tables["runs"]
        runs.require_columns(fields)
        chosen = tuple(column for column in runs.columns if column.name in fields or column.name == "run_id")
        batch = to_arrow(Table("runs", chosen, runs.key), [{"run_id": run_id, **fields}], last_wins=True)
        assignments = ", ".join(f"{name} = given.{name}" for name in fields)
        statement = (
            f"UPDATE runs SET {assignments} FROM new_runs AS given WHERE runs.run_id = given.run_id "
            "RETURNING runs.run_id"
        )
        if not self._commit([("new_runs", batch, statement)]):
            raise NotFound(f"there is no run {run_id!r} in {self.path}", "nothing was changed")

    def reader(self) -> Reader:
        """A reader on a cursor of its own, for use by one thread at a time."""
        with self._cursor_lock:
            if self._database is None:
                raise StoreError(f"the store {self.path} is closed", "open it again")
            reader = Reader(OwnCursor(cursor(self._database, self.path), self.path), self.path)
            self._readers.add(reader)
            return reader

    def _cursor(self) -> OwnCursor:
        """A cursor for another process's statements."""
        with self._cursor_lock:
            if self._database is None:
                raise StoreError(f"the store {self.path} is closed", "open it again")
            return OwnCursor(cursor(self._database, self.path), self.path)

    def merge_soon(self) -> None:
        """Have the log merged into the file in the background, so that the file alone is as new as what was committed.

        It returns at once; without it that happens every two minutes.
        """
        if self._keeper is not None:
            self._keeper.merge_soon()

    def close(self) -> None:
        """Merge the log into the file and give the file free; its readers are closed too. Closing twice is fine."""
        service, self._service = self._service, None
        try:
            if service is not None:
                service.close()
        finally:
            self._close_file()

    def _close_file(self) -> None:
        with self._write_lock, self._cursor_lock:
            if self._database is None:
                return
            for reader in list(self._readers):
                reader.close()
            if self._keeper is not None:
                self._keeper.close()
            for connection in (self._writer, self._database):
                with contextlib.suppress(duckdb.Error):
                    connection.close()
            self._database = None

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _share_log(self) -> None:
        """Give the log the rights of the file: DuckDB makes it anew after each merge, for all to read."""
        log = Path(f"{self.path}.wal")
        with contextlib.suppress(OSError):
            mode = self.path.stat().st_mode & 0o777
            if log.stat().st_mode & 0o777 != mode:
                log.chmod(mode)

    def _write(
        self,
        rows: Rows,
        *,
        replace: bool,
        instead_of: str | None = None,
        only: Mapping[str, Mapping[str, str]] | None = None,
    ) -> None:
        work = []
        for name, given in rows.items():
            table = self._tables.get(name)
            if table is None:
                raise StoreError(f"the store has no table {name!r}", nearest(name, list(self._tables)))
            if not given and instead_of is None:
                continue
            batch = to_arrow(table, given, last_wins=replace)
            if instead_of is not None:
                chosen = {"run_id": instead_of, **(only or {}).get(name, {})}
                table.require_columns(chosen)
                mine = pa.table({column: [value] for column, value in chosen.items()})
                same = " AND ".join(f"{column} IN (SELECT {column} FROM old_{name})" for column in chosen)
                work.append((f"old_{name}", mine, f"DELETE FROM {name} WHERE {same}"))
            conflict = "" if not table.key else "OR REPLACE " if replace else "OR IGNORE "
            work.append((f"new_{name}", batch, f"INSERT {conflict}INTO {name} BY NAME SELECT * FROM new_{name}"))
        if work:
            self._commit(work)

    def _commit(self, work: Sequence[tuple[str, Any, str]]) -> int:
        """Run the statements, each over its registered Arrow table, as one transaction; the last one's row count."""
        with self._write_lock, self._changes.made(view.partition("_")[2] for view, _, _ in work):
            if self._database is None:
                raise StoreError(f"the store {self.path} is closed", "open it again")
            if self._keeper is None:
                raise StoreError(f"the store {self.path} was opened for reading only", "open it for writing")
            require_space(self.path, sum(batch.nbytes for _, batch, _ in work))
            writer = self._writer
            changed = 0
            try:
                self._keeper.begin()
                for view, batch, _ in work:
                    writer.register(view, batch)
                writer.execute("BEGIN")
                for _, _, statement in work:
                    changed = len(writer.execute(statement).fetchall())
                number = self._keeper.number()
                writer.execute("COMMIT")
                self._keeper.committed(number)
                self._share_log()
            except BaseException as error:
                with contextlib.suppress(duckdb.Error):  # no transaction is left where the commit itself failed
                    writer.execute("ROLLBACK")
                if isinstance(error, (duckdb.Error, OSError)):
                    raise write_failed(self.path, error) from error
                raise
            finally:
                for view, _, _ in work:
                    with contextlib.suppress(duckdb.Error):
                        writer.unregister(view)
            return changed
