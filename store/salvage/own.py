"""What a store says of itself: which one it is, how many commits it has, and whether somebody was writing it.

It is a sequence of the catalog and its comment, so that no table, export or console has it among its own.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime

import duckdb

_SEQUENCE = "cai_commits"


@dataclass(frozen=True, slots=True)
class Own:
    """A store's id and its commits; the file itself is as of `writing`, None where the last who wrote it closed it."""

    store: str
    commits: int
    writing: str | None


def own(connection: duckdb.DuckDBPyConnection) -> Own | None:
    """What the open store says, None for one that was written before its commits were counted."""
    rows = connection.execute(
        "SELECT coalesce(last_value, 0), comment FROM duckdb_sequences() "
        f"WHERE database_name = current_database() AND sequence_name = '{_SEQUENCE}'"
    ).fetchall()
    if not rows or rows[0][1] is None:
        return None
    said = json.loads(rows[0][1])
    return Own(said["store"], int(rows[0][0]), said["writing"])


def say(connection: duckdb.DuckDBPyConnection, store: str, *, writing: bool) -> None:
    """Write down that the store is being written from now on, or that it was closed. Raises duckdb.Error."""
    connection.execute(f"CREATE SEQUENCE IF NOT EXISTS {_SEQUENCE}")
    now = datetime.now(UTC).isoformat(timespec="seconds") if writing else None
    said = {"store": store, "writing": now}
    connection.execute(f"COMMENT ON SEQUENCE {_SEQUENCE} IS '{json.dumps(said)}'")


def say_closed(connection: duckdb.DuckDBPyConnection) -> None:
    """Write down that nobody writes the store, where it says that somebody does. Raises duckdb.Error."""
    found = own(connection)
    if found is not None and found.writing is not None:
        say(connection, found.store, writing=False)


def count(connection: duckdb.DuckDBPyConnection) -> int:
    """Number the transaction that is open; a number is never given twice, and that of a rollback to nobody."""
    return int(connection.execute(f"SELECT nextval('{_SEQUENCE}')").fetchall()[0][0])
