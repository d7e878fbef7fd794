"""Opening the DuckDB file, and DuckDB's errors in words that say what to do."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import duckdb

from store.disk import volume
from store.errors import NotAStore, StoreDamaged, StoreError, StoreLocked, StoreWriteFailed

_HOLDER = re.compile(r"lock is held in (?P<program>.*?) \(PID (?P<pid>\d+)\)")
# An error by what is in a file is of no type of its own in Python. Its text begins with what is wrong, or with one of
# these types, also where Arrow hands it on; errors of a statement's values and of memory may say the same words.
_DAMAGE = re.compile(
    r"Corrupt|Failure while replaying WAL|(IO|INTERNAL|Serialization|TransactionContext|Data Corruption) Error: .*"
    r"(corrupt|checksum|replaying WAL|could not read|cannot read|out of range|deserializ|allocate block|block id)",
    re.IGNORECASE | re.DOTALL,
)
# No statement may reach the network for an extension, and no query may read a Python variable by its name.
# Its allocator has a thread of its own that gives back what was let go: without one that happens by chance, where
# somebody allocates, and 10 to 30 MB stay in a process that works on a run. What that thread has not yet given back is
# 25 MB and more: whoever allocates a megabyte has all of it given back at once.
_CONFIG: dict[str, Any] = {
    "autoinstall_known_extensions": "false", "python_enable_replacements": "false",
    "allocator_background_threads": "true", "allocator_bulk_deallocation_flush_threshold": "1MB",
}  # fmt: skip
_NAME = "store"  # of the file's catalog
# Rows that are rewritten together when the log is merged into the file: with DuckDB's 122,880 a merge took up to a
# gigabyte and a second in which nothing could be written.
_ROW_GROUP = 2_048
_COMMAND = 60  # characters of a command line that are repeated
_NOTED = 4_000  # blocks that are gone and noted still: 0.8 MB
# In use while it waits for its reader: 4 MB, more than DuckDB's threads may have uncounted.
_HELD = "SELECT list(range) FROM range(300_000)"
_ROOMIER = threading.Lock()
_LOCKING = threading.Lock()


def connect(path: Path, *, read_only: bool, named: Path | None = None) -> duckdb.DuckDBPyConnection:
    """Connect to the file, creating it and its folder unless `read_only`; errors speak of `named`, or of `path`.

    Raises StoreLocked and StoreError.
    """
    try:
        if read_only and not path.exists():
            raise StoreError(f"there is no store at {path}", "check the path, or start a run there with: cai run")
        path.parent.mkdir(parents=True, exist_ok=True)
        _require_file(path)
        # One instance a file, whatever name it is opened by: closing a second one would drop the process's lock on it.
        real = os.path.realpath(path)
        database = duckdb.connect(f":memory:{real}", config={**_CONFIG, "temp_directory": str(spill_folder(path))})
        try:
            quoted, options = (
                real.replace("'", "''"),
                f"TYPE duckdb, ROW_GROUP_SIZE {_ROW_GROUP}",
            )
            database.execute(f"ATTACH IF NOT EXISTS '{quoted}' AS {_NAME} ({options}, READ_ONLY {read_only})")
            database.execute(f"USE {_NAME}")
            _lock_up(database)
        except BaseException:
            database.close()
            raise
        return database
    except (duckdb.Error, OSError) as error:
        raise not_opened(named or path, error) from error


def _require_file(path: Path) -> None:
    """Raise StoreError for what is there and no file: DuckDB would wait for somebody to write into a FIFO."""
    if not path.exists() or path.is_file():
        return
    if path.is_dir():
        raise StoreError(f"{path} is a folder, not a store", f"name a file, such as {path / 'cai.duckdb'}")
    kind = "FIFO" if path.is_fifo() else "socket" if path.is_socket() else "device"
    raise StoreError(f"{path} is a {kind}, not a store", "It was left as it is; choose a file with --store.")


def spill_folder(path: Path) -> Path:
    """Where DuckDB writes what does not fit into memory."""
    return Path(f"{os.path.realpath(path)}.tmp")


def cursor(database: duckdb.DuckDBPyConnection, path: Path) -> duckdb.DuckDBPyConnection:
    """A cursor of its own transactions. Raises StoreError where DuckDB gave up the store at `path`."""
    own = database.cursor()
    try:
        own.execute(f"USE {_NAME}")
    except duckdb.Error as error:
        raise query_failed(path, error) from error
    return own


def _lock_up(database: duckdb.DuckDBPyConnection) -> None:
    """From here on DuckDB touches no file but the store's, and no statement changes a setting but the memory's.

    Times are in UTC, whatever the machine's zone.
    """
    with _LOCKING:  # two that open one file in this process share its settings
        if database.execute("SELECT current_setting('lock_configuration')").fetchall() != [(True,)]:
            for setting in (
                "GLOBAL TimeZone = 'UTC'", "enable_external_access = false", "allowed_configs = ['memory_limit']",
                "lock_configuration = true",
            ):  # fmt: skip
                database.execute(f"SET {setting}")


@contextmanager
def roomier(connection: duckdb.DuckDBPyConnection, most: str | None = None) -> Iterator[None]:
    """For one query that did not fit: DuckDB may take its default share of the machine's memory, or `most`."""
    with _ROOMIER:  # one at a time, or the second would take the first one's share for what it has to give back
        before = connection.execute("SELECT current_setting('memory_limit')").fetchall()[0][0]
        connection.execute("RESET memory_limit" if most is None else f"SET memory_limit = '{most}'")
        try:
            yield
        finally:
            # What is in use cannot be given back; then the limit stays where it is, until the store is opened again.
            with suppress(duckdb.OutOfMemoryException):
                connection.execute(f"SET memory_limit = '{before}'")


