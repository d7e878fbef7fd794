"""Answers that the owner keeps: what several readers ask again and again is computed once for each change.

A statement's answer is the same for as long as nothing was committed to a table that it reads. The owner knows that,
because all commits to a file are made in its process.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections import Counter, OrderedDict
from collections.abc import Collection, Iterable

from store.query import OwnCursor, Params

KEPT_BYTES = 8 * 2**20  # of all answers together; those that were asked for longest ago go first
EACH_BYTES = 2**20  # of one
STATEMENTS = 512  # of which it is known what they read

_OF: weakref.WeakValueDictionary[str, Changes] = weakref.WeakValueDictionary()
_LOCK = threading.Lock()


class Changes:
    """How many commits each table of a file has had since it was opened; for any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._made: Counter[str] = Counter()

    @staticmethod
    def of(path: os.PathLike[str]) -> Changes:
        """Those of a file, which are the same for all who have it open in this process."""
        real = os.path.realpath(path)
        with _LOCK:
            found = _OF.get(real)
            if found is None:
                found = _OF[real] = Changes()
            return found

    def made(self, tables: Iterable[str]) -> None:
        """To be called when a commit to these tables has been tried, and before whoever asked for it goes on."""
        with self._lock:
            self._made.update(set(tables))

    def state(self, tables: Collection[str]) -> tuple[int, ...]:
        """The same as before for as long as nothing was committed to any of these tables."""
        with self._lock:
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
        return Question(self, f"{sql}\0{params!r}" if reads else "", self._changes.state(reads))

    def find(self, key: str, state: tuple[int, ...]) -> list[bytes] | None:
        """The frames of an answer, if its tables are as they were then."""
        with self._lock:
            found = self._answers.get(key)
            if found is None or found[0] != state:
                return None
            self._answers.move_to_end(key)
            return found[1]

    def keep(self, key: str, state: tuple[int, ...], frames: list[bytes]) -> None:
        """Keep an answer, and let go of others where they are too large together."""
        with self._lock:
            self._forget(key)
            self._answers[key] = state, frames
            self._bytes += sum(map(len, frames))
            while self._bytes > KEPT_BYTES:
                self._forget(next(iter(self._answers)))

    def _forget(self, key: str) -> None:
        _, frames = self._answers.pop(key, ((), []))
        self._bytes -= sum(map(len, frames))


class Question:
    """One statement with its values, and the state of its tables before it runs; the key is empty where none counts."""

    def __init__(self, kept: KeptAnswers, key: str, state: tuple[int, ...]) -> None:
        self._kept, self._key, self._state = kept, key, state
        self._frames: list[bytes] = []
        self._size = 0

    def answer(self) -> list[bytes] | None:
        """The answer that was given to somebody before and still holds."""
        return self._kept.find(self._key, self._state) if self._key else None

    def sent(self, frame: bytes) -> None:
        """The next part of the answer, as it was sent."""
        self._size += len(frame)
        if self._key and self._size <= EACH_BYTES:
            self._frames.append(frame)

    def ended(self) -> None:
        """All of the answer was sent."""
        if self._key and self._size <= EACH_BYTES:
            self._kept.keep(self._key, self._state, self._frames)
