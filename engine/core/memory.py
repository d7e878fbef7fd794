"""The memory that this program may use, the machine's or its container's where that has less, and what it keeps."""

from __future__ import annotations

import contextlib
import ctypes
import sys
from pathlib import Path

import psutil

_UNLIMITED = 2**60
_ARENA_MAX, _ARENAS = -8, 2  # M_ARENA_MAX of glibc's malloc.h; one is the main thread's


def total_and_free() -> tuple[int, int]:
    """Bytes of memory in all, and those that are free."""
    found = psutil.virtual_memory()
    limit = _limit()
    if limit is None or limit[0] >= found.total:
        return found.total, found.available
    return limit[0], min(found.available, limit[0] - limit[1])


def share_arenas() -> None:
    """Before threads are started: have all of them allocate from the same two heaps, where the C library is glibc.

    It has eight for each core otherwise. A thread that serves a reader takes whichever is free, and what it lets go
    stays there: that grows with the number of readers that ever came.
    """
    if sys.platform == "linux":
        with contextlib.suppress(AttributeError):  # another C library
            ctypes.CDLL(None).mallopt(_ARENA_MAX, _ARENAS)


def _limit() -> tuple[int, int] | None:
    """Limit and use of the container in bytes; None where there is none."""
    for files in (("memory.max", "memory.current"), ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes")):
        with contextlib.suppress(OSError, ValueError):  # not there, or "max"
            limit, used = (int((Path("/sys/fs/cgroup") / file).read_text()) for file in files)
            return (limit, used) if limit < _UNLIMITED else None
    return None
