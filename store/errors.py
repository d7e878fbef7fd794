"""The root of every error this program raises on purpose."""


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


class StoreTooNew(StoreError):
    """The store was written by a newer version of the program."""


class StoreWriteFailed(StoreError):
    """A transaction failed; what was committed before is intact."""


class NotFound(StoreError):
    """No run, sample or table of that name."""
