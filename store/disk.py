"""The volume that a file lies on, and files that survive a loss of power."""

from __future__ import annotations

import os
import shutil
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


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
