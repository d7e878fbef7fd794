"""The audit trail of a run's reviews: rows chained by hash, and a file for each request and each response.

A file is on disk before its row is committed, so that a row without its file means that somebody took it away; a file
without a row is what a kill left, and is set aside when the trail is opened again.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from engine.core.errors import ReviewError
from engine.core.key import Key, scrub_deep
from engine.review import files
from engine.review.text import slug
from store.db import Store
from store.read import Reader
from store.text import json_text

Rows = Mapping[str, Sequence[Mapping[str, object]]]
_HASHED = ("run_id", "seq", "review_id", "kind", "topic", "who", "approval", "evidence_sha256", "path")

# One writer a run within this process; other processes are kept out by the store's own lock.
_LOCKS: dict[tuple[str, ...], threading.RLock] = {}
_LOCKS_LOCK = threading.Lock()


@dataclass(frozen=True, slots=True)
class Case:
    """One question under review: `prompt` is what a reviewer is sent."""

    review_id: str
    topic: str
    evidence_sha256: str
    question: str
    prompt: str


@dataclass(frozen=True, slots=True)
class TrailEntry:
    """One row. `body` is JSON; `path` is relative to the store's folder, None where the entry has no file."""

    run_id: str
    seq: int
    review_id: str
    kind: str
    topic: str
    who: str
    approval: str | None
    evidence_sha256: str
    body: Mapping[str, Any]
    path: str | None
    previous_sha256: str
    sha256: str
    at: datetime

    def computed(self, body: str | None = None) -> str:
        """The hash that the entry must have, over all its fields and the hash of the entry before."""
        hashed = {name: getattr(self, name) for name in _HASHED}
        hashed |= {
            "body": json_text(self.body) if body is None else body,
            "previous_sha256": self.previous_sha256,
            "at": self.at.astimezone(UTC).isoformat(timespec="microseconds"),
        }
        return hashlib.sha256(json_text(hashed).encode()).hexdigest()

    def row(self) -> dict[str, Any]:
        """The entry as a row of the table `review_entries`."""
        names = (*_HASHED, "previous_sha256", "sha256", "at")
        return {name: getattr(self, name) for name in names} | {"body": json_text(self.body)}


def entries(reader: Reader, run_id: str, review_id: str | None = None) -> list[TrailEntry]:
    """The entries about a run, in order, or those of one review. Raises ReviewError where the chain is broken."""
    return [entry for entry in _sound(reader, run_id, None) if review_id in (None, entry.review_id)]


def by_review(entries: Sequence[TrailEntry]) -> dict[str, list[TrailEntry]]:
    """The entries of each review, in order."""
    found: dict[str, list[TrailEntry]] = {}
    for entry in entries:
        found.setdefault(entry.review_id, []).append(entry)
    return found


def _sound(reader: Reader, run_id: str, after: TrailEntry | None) -> list[TrailEntry]:
    """The entries after one that is known. Raises ReviewError where they do not follow from it."""
    found = _read(reader, run_id, after.seq if after else 0)
    if problems := _chain(run_id, found, after):
        raise ReviewError(
            f"the record of reviews of run {run_id} was changed: {problems[0]}",
            "No approval in it counts until that is explained; `cai review verify` names all that differs.",
        )
    return [entry for entry, _ in found]


def _read(reader: Reader, run_id: str, after: int = 0) -> list[tuple[TrailEntry, str]]:
    """Each entry after that number with its body's text as it stands in the store."""
    rows = reader.query("SELECT * FROM review_entries WHERE run_id = ? AND seq > ? ORDER BY seq", [run_id, after])
    found = []
    for row in rows:
        body = json.loads(row["body"])
        found.append((TrailEntry(**row | {"body": body if isinstance(body, dict) else {}}), str(row["body"])))
    return found


def _chain(run_id: str, found: Sequence[tuple[TrailEntry, str]], after: TrailEntry | None = None) -> list[str]:
    problems = []
    before = after.sha256 if after else run_id
    for place, (entry, body) in enumerate(found, after.seq + 1 if after else 1):
        if entry.seq != place:
            problems.append(f"entry {place} is missing" if entry.seq > place else f"entry {entry.seq} stands twice")
            break
        if entry.previous_sha256 != before:
            problems.append(f"entry {entry.seq} does not follow the entry before it")
        if entry.computed(body) != entry.sha256:
            problems.append(f"entry {entry.seq} was changed")
        before = entry.sha256
    return problems


