"""The volume that a file lies on, and files that survive a loss of power."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def volume(path: Path) -> str:
    """The volume that holds `path`, with its free space, in words."""
    place = path if path.exists() else path.parent
    while not place.exists() and place != place.parent:
        place = place.parent
    mount = place.resolve()
    while not os.path.ismount(mount):
        mount = mount.parent
    try:
        free = f"{shutil.disk_usage(place).free / 2**20:,.0f} MiB free"
    except OSError:
        free = "free space unknown"
    return f"the volume {mount} ({free})"


def force_to_disk(folder: Path, *, deep: bool = True) -> None:
    """Have a folder's entries, and with `deep` all that lies in it, survive a loss of power."""
    for path in folder.rglob("*") if deep else ():
        _sync(path)
    _sync(folder)


@contextmanager
def whole_folder(out: Path) -> Iterator[Path]:
    """A folder beside `out` to write into; at the end it is forced to disk and renamed to `out`, or it goes."""
    out.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f".{out.name}.", suffix=".partial", dir=out.parent))
    try:
        aside.chmod(0o755)
        yield aside
        force_to_disk(aside)
        aside.rename(out)
        force_to_disk(out.parent, deep=False)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
