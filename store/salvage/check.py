"""Opening a store only where all comes up that was committed to it.

DuckDB takes a log whose beginning it cannot read for one that was cut off by a crash: it opens what is left, and
deletes the log at the next merge. A file that is opened for reading only is never changed, so that is how it is looked
at before it is opened for writing.
"""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path

import duckdb

from store.connect import connect, not_opened
from store.errors import NotAStore, StoreDamaged
from store.migrate import create
from store.salvage.clock import not_before
from store.salvage.entries import ABSENT, log_lacks
from store.salvage.keeper import open_here
from store.salvage.known import Known, known_path, log_path, read_known
from store.salvage.own import own


def open_whole(path: Path, *, read_only: bool) -> duckdb.DuckDBPyConnection:
    """Connect to the store, making it where there is none and it is to be written.

    Raises what `connect` raises, and StoreDamaged, with all files as they were, where less comes up than is known of.
    """
    known, log = read_known(path), log_path(path)
    if known is not None and not read_only:
        not_before(datetime.fromisoformat(known.at))
    if not path.exists():
        if log.exists() or (known is not None and known.commits):
            raise _gone(path)
        if not read_only:
            create(path)
    try:
        if open_here(os.path.realpath(path)):  # whoever opened it first looked at its log
            return _whole(path, known, "", read_only=read_only)
        lacks = log_lacks(path)
        if not read_only and log.exists():
            _whole(path, known, lacks, read_only=True).close()
        return _whole(path, known, lacks, read_only=read_only)
    except NotAStore as error:
        if known is None:
            raise
        raise StoreDamaged.at(path, error.title) from error
    except OSError as error:
        raise not_opened(path, error) from error


def _gone(path: Path) -> StoreDamaged:
    beside = " and ".join(str(found) for found in (known_path(path), log_path(path)) if found.exists())
    return StoreDamaged(
        f"the store {path} is gone, and what lies beside it says that there was one",
        f"Nothing was changed. Put the file back; to begin anew without it, remove {beside} as well.",
    )


def _whole(path: Path, known: Known | None, lacks: str, *, read_only: bool) -> duckdb.DuckDBPyConnection:
    database = connect(path, read_only=read_only)
    try:
        _require_whole(path, database, known, lacks)
    except BaseException:
        database.close()
        raise
    return database


def _require_whole(path: Path, database: duckdb.DuckDBPyConnection, known: Known | None, lacks: str) -> None:
    """Raise StoreDamaged where the open store has fewer commits than is known of, or may have and nobody knows."""
    found, log = own(database), log_path(path)
    if known is not None:
        if found is not None and found.store != known.store:
            raise StoreDamaged.at(
                path, f"the store {path} is not the one that lay here", f"{known_path(path).name} is another one's."
            )
        if (commits := found.commits if found else 0) < known.commits:
            lost, what = known.commits - commits, log.name if lacks == ABSENT else f"{path.name} or {log.name}"
            raise StoreDamaged.at(
                path,
                f"{lost:,} of {known.commits:,} commits of the store {path} are missing",
                f"The last that is known of was at {known.at[:19]}Z. {what} is missing, damaged or an older one.",
            )
    elif found is not None and lacks and (found.writing or lacks != ABSENT):
        as_of = f"It is as of {found.writing}: " if found.writing else ""
        raise StoreDamaged.at(
            path,
            f"the store {path} is a copy that was made while somebody wrote it",
            f"{as_of}{found.commits:,} commits can be read; what came later is in {log.name}, which {lacks}.",
        )
