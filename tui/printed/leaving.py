"""The screen is closed: one line on the terminal that says how to go on, and the way out that waits for nothing."""

from __future__ import annotations

import contextlib
import os
import shlex
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from store.names import RESUMABLE
from tui.words.text import one_line
from tui.words.wording import STATES, again_with

if TYPE_CHECKING:
    from tui.config.settings import Config
    from tui.live.state import RunState

WRITE_S = 1.0
LEFT = "left at once; what was committed before is kept"
_LEFT_OPEN = RESUMABLE | {"loading", "pausing", "stopping", "interrupted"}


def farewell(state: RunState, command: str, *, at_once: bool = False) -> str:
    """How the run was left and what goes on with it; nothing where no work is left in it."""
    if not state.run_id or state.state not in _LEFT_OPEN:
        return ""
    if state.aside:
        return _farewell_aside(state, command, at_once=at_once)
    # An engine that was closed says "stopped", perhaps after the screen took its last event.
    word = "left at once" if at_once else "stopped" if state.active else STATES[state.state][1]
    told = f", {state.headline.told} · {state.target:,} wanted" if state.target else ""
    return f"run {one_line(state.run_id, 40)} {word}{told}; go on with: {command}"


def goes_on(state: RunState, command: str) -> str:
    """What is left behind where another process has the run, and how to come back to it."""
    what = f"run {one_line(state.run_id, 40)} is {STATES[state.state][1]}" if state.active else "nothing was changed"
    return f"left process {state.owner} alone: {what}; come back with: {command}"


def _farewell_aside(state: RunState, command: str, *, at_once: bool) -> str:
    word = "left at once" if at_once else "stopped" if state.active else STATES[state.state][1]
    one = state.trainings.latest
    step = f" at step {one.step:,} of {one.planned:,}" if one is not None and one.planned else ""
    run_id = one_line(state.run_id, 40)
    go_on = f"{command} {again_with(run_id, state.aside, state.changed, state.suites)}"
    what = "evaluation" if state.evaluates else "refit" if state.refits else "training"
    return f"{what} of run {run_id} {word}{step}; go on with: {go_on}"


def again(config: Config, store: Path) -> str:
    """The command that opens the same store: `cai`, with the path where it was named on the command line."""
    named = config.origin("store") == "command line"
    return f"cai --store {shlex.quote(str(store))}" if named else "cai"


def at_once(engine: Any, state: RunState, exit_code: int) -> NoReturn:
    """End the process without waiting for the batch under way; the store is told so if that takes a second at most.

    Neither threads nor libraries are waited for: a model in the middle of a batch may take minutes.
    """

    def note() -> None:
        with contextlib.suppress(Exception):  # the next start reads the same from the rows
            if not state.aside:  # a training has a state of its own, and leaves the run's as it was
                engine.store.update_run(engine.run_id, state="stopped", reason=LEFT, elapsed_s=state.elapsed_s)

    if engine is not None and state.active:
        writing = threading.Thread(target=note, name="leaving", daemon=True)
        writing.start()
        writing.join(WRITE_S)
    os._exit(exit_code)
