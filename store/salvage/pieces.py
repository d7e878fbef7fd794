"""Copies of a damaged store that open, by changes of their first bytes and of their log.

DuckDB's file begins with three blocks of 4,096 bytes: one that names the file, and two heads that take turns, so that
the one before stays while the next is written. Its log begins with the file's name and the number of its head, which
nothing protects, and goes on with entries that have a length and a checksum each.
"""

from __future__ import annotations

import os
import re
import shutil
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import duckdb

from store.connect import connect
from store.errors import StoreError, StoreLocked
from store.salvage.entries import LENGTHS
from store.salvage.keeper import open_here
from store.salvage.known import Known, log_path
from store.salvage.own import Own, own

_BLOCK = 4096
_NAME = slice(124, 140)  # of the first block
_ENTRY = re.compile(r"entry at byte position (\d+)")
_MOST_FLIPS = 4  # by which the beginning of a log may differ and still be taken for this file's


@dataclass(frozen=True, slots=True)
class Piece:
    """A copy that opens: what was done for it, what it says of itself, and its rows by their count."""

    head: bytes
    log: bytes | None
    how: str
    own: Own | None
    rows: int

    @property
    def commits(self) -> int:
        """How many of its commits are numbered."""
        return self.own.commits if self.own else 0


class Pieces:
    """The copy of a store in a folder of its own, put together in one way after another; the store is only read."""

    def __init__(self, path: Path, folder: Path) -> None:
        """Raises StoreLocked where somebody has the store open, and OSError."""
        if open_here(os.path.realpath(path)):
            raise StoreError(f"{path} is already open in this process", "Close it first; nothing was written.")
        try:
            connect(path, read_only=True).close()
        except StoreLocked:
            raise
        except StoreError:
            pass  # it is damaged
        self.path = folder / path.name
        log = log_path(path)
        self._log = log.read_bytes() if log.exists() else None
        shutil.copyfile(path, self.path)
        self._fresh = folder / "fresh.duckdb"
        connect(self._fresh, read_only=False).close()
        with self.path.open("rb") as copied:
            self._head = copied.read(3 * _BLOCK)

    def best(self, known: Known | None) -> Piece | None:
        """The piece with most commits and rows, put together on disk; None where none opens."""
        found: Piece | None = None
        for head, told in self._heads():
            for log, told_too in self._logs(head):
                piece = self._tried(head, log, "; ".join(filter(None, [told, told_too])))
                if piece and (found is None or (piece.commits, piece.rows) > (found.commits, found.rows)):
                    found = piece
                if found and known is not None and found.commits >= known.commits:
                    break
            else:
                continue
            break
        if found is not None:
            self._put(found.head, found.log)
        return found

    def _heads(self) -> Iterator[tuple[bytes, str]]:
        yield self._head, ""
        if len(self._head) < 3 * _BLOCK:
            return
        named, one, two = (self._head[start : start + _BLOCK] for start in (0, _BLOCK, 2 * _BLOCK))
        fresh = self._fresh.read_bytes()[:_BLOCK]
        anew = fresh[: _NAME.start] + named[_NAME] + fresh[_NAME.stop :]
        for first, told in ((named, ""), (_summed(anew), "the block that names the file was made anew")):
            for head, which in ((one, "first"), (two, "second")):
                both = 2 * _summed(head)
                yield first + both, "; ".join(filter(None, [told, f"the {which} of its two heads was taken"]))

    def _logs(self, head: bytes) -> Iterator[tuple[bytes | None, str]]:
        yield from [(self._log, "")] if self._log else []
        if self._log and (begins := self._beginning(head)):
            at = self._log.find(begins)
            theirs = self._log[: len(begins)]
            differing = [place for place, byte in enumerate(theirs) if byte != begins[place]]
            number = begins.rindex(b"g\0")  # a log of this file with another number is an older one
            if at > 0:
                yield self._log[at:], f"{at:,} bytes before the log were left out"
            elif 0 < len(differing) <= _MOST_FLIPS and max(differing) < number:
                yield begins + self._log[len(begins) :], "the beginning of the log was made anew"
        yield None, "its log was left out" if self._log is not None else ""

    def _beginning(self, head: bytes) -> bytes:
        """How a log of the file with this head begins; empty where the file does not open."""
        self._put(head, None)
        log = log_path(self.path)
        try:
            with duckdb.connect(config={"autoinstall_known_extensions": "false"}) as database:
                database.execute("PRAGMA disable_checkpoint_on_shutdown")
                database.execute(f"ATTACH '{str(self.path).replace(chr(39), 2 * chr(39))}' AS piece (TYPE duckdb)")
                database.execute("CREATE SEQUENCE piece.a_beginning")
                held = log.read_bytes()
        except (duckdb.Error, OSError):
            return b""
        finally:
            log.unlink(missing_ok=True)
        return held[: held.find(b"\xff\xff") + 2]

    def _tried(self, head: bytes, log: bytes | None, how: str) -> Piece | None:
        """What opens of a head and a log, cut where an entry of it is damaged."""
        while True:
            self._put(head, log)
            try:
                database = connect(self.path, read_only=True)
            except StoreError as error:
                entry = _ENTRY.search(error.title)
                if entry is None or log is None or not 0 < (end := int(entry[1]) - LENGTHS) < len(log):
                    return None
                how = "; ".join(filter(None, [how, f"the log was cut at byte {end:,} of {len(log):,}"]))
                log = log[:end]
                continue
            try:
                found = own(database)
                rows = sum(count_of(database, table) or 0 for table in tables_of(database))
                return Piece(head, log, how, found, rows)
            except duckdb.Error:
                return None
            finally:
                database.close()

    def _put(self, head: bytes, log: bytes | None) -> None:
        with self.path.open("r+b") as file:
            file.write(head)
        if log is None:
            log_path(self.path).unlink(missing_ok=True)
        else:
            log_path(self.path).write_bytes(log)


def _summed(block: bytes) -> bytes:
    """A block with the checksum of what it holds, as DuckDB computes it."""
    checksum = 5381
    for (word,) in struct.iter_unpack("<Q", block[8:]):
        checksum ^= word * 0xBF58476D1CE4E5B9 & 0xFFFFFFFFFFFFFFFF
    return struct.pack("<Q", checksum) + block[8:]


def tables_of(database: duckdb.DuckDBPyConnection) -> list[str]:
    """The names of the store's tables."""
    asked = "SELECT table_name FROM duckdb_tables() WHERE NOT internal ORDER BY table_name"
    return [str(name) for (name,) in database.execute(asked).fetchall()]


def count_of(database: duckdb.DuckDBPyConnection, table: str) -> int | None:
    """How many rows a table says it has, None where not even that can be read."""
    try:
        return int(database.execute(f"SELECT count(*) FROM {table}").fetchall()[0][0])
    except duckdb.Error:
        return None
