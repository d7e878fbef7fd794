"""Another cai has the store that a command would write to: say who, and offer to watch it or to have it stop.

The file has one owner (DuckDB locks it for its process): others read it through that one, and write when it is free.
"""

from __future__ import annotations

import contextlib
import os
import signal
import struct
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from tui.host.left import left_run
from tui.host.terminal import Tail, Terminal, log_path
from tui.host.tmux import ask
from tui.words.text import one_line

LOOK_S = 0.5
SAY_S = 15.0
LINES_FIRST = 12
_FLOCK = "hhqqi4x"  # struct flock of Linux on a 64-bit machine: type, whence, start, length, pid
_BEGIN = "One run is worked on at a time: begin this when that one has ended, there (with {}) or here."
_THERE = {
    "label": "Where it shows the control center, labels are given there: room Samples (2).",
    "review": "Where it shows the control center, a question that waits is answered there (g).",
    "run": _BEGIN.format("f in the room Runs"),
    "resume": _BEGIN.format("R in the room Runs"),
    "refresh": _BEGIN.format("R in the room Runs"),
    "train": _BEGIN.format("n in the room Training"),
    "evaluate": _BEGIN.format("e in the room Evaluation"),
    "preregister": "Where it shows the control center, tests are registered there: e in the room Evaluation, then p.",
    "repeat": "One run is worked on at a time, and repeats are begun by this command alone: when that one has ended.",
}


@dataclass(frozen=True, slots=True)
class Holder:
    """A cai of this user that has the store open; `left` is whether its connection dropped."""

    pid: int
    since: datetime
    left: bool
    run_id: str


def clear_the_way(store: Path, terminal: Terminal) -> bool:
    """Ask a person what to do about another cai on this store, until it is gone. False where they leave it alone.

    Where a stranger holds the file nothing is asked: opening it says what there is to say.
    """
    found = holder(store)
    if found is None:
        return True
    say = terminal.stdout.say
    say(_who(found))
    say(f"  w  watch its log ({log_path(store)}) until it ends, then open the store")
    say("  s  have it stop at its next commit, then open the store; the run can be resumed at once")
    say("  q  leave it alone")
    while True:
        answer = ask(terminal, "What now? [w/s/q] ")
        try:
            match (answer or "q").lower():
                case "w":
                    _watch(store, found, say)
                    return True
                case "s":
                    _stop(store, found, say)
                    return True
                case "q":
                    return False
        except KeyboardInterrupt:
            say(f"\nProcess {found.pid} goes on.")
            continue
        say("Please answer w, s or q.")


def there(command: str) -> str:
    """What a person can do in the process that has the store, instead of a command that wanted to write; "" if nothing.

    All that only reads works meanwhile.
    """
    return _THERE.get(command, "")


def holder(store: Path) -> Holder | None:
    """The cai that writes to the store, if it is this user's; None where nobody or somebody else does."""
    pid = lock_owner(store)
    if pid is None or pid == os.getpid():
        return None
    import psutil

    try:
        process = psutil.Process(pid)
        if process.uids().real != os.getuid():
            return None
        held = {os.path.realpath(item.path) for item in process.open_files()}
        began = datetime.fromtimestamp(process.create_time(), UTC)
    except (psutil.Error, OSError):
        return None
    # Only cai sends its output to the log beside the store while it has the store open.
    if not {os.path.realpath(store), os.path.realpath(log_path(store))} <= held:
        return None
    left = left_run(store)
    if left is not None and left.pid == pid:
        return Holder(pid, left.since, True, left.run_id)
    return Holder(pid, began, False, "")


def lock_owner(store: Path) -> int | None:
    """The process that has the file open for writing, asked of the system without opening the database."""
    if not sys.platform.startswith("linux"):
        return None
    import fcntl

    try:
        with store.open("rb") as file:
            asked = struct.pack(_FLOCK, fcntl.F_RDLCK, os.SEEK_SET, 0, 0, 0)
            kind, _, _, _, pid = struct.unpack(_FLOCK, fcntl.fcntl(file, fcntl.F_GETLK, asked))
    except (OSError, struct.error):
        return None
    return pid if kind != fcntl.F_UNLCK and pid > 0 else None


def _who(found: Holder) -> str:
    when = f"{found.since.astimezone():%H:%M} ({_ago(found.since)} ago)"
    if found.left:
        return (
            f"Run {found.run_id} goes on in process {found.pid}: it was left when the connection dropped at {when}.\n"
            "Its screen comes back with: cai"
        )
    return (
        f"Another cai has this store open: process {found.pid}, since {when}.\n"
        "One process at a time can write to it. Its screen opens here too, with: cai\n"
        "What it committed stays, whatever you choose."
    )


def _ago(since: datetime) -> str:
    minutes = max(0, int((datetime.now(UTC) - since).total_seconds() // 60))
    if minutes < 1:
        return "less than a minute"
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"


def _watch(store: Path, found: Holder, say: Callable[[str], None]) -> None:
    tail = Tail(log_path(store))
    say("Ctrl+C comes back to the question.")
    lines = tail.new_lines()[-LINES_FIRST:]
    while True:
        over = lock_owner(store) != found.pid
        for line in lines:
            say(one_line(line, 400))
        if over:
            say(f"Process {found.pid} has let go of the store.")
            return
        time.sleep(LOOK_S)
        lines = tail.new_lines()


def _stop(store: Path, found: Holder, say: Callable[[str], None]) -> None:
    """Send SIGTERM, which ends a run at its next commit, and wait until the store is free."""
    if holder(store) == found:  # looked at again: a number can have passed to another process meanwhile
        with contextlib.suppress(ProcessLookupError):
            os.kill(found.pid, signal.SIGTERM)
        say(f"Process {found.pid} was asked to stop. It finishes its batch first. Ctrl+C comes back to the question.")
    began = said = time.monotonic()
    while lock_owner(store) == found.pid:
        time.sleep(LOOK_S)
        if time.monotonic() - said >= SAY_S:
            said = time.monotonic()
            say(f"still finishing its batch, {said - began:.0f} s")
    say("The store is free. What was committed is in it.")
