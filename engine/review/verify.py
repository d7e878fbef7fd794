"""Whether the trail of reviews is whole, and whether each decision rests on a review that is there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from engine.review import files
from engine.review.state import decision_fields, decision_id, state_of
from engine.review.trail import TrailEntry, _chain, _read, by_review
from store.read import Reader


def unfounded(reader: Reader, run_id: str, entries: Sequence[TrailEntry]) -> list[str]:
    """What in a run's record no answer accounts for: entries out of turn, and decisions that differ from theirs."""
    problems: list[str] = []
    for of in by_review(entries).values():
        state_of(of, problems)
    rows = reader.query("SELECT * FROM decisions WHERE run_id = ? AND starts_with(decision_id, 'review-')", [run_id])
    kept = {row["decision_id"]: row for row in rows}
    for entry in entries:
        if entry.kind == "decision":
            row = kept.pop(decision_id(entry.seq), None)
            if row is None or any(row[name] != value for name, value in decision_fields(entry).items()):
                problems.append(f"the decision of entry {entry.seq} differs from its row in `decisions`, or has none")
    return problems + [f"the decision {name} has no entry" for name in sorted(kept)]


def verify(reader: Reader, run_id: str, folder: Path | None = None) -> list[str]:
    """What in the record is not as it was written, in words; empty where all of it is.

    Finds rows and files that were changed, taken away, put in or put in another order, rows cut off at the end as long
    as `head.json` or a file is left, approvals that no answer gave, and decisions that differ from their entry.
    """
    folder = folder or files.folder_of(reader.path, run_id)
    present = sorted(path.name for path in folder.glob("*.md")) if folder.is_dir() else []
    found = _read(reader, run_id)
    problems = _chain(run_id, found)
    known = [entry for entry, _ in found]
    head = files.read_head(folder)
    if head is not None and head not in [(entry.seq, entry.sha256) for entry in known]:
        problems.append(f"entry {head[0]}, with which the record once ended, is missing or another one")
    elif head is None and known:
        problems.append(f"{files.HEAD} is missing or cannot be read")
    named = set()
    for entry in known:
        if entry.path is None:
            if entry.kind in ("request", "response"):
                problems.append(f"entry {entry.seq}, a {entry.kind}, names no file")
            continue
        name = Path(entry.path).name
        named.add(name)
        if Path(entry.path) != folder.relative_to(folder.parent.parent) / name:
            problems.append(f"entry {entry.seq} names a file elsewhere: {entry.path}")
        elif (now := files.sha256_of(folder / name)) is None:
            problems.append(f"{name}, the file of entry {entry.seq}, is missing")
        elif now != entry.body.get("file_sha256"):
            problems.append(f"{name}, the file of entry {entry.seq}, was changed")
    problems += [f"{name} has no entry" for name in present if name not in named]

    return problems + unfounded(reader, run_id, known)
