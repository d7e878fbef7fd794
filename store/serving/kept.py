"""Answers that the owner keeps: what several readers ask again and again is computed once for each change.

A statement's answer is the same for as long as nothing was committed to a table that it reads. The owner knows that,
because all commits to a file are made in its process.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections import Counter, OrderedDict
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager

from store.query import OwnCursor, Params

KEPT_BYTES = 8 * 2**20  # of all answers together; those that were asked for longest ago go first
EACH_BYTES = 2**20  # of one
ENTRY_BYTES = 500  # that an answer takes beside its frames and its key
ASKED = 4_096  # characters of a statement with its values; a longer one is not kept
STATEMENTS = 512  # of which it is known what they read

_OF: weakref.WeakValueDictionary[str, Changes] = weakref.WeakValueDictionary()
_LOCK = threading.Lock()


class Changes:
    """How many commits each table of a file has had since it was opened; for any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._made: Counter[str] = Counter()
        self._under_way: Counter[str] = Counter()

    @staticmethod
    def of(path: os.PathLike[str]) -> Changes:
        """Those of a file, which are the same for all who have it open in this process."""
        real = os.path.realpath(path)
        with _LOCK:
            found = _OF.get(real)
            if found is None:
                found = _OF[real] = Changes()
            return found

    @contextmanager
    def made(self, tables: Iterable[str]) -> Iterator[None]:
        """To be around a commit to these tables, which counts whether or not it fails."""
        written = set(tables)
        with self._lock:
            self._under_way.update(written)
        try:
            yield
        finally:
            with self._lock:
                self._under_way.subtract(written)
                self._made.update(written)

    def state(self, tables: Collection[str]) -> tuple[int, ...] | None:
        """The same as before for as long as nothing was committed to any of these tables; None while something is."""
        with self._lock:
            if any(self._under_way[name] for name in tables):
                return None
            return tuple(self._made[name] for name in tables)


class KeptAnswers:
    """The answers of one store as they go over the socket, each with the state of the tables that it rests on."""

    def __init__(self, changes: Changes, tables: Collection[str]) -> None:
        self._changes = changes
        self._tables = frozenset(tables)
        self._lock = threading.Lock()
        self._reads: OrderedDict[str, tuple[str, ...]] = OrderedDict()
        self._answers: OrderedDict[str, tuple[tuple[int, ...], list[bytes]]] = OrderedDict()
        self._bytes = 0

    def ask(self, cursor: OwnCursor, sql: str, params: Params) -> Question:
        """What is known of this statement. Raises StoreError where it cannot be parsed."""
        key = f"{sql}\0{params!r}"
        if len(key) > ASKED:
            return Question(self, key, None)
        with self._lock:
            reads = self._reads.get(sql)
        if reads is None:
            read = cursor.tables_read(sql)
            reads = tuple(sorted(read)) if read and read <= self._tables else ()
        with self._lock:
            self._reads[sql] = reads
            self._reads.move_to_end(sql)
            if len(self._reads) > STATEMENTS:
                self._reads.popitem(last=False)
        return Question(self, key, self._changes.state(reads) if reads else None)

    def find(self, key: str, state: tuple[int, ...]) -> list[bytes] | None:
        """The frames of an answer, if its tables are as they were then."""
        with self._lock:
            found = self._answers.get(key)
            if found is None:
                return None
            if found[0] != state:
                self._forget(key)
                return None
            self._answers.move_to_end(key)
            return found[1]

    def keep(self, key: str, state: tuple[int, ...], frames: list[bytes]) -> None:
        """Keep an answer, and let go of others where they are too large together."""
        with self._lock:
            self._forget(key)
            self._answers[key] = state, frames
            self._bytes += _size(key, frames)
            while self._bytes > KEPT_BYTES:
                self._forget(next(iter(self._answers)))

    def _forget(self, key: str) -> None:
        if key in self._answers:
            self._bytes -= _size(key, self._answers.pop(key)[1])


def _size(key: str, frames: list[bytes]) -> int:
    return ENTRY_BYTES + len(key) + sum(map(len, frames))


class Question:
    """One statement with its values, and the state of its tables before it runs: None where it is not kept."""

    def __init__(self, kept: KeptAnswers, key: str, state: tuple[int, ...] | None) -> None:
        self._kept, self._key, self._state = kept, key, state
        self._frames: list[bytes] = []
        self._size = 0

    def answer(self) -> list[bytes] | None:
        """The answer that was given to somebody before and still holds."""
        return None if self._state is None else self._kept.find(self._key, self._state)

    def sent(self, frame: bytes) -> None:
        """The next part of the answer, as it was sent."""
        self._size += len(frame)
        if self._state is not None and self._size <= EACH_BYTES:
            self._frames.append(frame)

    def ended(self) -> None:
        """All of the answer was sent."""
        if self._state is not None and self._size <= EACH_BYTES:
            self._kept.keep(self._key, self._state, self._frames)
