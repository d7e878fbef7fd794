"""The command line `cai`, one file for each kind of thing that it is about."""

from tui.cli.entry import main

__all__ = ["main"]
