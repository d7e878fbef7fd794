"""Where the socket of a store lies: beside it, or under a short name in a folder of the user's own."""

from __future__ import annotations

import hashlib
import os
import socket
import stat
import struct
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_LONGEST = 100  # bytes of a socket's path: the system takes 107, or 103
_SHORT = Path("/tmp")  # not $TMPDIR: two terminals of one user may have two of them
_LOOK_S = 1.0
_QUEUE = 128  # connections that wait to be taken


def places(store: Path) -> Iterator[Path]:
    """Where the socket of a store may be, the first that can be used being the one."""
    real = os.path.realpath(store)
    beside = Path(f"{real}.sock")
    if len(os.fsencode(beside)) <= _LONGEST:
        yield beside
    # The folder of the store is too deep, or on a volume that has no sockets.
    yield _SHORT / f"cai-{os.getuid()}" / f"{hashlib.sha256(os.fsencode(real)).hexdigest()[:32]}.sock"


def listening(store: Path) -> tuple[socket.socket, Path] | None:
    """A socket that only this user can connect to, for the process that owns the store; None where none can be had.

    Whoever owns the store is alone, so that a socket which is there already was left by a process that was killed, or
    is this process's own.
    """
    for place in places(store):
        made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            if place.parent.parent == _SHORT:
                _own_folder(place.parent)
            if not _free(place):
                return None
            made.bind(os.fspath(place))
            place.chmod(0o600)  # before it listens nobody can have connected
            made.listen(_QUEUE)
        except OSError:
            made.close()
        else:
            return made, place
    return None


def served(store: Path) -> bool:
    """Whether a process has the store and answers those who read it, or is suspended."""
    found = connected(store, _LOOK_S)
    if found is not None:
        found.close()
    return found is not None


def connected(store: Path, seconds: float) -> socket.socket | None:
    """A connection to the process that serves the store, which waits at most `seconds` for each answer; None without.

    A socket of another user is none: what it said could not be believed.
    """
    for place in places(store):
        made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        made.settimeout(seconds)
        try:
            made.connect(os.fspath(place))
            # A superuser reads the store of another one.
            if peer(made)[1] in (None, os.getuid(), store.stat().st_uid):
                return made
        except OSError:
            pass
        made.close()
    return None


def peer(connection: socket.socket) -> tuple[int, int | None]:
    """The process at the other end and its user, as the system knows them; (0, None) where it does not tell."""
    if not sys.platform.startswith("linux"):
        return 0, None
    told = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    pid, uid, _ = struct.unpack("3i", told)
    return pid, uid


def _free(place: Path) -> bool:
    """Whether the place can be taken: a socket that nobody listens on is removed. Raises OSError for what is none."""
    if not place.is_socket():
        return True  # a file of that name is nobody's business here: binding to it fails
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
        asking.settimeout(1.0)
        try:
            asking.connect(os.fspath(place))
        except ConnectionRefusedError:
            place.unlink()
            return True
        return False


def _own_folder(folder: Path) -> None:
    """Make the folder for this user alone. Raises OSError where somebody else has it."""
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise PermissionError(f"{folder} is not this user's alone")
