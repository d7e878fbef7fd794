"""The root of every error this program raises on purpose."""

from pathlib import Path
from typing import Self


class CaiError(Exception):
    """An error that a person can act on.

    Attributes: `title` says what happened, `hint` what is safe and what to do next. `exit_code` is the status of the
    command line.
    """

    exit_code = 1

    def __init__(self, title: str, hint: str = "") -> None:
        super().__init__(title)
        self.title = title
        self.hint = hint


class StoreError(CaiError):
    """The store could not be opened, read or written."""


class StoreLocked(StoreError):
    """Another process holds the store's file."""


class OwnerGone(StoreError):
    """The process through which the store was read or followed has let go of it."""


class NotAStore(StoreError):
    """The file is none of DuckDB's."""


class StoreDamaged(StoreError):
    """Less of a store can be read than was committed to it; its files are as they were."""

    @classmethod
    def at(cls, path: Path, title: str, why: str = "") -> Self:
        """The same of the store at `path`, with a hint that says `why` and what can be done."""
        save = f"Put the right files back, or save what can be read with: cai salvage {path} --out DIR"
        return cls(title, " ".join(filter(None, ["Nothing was changed.", why, save])))


class StoreTooNew(StoreError):
    """The store was written by a newer version of the program."""


class StoreWriteFailed(StoreError):
    """A transaction failed; what was committed before is intact."""


class NotFound(StoreError):
    """No run, sample or table of that name."""