def forget_blocks(connection: duckdb.DuckDBPyConnection) -> None:
    """Have DuckDB drop what it notes of blocks that are gone, where that is much.

    A commit leaves some 25 of these notes and a join 20, of 200 bytes. DuckDB drops them when it is short of memory, or
    from 32,768 on in each of seven lists, which a run reaches after hours, at 40 MB. So it is asked to give back all of
    its memory: it looks through the lists, lets its cache go, writes aside what large sorts of others hold and do not
    use now, and refuses, because something is in use. The limit stays as it was all the time, and statements of other
    threads go on. Where 8 MB are not free nothing is dropped. Raises duckdb.Error.
    """
    [(gone,)] = connection.execute("SELECT sum(dead_nodes) FROM duckdb_eviction_queues()").fetchall()
    if gone < _NOTED:
        return
    [(limit,)] = connection.execute("SELECT current_setting('memory_limit')").fetchall()
    with connection.cursor() as held:
        held.execute(_HELD)
        try:
            connection.execute("SET memory_limit = '1B'")
        except duckdb.OutOfMemoryException:
            return
    connection.execute(f"SET memory_limit = '{limit}'")


def require_space(path: Path, batch_bytes: int) -> None:
    """Raise StoreWriteFailed when the volume may not hold a batch of that size.

    DuckDB gives up the whole connection when it runs out of space while it merges its log into the file, so that
    nothing can be read either. Room for the batch, and for the log a second time, is asked for beforehand.
    """
    log = Path(f"{path}.wal")
    try:
        needed = 2 * (batch_bytes + (log.stat().st_size if log.exists() else 0)) + 2**20
        free = shutil.disk_usage(path.parent).free
    except OSError as error:
        raise write_failed(path, error) from error
    if free < needed:
        raise write_failed(path, OSError(f"it needs {needed / 2**20:,.1f} MiB and {free / 2**20:,.1f} MiB are free"))


