"""That no training process is left behind by an engine that is gone."""

from __future__ import annotations

import os
import threading
import time
from typing import Self

import psutil

from engine.training.job import LOCK_WAIT_S, lives

LOOK_S = 1.0
STEP_S = LOCK_WAIT_S - 20.0  # for the step under way and its checkpoint: the next engine waits a little longer
EXIT_ORPHANED = 71


class Orphan:
    """Looks for the engine from a thread, and ends this process when it is gone.

    Before the first step there is nothing to keep, and it ends at once, in the middle of loading a model. Later it has
    `seconds` to end by itself with a checkpoint of its step, and a step that hangs ends then.
    """

    def __init__(self, engine: psutil.Process | None, seconds: float = STEP_S) -> None:
        self._engine = engine
        self._seconds = seconds
        self._has_steps = False
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, name="watch of the engine", daemon=True)

    def step_begins(self) -> None:
        """From now on there is something to keep."""
        self._has_steps = True

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        gone_at: float | None = None
        while not self._over.wait(LOOK_S):
            if gone_at is None:
                gone_at = None if lives(self._engine) else time.monotonic()
            elif not self._has_steps or time.monotonic() - gone_at > self._seconds:
                os._exit(EXIT_ORPHANED)
