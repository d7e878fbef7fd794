"""What the screens read from the store: one reader, used by one thread at a time, every read with a limit.

Nothing of the store is imported before it is opened: DuckDB takes longer to import than the screen to appear.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from store.db import Store
    from store.read import Reader
    from store.serving.attached import Attached

_PROGRESS = """
    SELECT payload->>'phase' AS phase, (payload->>'done')::INT AS done, (payload->>'accepted')::INT AS accepted
    FROM events WHERE run_id = ? AND kind = 'PhaseProgressed' AND payload->>'accepted' IS NOT NULL
    ORDER BY "at", seq LIMIT 4000
"""
T = TypeVar("T")
OFFENDERS = 12
MEMORY = "160MB"  # for DuckDB, so that a million samples are looked at within 400 MB in all
Row = dict[str, Any]


class ChangedHands(Exception):
    """The store was let go before it was read: the answer has to come from the library that follows, if any."""


@dataclass(frozen=True, slots=True)
class RunHistory:
    """All that the screens need to show a run from the start."""

    status: Row
    guard: list[Row] = field(default_factory=list)
    audits: list[Row] = field(default_factory=list)
    gates: list[Row] = field(default_factory=list)
    decisions: list[Row] = field(default_factory=list)
    events: list[Row] = field(default_factory=list)
    progress: list[Row] = field(default_factory=list)  # phase, done, accepted, as the run went on
    margins: dict[tuple[str, str], list[float]] = field(default_factory=dict)


class Library:
    """Reads for the screens. Every method blocks: call it in a thread worker.

    A read that comes too late, after the store was let go, raises ChangedHands.
    """

    def __init__(self, reader: Reader, store: Store | Attached | None = None) -> None:
        self._reader = reader
        self._store = store
        self._engine_store: Store | None = None
        self._lock = threading.Lock()
        self._closed = False

    @classmethod
    def look(cls, path: Path) -> Library | None:
        """Open a store that no engine of this process holds, for reading only; None where there is no file yet."""
        if not path.exists():
            return None
        store = _opened(path)
        return cls(store.reader(), store)

    @classmethod
    def of_engine(cls, engine: Any) -> Library:
        library = cls(engine.store.reader())
        library._engine_store = engine.store
        return library

    @property
    def attached(self) -> Attached | None:
        """The store, where another process has it and answers what is read."""
        from store.serving.attached import Attached

        return self._store if isinstance(self._store, Attached) else None

    def close(self) -> None:
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._reader.close()
            if self._store is not None:
                self._store.close()

    @contextmanager
    def own_reader(self) -> Iterator[Reader]:
        """A reader beside the one that all rooms share, for what may take long.

        Where the store is let go in the middle, what was raised of it leaves as ChangedHands.
        """
        with self._lock:
            self._require_open()
            store = self._store if self._store is not None else self._engine_store
            if store is None:
                raise RuntimeError("no store is open")
            reader = store.reader()
        try:
            with reader:
                yield reader
        except Exception as error:
            if self._closed or (self._store is not None and self._store is not store):
                raise ChangedHands from error
            raise

    def write(self, open_store: Callable[[], Store], work: Callable[[Store], T]) -> T:
        """Let go of the file, do `work` on a store that may be written, and take the file up again for reading."""
        with self._lock:
            self._require_open()
            path = self._reader.path
            self._reader.close()
            if self._store is not None:
                self._store.close()
            try:
                with open_store() as store:
                    return work(store)
            finally:
                self._store = _opened(path)
                self._reader = self._store.reader()

    def reading(self, work: Callable[[Reader], T]) -> T:
        """What `work` finds with the reader, which is its own for that long."""
        with self._lock:
            self._require_open()
            return work(self._reader)

    def _require_open(self) -> None:
        if self._closed:
            raise ChangedHands

    def runs(self) -> list[Row]:
        return self.reading(lambda reader: reader.runs())

    def history(self, run_id: str) -> RunHistory:
        def read(reader: Reader) -> RunHistory:
            audits = reader.audits(run_id)
            critics = reader.query(
                "SELECT DISTINCT critic, subject_kind FROM judgements WHERE run_id = ? ORDER BY 2 DESC, 1 LIMIT 24",
                [run_id],
            )
            keys = [(str(row["critic"]), str(row["subject_kind"])) for row in critics]
            return RunHistory(
                status=reader.status(run_id),
                guard=reader.guard(run_id),
                audits=audits,
                gates=reader.gates(run_id),
                decisions=reader.query(
                    'SELECT * FROM decisions WHERE run_id = ? ORDER BY "at" DESC LIMIT 200', [run_id]
                ),
                events=reader.events(run_id, limit=200),
                progress=reader.query(_PROGRESS, [run_id]),
                margins={key: reader.margins(run_id, *key) for key in keys},
            )

        return self.reading(read)

    def sample(self, run_id: str, sample_id: str, by: str | None = None) -> Row:
        """A sample with everything known about it, and what its flags mean in `rules`; of labels that `by` a person."""
        from engine.quality.rules import RULES

        found = self.reading(lambda reader: reader.sample(run_id, sample_id, by))
        return found | {"rules": {flag: RULES.get(flag, "") for flag in found["flags"] or ()}}

    def offenders(self, run_id: str, subject_ids: Sequence[str]) -> list[Row]:
        """The text of those samples or instructions, as far as they exist."""
        ids = list(subject_ids)[:OFFENDERS]
        if not ids:
            return []
        marks = ", ".join("?" * len(ids))
        sql = (
            f"SELECT 'sample' AS kind, s.sample_id AS id, i.text AS instruction, s.response AS response "
            f"FROM samples s JOIN instructions i USING (run_id, instruction_id) "
            f"WHERE s.run_id = ? AND s.sample_id IN ({marks}) "
            f"UNION ALL SELECT 'instruction', instruction_id, text, '' FROM instructions "
            f"WHERE run_id = ? AND instruction_id IN ({marks}) LIMIT {OFFENDERS}"
        )
        return self.reading(lambda reader: reader.query(sql, [run_id, *ids, run_id, *ids]))


def _opened(path: Path) -> Store | Attached:
    from store.db import reading

    return reading(path, MEMORY)