def write_failed(path: Path, error: Exception) -> StoreWriteFailed:
    """The error of a write that did not happen: names the volume and says what is safe."""
    if isinstance(error, (duckdb.ProgrammingError, duckdb.IntegrityError, duckdb.DataError)):
        remedy = "The statement contradicts the schema, which is a defect of the program: report it."
    else:
        again = "start cai again, and " if _given_up(error) else ""
        remedy = f"Check {volume(path)}: free space, quota and write permission, then {again}continue with: cai resume"
    # A failed merge of the log leaves open whether this batch is in it; appending it again is safe either way.
    batch = "this batch counts as not written" if _given_up(error) else "this batch was undone"
    return StoreWriteFailed(
        f"a batch could not be written to {path}: {_first_line(error)}",
        f"What was committed before is intact, {batch}. {remedy}",
    )


def query_failed(path: Path, error: Exception) -> StoreError:
    """The error of a query that did not run."""
    if _given_up(error):
        return StoreError(
            f"the store {path} must be opened again after a write that failed",
            f"What was committed is intact. Check {volume(path)}, then start cai again.",
        )
    if _DAMAGE.match(str(error)):
        return StoreDamaged.at(path, f"a part of the store {path} cannot be read: {_first_line(error)}")
    return StoreError(f"a query of {path} failed: {error}", "Nothing was changed.")


def _given_up(error: Exception) -> bool:
    """Whether DuckDB works on the open store no more, until it is opened again."""
    return isinstance(error, duckdb.FatalException) or "has been invalidated" in str(error)


def not_opened(path: Path, error: Exception) -> StoreError:
    """The error of a file that DuckDB, or the system, would not open."""
    text = str(error)
    if "Could not set lock" in text:
        holder = _HOLDER.search(text)
        who = holder_named(int(holder["pid"]), Path(holder["program"]).name) if holder else "another process"
        return StoreLocked(
            f"the store {path} is in use by {who}",
            "Nothing was changed. One process at a time can write to it, and all that only reads works meanwhile. "
            "Wait until it has ended, stop it where it runs, or choose another file with --store.",
        )
    if "not a valid DuckDB database" in text:
        if path.stat().st_size == 0:
            return NotAStore(f"{path} is an empty file, not a store", "Remove it, and a store is made in its place.")
        with path.open("rb") as file:  # not while DuckDB has it: closing it would drop the process's lock
            what = "an SQLite database, not a store" if file.read(16) == b"SQLite format 3\0" else "not a store"
        return NotAStore(f"{path} is {what}", "It was left as it is; choose another file with --store.")
    if "is already attached" in text:
        return StoreError(
            f"{path} is already open in this process", "read from it with Store.reader(), or pass the open Store on"
        )
    if isinstance(error, duckdb.Error) and path.is_file() and _DAMAGE.match(text):
        return StoreDamaged.at(path, f"the store {path} cannot be opened: {_first_line(error)}")
    if isinstance(error, duckdb.SerializationException) or "newer version of DuckDB" in text:
        return StoreError(f"{path} was written by another version of DuckDB: {_first_line(error)}", "upgrade cai")
    return StoreError(
        f"the store {path} cannot be opened: {_first_line(error)}",
        f"Check the path and {volume(path)}, or choose another file with --store.",
    )


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


def holder_named(pid: int, program: str = "") -> str:
    """A process in words: its number, what it was called as, and whether it is suspended."""
    if pid <= 0:
        return "another process"
    command = _command(pid) or program
    return f"process {pid}{f' ({command})' if command else ''}{', which is suspended' if suspended(pid) else ''}"


def suspended(pid: int) -> bool:
    """Whether somebody stopped the process, as Ctrl+Z does."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[:1] == ["T"]


def _command(pid: int) -> str:
    """`cai run` and what follows it, for the program itself; the program's name alone for any other."""
    try:
        words = os.fsdecode(Path(f"/proc/{pid}/cmdline").read_bytes()).split("\0")[:-1]
    except OSError:
        return ""
    at = next((number for number, word in enumerate(words[:3]) if Path(word).name == "cai"), None)
    if at is None:
        return Path(words[0]).name if words else ""
    told = shlex.join(["cai", *words[at + 1 :]])
    plain = "".join(letter if letter.isprintable() else "?" for letter in told)
    return plain if len(plain) <= _COMMAND else f"{plain[: _COMMAND - 1]}…"
