"""Beside the writer: commits are numbered, the log is merged into the file now and then, and what is known is kept."""

from __future__ import annotations

import contextlib
import os
import threading
import uuid
import weakref
from pathlib import Path

import duckdb

from store.connect import forget_blocks, require_space
from store.errors import StoreWriteFailed
from store.salvage.clock import utc_now
from store.salvage.known import Known, KnownFile
from store.salvage.own import count, own, say, say_closed

EVERY_S = 120.0  # so far the file alone is behind as a rule, and at the end of each phase it is not
AGAIN_S = 10.0  # after a merge that another transaction held up

_OPEN: weakref.WeakSet[CommitKeeper] = weakref.WeakSet()
_OPENING = threading.RLock()


class CommitKeeper:
    """One for a store that is open for writing. `lock` is the writer's: all methods but `merge_soon` want it held."""

    def __init__(self, path: Path, writer: duckdb.DuckDBPyConnection, lock: threading.Lock) -> None:
        self.path = os.path.realpath(path)
        self._writer = writer
        self._lock = lock
        self._id = ""
        self._last = 0  # the last commit that is in the store: the sequence counts what was rolled back as well
        self._file: KnownFile | None = None
        self._behind = False  # something was committed that the file does not have
        self._held_up = False
        self._closed = False
        self._wake = threading.Event()
        with _OPENING:
            _OPEN.add(self)

    def begin(self) -> None:
        """Before the first commit of a process: have the file itself say that it is being written.

        Raises duckdb.Error and OSError.
        """
        if self._file is not None:
            return
        with _OPENING:
            beside = next((one for one in _OPEN if one.path == self.path and one._file is not None), None)
        found = own(self._writer)
        self._id = found.store if found else uuid.uuid4().hex[:16]
        self._last = beside._last if beside else found.commits if found else 0
        # First what is known, because a file that says it is being written is refused without it.
        self._file = file = KnownFile(Path(self.path), self._known())
        try:
            self._merge()
        except BaseException:
            self._file = None  # the next commit begins anew
            file.close()
            raise
        threading.Thread(
            target=_merge_now_and_then, args=(weakref.ref(self), self._wake), name="merging the log", daemon=True
        ).start()
        weakref.finalize(self, self._wake.set)
        if self._held_up:
            self._wake.set()

    def number(self) -> int:
        """The number of the transaction that is open. Raises duckdb.Error."""
        return count(self._writer)

    def committed(self, number: int) -> None:
        """Keep that the transaction of this number is in the store."""
        self._behind, self._last = True, number
        if self._file is not None:
            self._file.keep(self._known())

    def merge_soon(self) -> None:
        """Have the log merged into the file in the background, and return at once."""
        self._wake.set()

    def merge(self) -> None:
        """Merge the log into the file where something is in it, and have DuckDB forget blocks that are gone.

        A log that cannot be merged now waits for the next. Nor is it merged where the volume may not hold it: DuckDB
        would give up the store.
        """
        if self._closed:
            return
        with contextlib.suppress(duckdb.Error, StoreWriteFailed):
            require_space(Path(self.path), 0)
            if self._behind:
                self._merge()
            forget_blocks(self._writer)

    def close(self) -> None:
        """Merge the log for the last time, and say that nobody writes the store any more; closing twice is fine.

        Everything is in the log already: a full disk costs nothing here, and the next who opens it replays it.
        """
        self._closed = True
        with _OPENING:
            _OPEN.discard(self)
            last = not open_here(self.path)
        with contextlib.suppress(duckdb.Error):
            if last:
                say_closed(self._writer)
            self._writer.execute("CHECKPOINT").fetchall()
        if self._file is not None:
            self._file.keep(self._known(), forced=True)
            self._file.close()
        self._wake.set()

    def _merge(self) -> None:
        say(self._writer, self._id, writing=True)
        try:
            self._writer.execute("CHECKPOINT").fetchall()
            self._behind = self._held_up = False
        except duckdb.TransactionException:  # another writer is in the middle, or a snapshot needs rows from before
            self._held_up = True
        if self._file is not None:
            self._file.keep(self._known(), forced=True)

    def _known(self) -> Known:
        return Known(self._id, self._last, utc_now().isoformat(timespec="microseconds"))


def open_here(path: str) -> bool:
    """Whether this process has the file open for writing; `path` is the real one."""
    with _OPENING:
        return any(keeper.path == path for keeper in _OPEN)


def _merge_now_and_then(of: weakref.ref[CommitKeeper], wake: threading.Event) -> None:
    """The thread of one keeper, which does not keep it alive."""
    pause = EVERY_S
    while True:
        wake.wait(pause)
        wake.clear()
        keeper = of()
        if keeper is None or keeper._closed:
            return
        with keeper._lock:
            keeper.merge()
        pause = AGAIN_S if keeper._held_up else EVERY_S
        del keeper
