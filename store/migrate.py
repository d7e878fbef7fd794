"""The schema's version in the file, and the way from an older one to this one."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import duckdb

from store import schema
from store.connect import connect, not_opened, write_failed
from store.disk import aside, volume, whole_file
from store.encode import Column, Table
from store.errors import StoreError, StoreTooNew, StoreWriteFailed

VERSION_TABLE = "cai_schema"


def migrate(
    path: Path,
    database: duckdb.DuckDBPyConnection,
    *,
    read_only: bool,
    closed: Callable[[duckdb.DuckDBPyConnection], None],
) -> duckdb.DuckDBPyConnection:
    """Bring the file to this program's schema, and return the connection to use from here on.

    `closed` has it say that nobody writes it, so that the copy of what a killed process left opens by itself.
    A store that is opened for reading only is migrated as well: who looks at an old one must not be sent away.
    Raises StoreTooNew for a newer schema, StoreError for a database that is no store or cannot be opened for writing,
    and StoreWriteFailed when the copy or the change cannot be written.
    """
    found = version_of(path, database)
    if found > schema.VERSION:
        raise StoreTooNew(
            f"the store {path} has schema {found}, this program knows up to {schema.VERSION}",
            "It was left as it is. Use the version of cai that wrote it or a later one, or another file with --store.",
        )
    if found == schema.VERSION:
        return database
    if read_only:
        if not found:
            raise StoreError(f"{path} is not a store", "It was left as it is; choose another file with --store.")
        database.close()
        migrate(path, connect(path, read_only=False), read_only=False, closed=closed).close()
        return connect(path, read_only=True)
    if found:
        try:
            _require_room(path, found)
            closed(database)
        except duckdb.Error as error:
            raise write_failed(path, error) from error
        finally:
            # Closing one descriptor of a file drops all of this process's locks on it, so it is copied while closed.
            database.close()
        _back_up(path, found)
        database = connect(path, read_only=False)
    try:
        _apply(path, database, found)
    except BaseException:
        database.close()
        raise
    return database


def create(path: Path, version: int | None = None) -> None:
    """Make an empty store where there is no file, aside and then linked into place; of an older schema by `version`.

    A process killed while DuckDB writes a file's first blocks would leave a file that cannot be opened again. Where
    two processes create the same store, the first one's stays.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with aside(path) as folder:
            made = folder / path.name
            database = connect(made, read_only=False, named=path)
            try:
                _apply(path, database, 0, version)
            finally:
                database.close()
            made.chmod(0o600)  # what models wrote is the owner's, whoever else may enter the folder
            try:
                os.link(made, path)
            except FileExistsError:
                pass  # another process was first
            except OSError:  # a file system without hard links
                made.rename(path)
    except OSError as error:
        raise not_opened(path, error) from error


def tables(connection: duckdb.DuckDBPyConnection) -> dict[str, Table]:
    """The store's tables with their columns and keys, as the file has them."""
    columns: dict[str, list[Column]] = {}
    for table, name, sql_type, nullable in connection.execute(
        "SELECT table_name, column_name, data_type, is_nullable FROM duckdb_columns() "
        "WHERE NOT internal AND schema_name = 'main' AND table_name != ? ORDER BY table_name, column_index",
        [VERSION_TABLE],
    ).fetchall():
        columns.setdefault(table, []).append(Column(name, sql_type, not nullable))
    keys = dict(
        connection.execute(
            "SELECT table_name, constraint_column_names FROM duckdb_constraints() WHERE constraint_type = 'PRIMARY KEY'"
        ).fetchall()
    )
    return {name: Table(name, tuple(found), tuple(keys.get(name, ()))) for name, found in columns.items()}


def version_of(path: Path, database: duckdb.DuckDBPyConnection) -> int:
    """The schema version in the file, 0 for an empty one. Raises StoreError for a database that is no store."""
    names = {name for (name,) in database.execute("SELECT table_name FROM duckdb_tables()").fetchall()}
    if not names:
        return 0
    if VERSION_TABLE not in names:
        raise StoreError(
            f"{path} is a DuckDB file, but not a store of cai", "It was left as it is; choose another with --store."
        )
    return int(database.execute(f"SELECT max(version) FROM {VERSION_TABLE}").fetchall()[0][0])


def _apply(path: Path, database: duckdb.DuckDBPyConnection, found: int, wanted: int | None = None) -> None:
    try:
        database.execute("BEGIN")
        database.execute(
            f"CREATE TABLE IF NOT EXISTS {VERSION_TABLE} (version INTEGER PRIMARY KEY, applied_at TIMESTAMPTZ)"
        )
        for version, step in enumerate(schema.STEPS[found:wanted], start=found + 1):
            database.execute(step)
            database.execute(f"INSERT INTO {VERSION_TABLE} VALUES (?, now())", [version])
        database.execute("COMMIT")
        database.execute("CHECKPOINT")
    except duckdb.Error as error:
        with contextlib.suppress(duckdb.Error):
            database.execute("ROLLBACK")
        raise write_failed(path, error) from error


def _require_room(path: Path, version: int) -> None:
    """Raise StoreWriteFailed where the volume may not hold a copy of the file and its log, and what is changed in them.

    A step may write every row anew before the old ones are given free.
    """
    log = Path(f"{path}.wal")
    size = path.stat().st_size + (log.stat().st_size if log.exists() else 0)
    needed, free = 2 * size + 2**20, shutil.disk_usage(path.parent).free
    if free < needed:
        raise StoreWriteFailed(
            f"the store {path} is of schema {version}, and to bring it to {schema.VERSION} takes "
            f"{needed / 2**20:,.1f} MiB for a copy and the change, of which {free / 2**20:,.1f} MiB are free",
            f"It was left as it is. Make room on {volume(path)}, then run the same command again.",
        )


def _back_up(path: Path, version: int) -> None:
    """Copy the file, and its log where there is one, to `<name>.v<version>.backup`; an earlier copy is never lost."""
    name = f"{path.name}.v{version}.backup"
    names = itertools.chain([name], (f"{name}-{number}" for number in itertools.count(2)))
    target = next(target for target in map(path.with_name, names) if not target.exists())
    try:
        log = Path(f"{path}.wal")
        for source, copy in ((log, Path(f"{target}.wal")), (path, target)):
            copy.unlink(missing_ok=True)  # a log without its file is what a kill left
            if source.exists():
                with whole_file(copy) as writing:
                    shutil.copyfile(source, writing)
    except OSError as error:
        raise write_failed(target, error) from error
