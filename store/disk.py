"""The volume that a file lies on, and files that survive a loss of power."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_ASIDE = ".cai-aside"  # how the name of what is being written ends
_YOUNG_S = 60.0
_OLD_S = 86_400.0  # of another host's: its lock may not be seen here, on a disk that both have


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
def aside(out: Path) -> Iterator[Path]:
    """A folder beside `out` to write into, for the owner alone; at the end it goes, unless it was renamed.

    What a killed writer left there before goes, too. Raises OSError.
    """
    sweep(out.parent)
    folder = Path(tempfile.mkdtemp(prefix=f".{out.name}.", suffix=_own_ending(), dir=out.parent))
    try:
        with _held(folder):
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def whole_folder(out: Path) -> Iterator[Path]:
    """A folder beside `out` to write into; at the end it is forced to disk and renamed to `out`, or it goes.

    What it holds is for the owner alone.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    with aside(out) as folder:
        yield folder
        for path in folder.rglob("*"):
            path.chmod(0o700 if path.is_dir() else 0o600)
        force_to_disk(folder)
        folder.rename(out)
        force_to_disk(out.parent, deep=False)


@contextmanager
def whole_file(out: Path) -> Iterator[Path]:
    """A file that is not there yet, in a folder beside `out`, to be written and then named `out`, like `whole_folder`.

    A name that was taken meanwhile is left as it is. Raises FileExistsError, and OSError where it cannot be written.
    """
    with aside(out) as folder:
        file = folder / out.name
        yield file
        file.chmod(0o600)
        force_to_disk(file, deep=False)
        if out.exists():
            raise FileExistsError(errno.EEXIST, "it is there already")
        file.rename(out)
        force_to_disk(out.parent, deep=False)


def sweep(folder: Path) -> None:
    """Remove what writers that were killed left aside in a folder; what one that lives is writing stays."""
    own = _own_ending()
    with suppress(OSError):
        for path in folder.glob(f".*{_ASIDE}"):
            # A lock is gone with its process. Before it is taken a new one is a moment old.
            enough = _YOUNG_S if path.name.endswith(own) else _OLD_S
            if time.time() - path.lstat().st_mtime > enough and not path.is_symlink() and _left(path):
                if path.is_dir():
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink(missing_ok=True)


def _own_ending() -> str:
    return f".{socket.gethostname()[:64]}{_ASIDE}"


@contextmanager
def _held(path: Path) -> Iterator[None]:
    """Hold a lock on a file or folder, so that nobody takes it for left behind."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        with suppress(OSError):  # a volume without locks
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


def _left(path: Path) -> bool:
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
