"""Checkpoints of a training: written aside, sealed with a hash of every file, renamed; the seal shows damage."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from store.disk import force_to_disk

SEAL = "seal.json"
FOLDER = "checkpoints"
KEPT = 2  # the newest, besides the best


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One that is whole. `path` is relative to the training's folder, `heldout_loss` None where it was not measured."""

    step: int
    path: str
    n_bytes: int
    heldout_loss: float | None


def name_of(step: int) -> str:
    return f"{FOLDER}/step-{step:08d}"


def seal(aside: Path, folder: Path, step: int, heldout_loss: float | None) -> Checkpoint:
    """Make a checkpoint of what lies in `aside`, which is renamed to its place in the training's folder.

    Raises OSError, with nothing in place, where the disk is full.
    """
    found = [path for path in sorted(aside.rglob("*")) if path.is_file() and path.name != SEAL]
    files = {str(path.relative_to(aside)): _facts(path) for path in found}
    n_bytes = sum(size for size, _ in files.values())
    text = json.dumps({"step": step, "heldout_loss": heldout_loss, "n_bytes": n_bytes, "files": files}, indent=1)
    (aside / SEAL).write_text(text)
    force_to_disk(aside)
    place = folder / name_of(step)
    if place.exists():  # the same step again, after a resume from an earlier one
        shutil.rmtree(place)
    aside.rename(place)
    force_to_disk(place.parent, deep=False)
    return Checkpoint(step, name_of(step), n_bytes, heldout_loss)


def read(folder: Path, path: str) -> Checkpoint | str:
    """A checkpoint, or what is wrong with it."""
    place = folder / path
    try:
        sealed = json.loads((place / SEAL).read_text())
        for name, (size, digest) in sealed["files"].items():
            file = place / name
            if not file.is_file():
                return f"{name} is missing"
            if file.stat().st_size != size or _facts(file)[1] != digest:
                return f"{name} is not what was written"
        return Checkpoint(int(sealed["step"]), path, int(sealed["n_bytes"]), sealed["heldout_loss"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"its seal can't be read ({type(error).__name__})"


def newest(folder: Path) -> tuple[Checkpoint | None, dict[str, str]]:
    """The newest checkpoint that is whole, and what is wrong with those after it, by path."""
    damaged: dict[str, str] = {}
    for place in sorted((folder / FOLDER).glob("step-*"), reverse=True):
        found = read(folder, f"{FOLDER}/{place.name}")
        if isinstance(found, Checkpoint):
            return found, damaged
        damaged[f"{FOLDER}/{place.name}"] = found
    return None, damaged


def prune(folder: Path, best_step: int | None) -> list[int]:
    """Remove all but the newest and the best; returns the steps of those removed."""
    places = sorted((folder / FOLDER).glob("step-*"))
    old = [place for place in places[:-KEPT] if int(place.name.removeprefix("step-")) != best_step]
    for place in old:
        shutil.rmtree(place, ignore_errors=True)
    return [int(place.name.removeprefix("step-")) for place in old]


def clear_partial(folder: Path) -> None:
    """Remove what a kill left half-written."""
    for place in (folder / FOLDER).glob(".partial*"):
        shutil.rmtree(place, ignore_errors=True)


def tree_sha256(folder: Path) -> str:
    """A hash of a folder's files, by name and content."""
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.is_file():
            digest.update(path.name.encode() + b"\0" + _facts(path)[1].encode())
    return digest.hexdigest()


def _facts(path: Path) -> tuple[int, str]:
    with path.open("rb") as file:
        return path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest()
