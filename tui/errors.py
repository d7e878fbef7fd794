"""Errors of the command line, which carry a title, a hint and an exit code."""

from __future__ import annotations


class UsageError(Exception):
    """The command line cannot be understood."""

    exit_code = 2

    def __init__(self, title: str, hint: str) -> None:
        super().__init__(title)
        self.title, self.hint = title, hint


class ScreenFailed(UsageError):
    """The control center ended with an error that is in the log."""

    exit_code = 1
