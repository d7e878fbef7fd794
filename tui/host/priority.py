"""The screen before the model, where both want the same cores."""

from __future__ import annotations

import contextlib
import gc
import os
import sys
import threading
from pathlib import Path

GIL_SWITCH_S = 0.001  # the engine's thread hands over after that, not after Python's 5 ms: a key waits several times
WORKERS_NICE = 10
COLLECT_AFTER = (20_000, 20, 50)  # new objects; Python's own 700 has a million long-lived ones looked at all the time


def prefer_the_screen() -> None:
    """Before an engine starts: switch between threads sooner, collect garbage less often."""
    sys.setswitchinterval(GIL_SWITCH_S)
    gc.set_threshold(*COLLECT_AFTER)


def settle() -> None:
    """After libraries were loaded or began to work: what they made stays for good, and their threads give way.

    A full collection of what torch and transformers bring would stop the screen for half a second. Only native worker
    threads give way: a Python thread that holds the interpreter's lock must not be kept from its core.
    """
    gc.freeze()
    pythons = {thread.native_id for thread in threading.enumerate()}
    with contextlib.suppress(OSError):
        for task in Path("/proc/self/task").iterdir():
            if int(task.name) not in pythons:
                with contextlib.suppress(OSError):
                    os.setpriority(os.PRIO_PROCESS, int(task.name), WORKERS_NICE)


def unsettle() -> None:
    """The screen is closed: what was kept for good may be collected when the interpreter ends.

    Without it DuckDB's module outlives the interpreter, and its binding writes 50 lines about that to the log.
    """
    gc.unfreeze()
