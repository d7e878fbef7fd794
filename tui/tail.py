"""The end of a file that grows."""

from __future__ import annotations

from pathlib import Path

FIRST_READ = 256 * 1024  # bytes; what was printed before that is in the file
READ_AT_MOST = 1024 * 1024


class Tail:
    """Reads what was appended since the last call; a file that is not there yet is empty."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._at: int | None = None
        self._rest = b""

    def new_lines(self) -> list[str]:
        if not self.path.exists():
            return []
        size = self.path.stat().st_size
        if self._at is None or size < self._at:  # first look, or the file was begun anew
            self._at, self._rest = max(0, size - FIRST_READ), b""
        with self.path.open("rb") as file:
            file.seek(self._at)
            data = file.read(READ_AT_MOST)
        self._at += len(data)
        *lines, self._rest = (self._rest + data).split(b"\n")
        return [line.decode("utf-8", "replace") for line in lines]
