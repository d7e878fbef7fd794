"""The reader's side: a store in another process's hands, read through that process."""

from __future__ import annotations

import socket
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import duckdb
import pyarrow as pa

from store.connect import holder_named, query_failed, suspended
from store.console.statement import allowed_tree
from store.errors import OwnerGone, StoreError, StoreLocked
from store.query import Params
from store.read import Reader
from store.serving import wire
from store.serving.place import connected, peer
from store.serving.service import HELD_SECONDS, SECONDS

HELLO_S = 10.0  # until the owner says who it is
LOOK_S = 0.25
GRACE_S = 30.0  # beyond what the owner itself allows
_BROKEN_OFF = "the query was ended"


class Attached:
    """A store that another process owns, for reading alone; each reader has a connection of its own."""

    read_only = True

    def __init__(self, path: Path, first: FarCursor) -> None:
        self.path = path
        self._process = first.process
        self._spare: FarCursor | None = first
        self._lock = threading.Lock()
        self._readers: weakref.WeakSet[Reader] = weakref.WeakSet()

    @classmethod
    def to(cls, path: Path) -> Attached | None:
        """The store at `path` as its owner serves it; None where nobody does.

        Raises StoreLocked where the owner does not answer, StoreError where it is of another version.
        """
        first = FarCursor.to(path)
        return None if first is None else cls(path, first)

    def reader(self) -> Reader:
        """A reader on a connection of its own, for use by one thread at a time."""
        with self._lock:
            cursor, self._spare = self._spare, None
            cursor = cursor or FarCursor.to(self.path)
            if cursor is None:
                raise owner_gone(self.path, self._process)
            reader = Reader(cursor, self.path)
            self._readers.add(reader)
            return reader

    def close(self) -> None:
        """Close the connections; closing twice is fine."""
        with self._lock:
            for reader in list(self._readers):
                reader.close()
            if self._spare is not None:
                self._spare.close()
                self._spare = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class FarCursor:
    """Statements that the owner of the store runs, over one connection.

    `process` is its process, 0 where the system does not tell; `owner` is how it numbers itself, which differs in a
    container.
    """

    def __init__(self, path: Path, connection: socket.socket, process: int, owner: int) -> None:
        self.path = path
        self.process, self.owner = process, owner
        self._connection = connection
        self._broken = ""
        self._held = False
        self._unfinished = False

    @classmethod
    def to(cls, path: Path) -> FarCursor | None:
        """Connect to the owner; None where nobody serves. Raises StoreLocked and StoreError."""
        met = meet(path)
        return None if met is None else cls(path, *met)

    def table(self, sql: str, params: Params, typed: float | None) -> Any:
        found = list(self._asked({"do": "read", "sql": sql, "params": params, "typed": typed}))
        return pa.concat_tables(found)

    def parts(self, sql: str) -> Iterator[Any]:
        return self._asked({"do": "read", "sql": sql})

    def tree(self, sql: str) -> dict[str, Any]:
        # Here, not there: how long DuckDB parses is not bounded, and a tree needs no store.
        with duckdb.connect() as own:
            try:
                return allowed_tree(own, sql)
            except duckdb.Error as error:
                raise query_failed(self.path, error) from error

    def hold(self) -> None:
        for _ in self._asked({"do": "hold"}):
            pass
        self._held = True

    def release(self) -> None:
        self._held = False
        if self._unfinished:  # what is left of that answer would be read to its end first
            self.interrupt()
        elif not self._broken:
            for _ in self._asked({"do": "release"}):
                pass

    def interrupt(self) -> None:
        self._broken = _BROKEN_OFF
        with suppress(OSError):  # it is gone already
            self._connection.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._broken = self._broken or "the reader is closed"
        self._connection.close()

    def _asked(self, request: dict[str, Any]) -> Iterator[Any]:
        """Send a request; the tables of its answer as they come."""
        if self._broken and self._held:  # another connection would see another moment
            raise owner_gone(self.path, self.process)
        if self._broken:
            self._again()
        connection = self._connection
        self._unfinished = True
        until = time.monotonic() + (HELD_SECONDS if self._held else SECONDS) + GRACE_S

        def late() -> None:
            if suspended(self.process) or time.monotonic() > until:
                raise silent(self.path, self.process)

        try:
            connection.settimeout(GRACE_S)
            wire.send_json(connection, request)
            connection.settimeout(LOOK_S)
            while True:
                kind, content = wire.receive(connection, late)
                if kind == wire.JSON:
                    break
                with pa.ipc.open_stream(content) as stream:
                    yield stream.read_all()
            self._unfinished = False
            message = wire.message(content)
            if "error" in message:
                raise wire.error_of(message)
        except OSError as error:
            if self._broken or connection is not self._connection:
                why = self._broken or _BROKEN_OFF
                raise StoreError(why, f"It was reading {self.path}. Nothing was changed.") from error
            self._broken = "the connection broke"
            raise owner_gone(self.path, self.process) from error
        finally:
            if connection is self._connection and self._unfinished:
                self._unfinished = False
                if not self._broken:  # what was left unread is the answer to nothing else
                    self.interrupt()

    def _again(self) -> None:
        """A new connection in the place of one that was broken off."""
        self._connection.close()
        fresh = FarCursor.to(self.path)
        if fresh is None:
            raise owner_gone(self.path, self.process)
        self._connection, self._broken = fresh._connection, ""
        self.process, self.owner = fresh.process, fresh.owner


def meet(path: Path) -> tuple[socket.socket, int, int] | None:
    """A connection to the owner of the store at `path`, its process as the system knows it and as it numbers itself.

    None where nobody serves it. Raises StoreLocked where the owner says nothing, StoreError where it is of another
    version or refuses.
    """
    connection = connected(path, LOOK_S)
    if connection is None:
        return None
    try:
        process = peer(connection)[0]
        said = _hello(path, connection, process)
        if "error" in said:
            raise wire.error_of(said)
        if not wire.understood(said):
            raise StoreError(
                f"the store {path} is in use by {holder_named(process)}, which is another version of cai",
                "Nothing was changed. Read it with that version, or when that process has ended.",
            )
        return connection, process, int(said["pid"])
    except OSError:  # it ends at this moment
        connection.close()
        return None
    except BaseException:
        connection.close()
        raise


def _hello(path: Path, connection: socket.socket, process: int) -> dict[str, Any]:
    """What the owner says first. Raises StoreLocked where it says nothing."""
    until = time.monotonic() + HELLO_S
    while not suspended(process) and time.monotonic() < until:
        try:
            connection.recv(1, socket.MSG_PEEK)
        except TimeoutError:
            continue
        return wire.receive_json(connection)
    raise silent(path, process)


def silent(path: Path, process: int) -> StoreLocked:
    """The error of an owner that does not answer, and that may be suspended."""
    if suspended(process):
        hint = "Nothing was changed. It can be read when that process goes on: type fg in the terminal that it is in."
    else:
        hint = "Nothing was changed. That process does not answer those who read; try again, or when it has ended."
    return StoreLocked(f"the store {path} is in use by {holder_named(process)}", hint)


def owner_gone(path: Path, process: int) -> OwnerGone:
    """The error of a store whose owner has let go of it."""
    who = f"process {process}" if process else "the process"
    return OwnerGone(
        f"{who} that had the store {path} is gone",
        "What it had committed is safe, and nothing was changed here. Run the same command again.",
    )
