"""The files of the audit trail: written aside, forced to disk, renamed, and never written over."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

from engine.core.errors import ReviewError
from store.disk import force_to_disk

HEAD = "head.json"
UNRECORDED = ".unrecorded"


def folder_of(store: Path, run_id: str) -> Path:
    """Where the files about a run lie, beside its store."""
    return store.parent / f"{store.stem}.reviews" / run_id


def write(path: Path, content: bytes, *, replace: bool = False) -> None:
    """Write a file whole or not at all. Raises ReviewError where it cannot be, or is there already unless `replace`."""
    aside = path.with_name(f".{path.name}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not replace and path.exists():
            raise ReviewError(f"{path} is there already", "It was left as it is; nothing was recorded.")
        with aside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
        force_to_disk(path.parent, deep=False)
    except OSError as error:
        raise ReviewError(
            f"{path} cannot be written: {error.strerror or error}",
            "What was recorded before is safe; make room or change the folder's rights, then continue with: cai resume",
        ) from None


def sha256_of(path: Path) -> str | None:
    """The hash of a file's bytes; None where it cannot be read."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return None


def read_head(folder: Path) -> tuple[int, str] | None:
    """What `write_head` wrote; None where there is none or it cannot be understood."""
    try:
        found = json.loads((folder / HEAD).read_bytes())
        return int(found["seq"]), str(found["sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write_head(folder: Path, seq: int, sha256: str) -> None:
    """Keep how far the record has got, by its last entry: so that rows missing at its end show."""
    write(folder / HEAD, json.dumps({"seq": seq, "sha256": sha256}).encode() + b"\n", replace=True)


def sweep(folder: Path, recorded: set[str]) -> list[str]:
    """Set aside what a kill left without a row, and return the names: `<name>.unrecorded`; half-written files go."""
    swept = []
    if not folder.is_dir():
        return []
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") and path.name.endswith(".tmp"):
            path.unlink(missing_ok=True)
        elif path.suffix == ".md" and path.name not in recorded:
            path.replace(_free(path))
            swept.append(path.name)
    if swept:
        force_to_disk(folder, deep=False)
    return swept


def _free(path: Path) -> Path:
    n = 0
    while (to := path.with_name(f"{path.name}{UNRECORDED}{f'.{n}' if n else ''}")).exists():
        n += 1
    return to