class Trail:
    """Writes the record of one run; every entry is committed when `add` returns."""

    def __init__(self, store: Store, run_id: str, key: Key | None, now: Callable[[], datetime]) -> None:
        self.run_id = run_id
        self.folder = files.folder_of(store.path, run_id)
        self.lock = lock_of(str(store.path), run_id)
        self._store = store
        self._reader = store.reader()  # used under the lock alone
        self._key = key
        self._now = now
        self._known: list[TrailEntry] = []  # read and found sound; rows are only ever added
        with self.lock:
            known = self.entries()
            self._require_head(known)
            self.swept = files.sweep(self.folder, {Path(entry.path).name for entry in known if entry.path})
            if known:
                files.write_head(self.folder, known[-1].seq, known[-1].sha256)

    def entries(self, review_id: str | None = None) -> list[TrailEntry]:
        """What is recorded. Raises ReviewError where the chain is broken."""
        with self.lock:
            self._known += _sound(self._reader, self.run_id, self._known[-1] if self._known else None)
            return [entry for entry in self._known if review_id in (None, entry.review_id)]

    def add(
        self,
        kind: str,
        case: Case,
        *,
        who: str,
        body: Mapping[str, Any],
        approval: str | None = None,
        document: str | None = None,
        request: TrailEntry | None = None,
        also: Callable[[TrailEntry], Rows] | None = None,
    ) -> TrailEntry:
        """Record one entry with its file, `document`, and in one transaction the rows that `also` makes of it.

        A response's file shares the name of its `request`'s. Raises ReviewError and StoreError, with nothing recorded.
        """
        with self.lock:
            known = self.entries()
            self._require_head(known)
            at = self._now().astimezone(UTC)
            clean = scrub_deep(dict(body), self._key)
            topic, who = scrub_deep([case.topic, who], self._key)
            path = None
            if document is not None:
                content = (document if self._key is None else self._key.scrub(document)).encode("utf-8", "replace")
                taken = {Path(entry.path).name for entry in known if entry.path}
                file = self.folder / self._name(kind, topic, at, request, taken)
                if file.exists():  # of a commit that failed
                    files.sweep(self.folder, taken)
                files.write(file, content)
                path = str(file.relative_to(self._store.path.parent))
                clean["file_sha256"] = hashlib.sha256(content).hexdigest()
            seq, before = (known[-1].seq + 1, known[-1].sha256) if known else (1, self.run_id)
            kept, evidence = json.loads(json_text(clean)), case.evidence_sha256
            entry = TrailEntry(
                self.run_id, seq, case.review_id, kind, topic, who, approval, evidence, kept, path, before, "", at
            )
            entry = replace(entry, sha256=entry.computed())
            self._store.append({**(also(entry) if also else {}), "review_entries": [entry.row()]})
            files.write_head(self.folder, entry.seq, entry.sha256)
            return entry

    def _name(self, kind: str, topic: str, at: datetime, request: TrailEntry | None, taken: set[str]) -> str:
        if request is not None and request.path is not None:
            return f"{Path(request.path).name.removesuffix('_request.md')}_{kind}.md"
        stem = f"{at:%Y%m%dT%H%M%S.%fZ}_{slug(topic)}"
        n = 1
        while (name := f"{stem}{f'-{n}' if n > 1 else ''}_{kind}.md") in taken:
            n += 1
        return name

    def _require_head(self, known: Sequence[TrailEntry]) -> None:
        """Raise ReviewError where entries that were once there are gone."""
        head = files.read_head(self.folder)
        if head is not None and head not in [(entry.seq, entry.sha256) for entry in known]:
            raise ReviewError(
                f"the record of reviews of run {self.run_id} once had an entry {head[0]} that the store does not have",
                f"Nothing was asked or recorded. If an older copy of the store was put back, move {self.folder} away.",
            )


def lock_of(*name: str) -> threading.RLock:
    """The one lock of that name in this process."""
    with _LOCKS_LOCK:
        return _LOCKS.setdefault(name, threading.RLock())
