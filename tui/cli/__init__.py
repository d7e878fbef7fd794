"""The command line `cai`, one file for each kind of thing that it is about.

What a command needs beyond argparse is imported when it runs, so that --help and a usage error answer at once.
"""

from tui.cli.entry import main

__all__ = ["main"]
