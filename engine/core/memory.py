"""The memory that this program may use: the machine's, or its container's where that has less."""

from __future__ import annotations

import contextlib
from pathlib import Path

import psutil

_UNLIMITED = 2**60


def total_and_free() -> tuple[int, int]:
    """Bytes of memory in all, and those that are free."""
    found = psutil.virtual_memory()
    limit = _limit()
    if limit is None or limit[0] >= found.total:
        return found.total, found.available
    return limit[0], min(found.available, limit[0] - limit[1])


def _limit() -> tuple[int, int] | None:
    """Limit and use of the container in bytes; None where there is none."""
    for files in (("memory.max", "memory.current"), ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes")):
        with contextlib.suppress(OSError, ValueError):  # not there, or "max"
            limit, used = (int((Path("/sys/fs/cgroup") / file).read_text()) for file in files)
            return (limit, used) if limit < _UNLIMITED else None
    return None
