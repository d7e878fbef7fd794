"""Opening a store only where all comes up that was committed to it.

DuckDB takes a log whose beginning it cannot read for one that was cut off by a crash: it opens what is left, and
deletes the log at the next merge. A file that is opened for reading only is never changed, so that is how it is looked
at before it is opened for writing.
"""

from __future__ import annotations

import os
from pathlib import Path

import duckdb

from store.connect import connect
from store.errors import NotAStore, StoreDamaged
from store.migrate import create
from store.salvage.keeper import open_here
from store.salvage.known import Known, known_path, log_path, read_known
from store.salvage.own import own


def open_whole(path: Path, *, read_only: bool) -> duckdb.DuckDBPyConnection:
    """Connect to the store, making it where there is none and it is to be written.

    Raises what `connect` raises, and StoreDamaged, with all files as they were, where less comes up than is known of.
    """
    known, log = read_known(path), log_path(path)
    if not path.exists():
        if log.exists() or (known is not None and known.commits):
            raise StoreDamaged.at(path, f"the store {path} is gone, and what lies beside it says that there was one")
        if not read_only:
            create(path)
    try:
        if not read_only and log.exists() and not open_here(os.path.realpath(path)):
            _whole(path, known, read_only=True).close()
        return _whole(path, known, read_only=read_only)
    except NotAStore as error:
        if known is None:
            raise
        raise StoreDamaged.at(path, error.title) from error


def _whole(path: Path, known: Known | None, *, read_only: bool) -> duckdb.DuckDBPyConnection:
    database = connect(path, read_only=read_only)
    try:
        _require_whole(path, database, known)
    except BaseException:
        database.close()
        raise
    return database


def _require_whole(path: Path, database: duckdb.DuckDBPyConnection, known: Known | None) -> None:
    """Raise StoreDamaged where the open store has fewer commits than is known of, or than it says itself."""
    found, log = own(database), log_path(path)
    has_log = log.exists() and log.stat().st_size > 0
    if known is not None:
        if found is not None and found.store != known.store:
            raise StoreDamaged.at(
                path, f"the store {path} is not the one that lay here", f"{known_path(path).name} is another one's."
            )
        if (commits := found.commits if found else 0) < known.commits:
            lost, what = known.commits - commits, log.name if not has_log else f"{path.name} or {log.name}"
            raise StoreDamaged.at(
                path,
                f"{lost:,} of {known.commits:,} commits of the store {path} are missing",
                f"The last that is known of was at {known.at}. {what} is missing, damaged or an older one.",
            )
    elif found is not None and found.writing is not None and (not has_log or found.commits == found.merged):
        raise StoreDamaged.at(
            path,
            f"the store {path} is a copy that was made while somebody wrote it",
            f"It is as of {found.writing}, with {found.commits:,} commits; what came later is in {log.name}, which "
            f"{'cannot be read' if has_log else 'is not here'}.",
        )
