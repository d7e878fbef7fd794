"""Whether DuckDB reads a log to its end.

A log begins with what it is and whose; then come entries, each with its length, a checksum and so many bytes. DuckDB
refuses a log of another file and an entry whose checksum is wrong, but takes a beginning or a length that it cannot
read for the end of what a crash left.
"""

from __future__ import annotations

import re
import struct
from pathlib import Path

from store.salvage.known import log_path

LENGTHS = 16  # bytes before an entry's own: its length and its checksum
# A log, its version, the sixteen bytes of the file's name, and the number of the file's head.
_BEGINNING = re.compile(rb"d\0be\0\x02f\0\x10(?:[\x80-\xff]?[\0-\x7f]){16}g\0[\x80-\xff]*[\0-\x7f]\xff\xff")

ABSENT = "is not here"
_CUT = "cannot be read to its end"


def log_lacks(path: Path) -> str:
    """Why the log of the store at `path` is not all that it was, empty where it is. Raises OSError.

    To be asked before DuckDB opens the store, which may merge it.
    """
    log = log_path(path)
    if not log.exists() or not log.stat().st_size:
        return ABSENT
    return "" if _reaches_its_end(log) else _CUT


def _reaches_its_end(log: Path) -> bool:
    """Whether the log's beginning is one, and its entries end where it does."""
    size = log.stat().st_size
    with log.open("rb") as file:
        begins = _BEGINNING.match(file.read(64))
        if begins is None:
            return False
        at = begins.end()
        while at + LENGTHS <= size:
            file.seek(at)
            (length,) = struct.unpack("<Q", file.read(8))
            at += LENGTHS + length
    return at == size
