"""How many commits of a store are known of, in a small file beside it: often behind the store, never ahead of it."""

from __future__ import annotations

import contextlib
import json
import os
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path

from store.errors import StoreDamaged

_LINE = 192  # bytes: two lines take turns, so that one that was half written leaves the other


@dataclass(frozen=True, slots=True)
class Known:
    """A commit that a store had: the store's id, the number of the commit, and when it was (ISO 8601, UTC)."""

    store: str
    commits: int
    at: str


class KnownFile:
    """The file of a store that is written. It takes as much room at its first commit as at its last."""

    def __init__(self, path: Path, first: Known) -> None:
        """Make or open it, with `first` in both lines and the rights of the store, forced to disk. Raises OSError."""
        self._file: int | None = os.open(known_path(path), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            with contextlib.suppress(PermissionError):  # another user's store that this one may write
                os.fchmod(self._file, path.stat().st_mode & 0o777)
            os.pwrite(self._file, 2 * _line(first), 0)
            os.fsync(self._file)
        except BaseException:
            self.close()
            raise

    def keep(self, known: Known, *, forced: bool = False) -> None:
        """Keep a commit that is in the store; `forced` has it survive a loss of power.

        Where that fails the file stays behind, which is no harm.
        """
        if self._file is not None:
            with contextlib.suppress(OSError):
                os.pwrite(self._file, _line(known), known.commits % 2 * _LINE)
                if forced:
                    os.fsync(self._file)

    def close(self) -> None:
        """Closing twice is fine."""
        file, self._file = self._file, None
        if file is not None:
            os.close(file)


def known_path(path: Path) -> Path:
    """Where it lies: beside the file that the store's name leads to."""
    return Path(f"{os.path.realpath(path)}.commits")


def log_path(path: Path) -> Path:
    """DuckDB's log of what is not merged into the store's file yet."""
    return Path(f"{os.path.realpath(path)}.wal")


def read_known(path: Path) -> Known | None:
    """The last commit that is known of, None where there is no such file. Raises StoreDamaged for one without a line.

    A process that was killed as it made the file leaves an empty one, before it committed anything.
    """
    where = known_path(path)
    try:
        held = where.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise StoreDamaged.at(path, f"{where} cannot be read: {error.strerror or error}") from error
    if not held:
        return None
    lines = [_read_line(held[start : start + _LINE]) for start in (0, _LINE)]
    if not (whole := [line for line in lines if line is not None]):
        raise StoreDamaged.at(path, f"{where} is damaged, so that nobody knows whether the store is whole")
    return max(whole, key=lambda known: known.commits)


def _line(known: Known) -> bytes:
    text = json.dumps(asdict(known)).encode()
    return f"{zlib.crc32(text):08x} ".encode() + text.ljust(_LINE - 10) + b"\n"


def _read_line(line: bytes) -> Known | None:
    checksum, _, text = line.partition(b" ")
    text = text.strip()
    try:
        return Known(**json.loads(text)) if int(checksum, 16) == zlib.crc32(text) else None
    except (ValueError, TypeError):
        return None
