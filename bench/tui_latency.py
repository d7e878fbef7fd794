"""From key press to repaint while the real model works on the same cores: `python bench/tui_latency.py [PRESSES]`.

The installed `cai` runs a pilot in a pseudo-terminal. Each key is sent when the screen is at rest; its time ends when
the bytes that only its effect can send have arrived. First paint is from the start of the process to the frame with the
phases on it. Prints JSON; times in milliseconds, that of the first paint in seconds.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import json
import os
import platform
import pty
import random
import select
import signal
import statistics
import struct
import sys
import tempfile
import termios
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

COLUMNS, ROWS = 120, 36
GIVE_UP_S = 10.0
CAI = Path(sys.executable).with_name("cai")
# What each key must bring to the screen, from which room it can be pressed, and the room it leads to.
ROOMS = {"1": "Phases", "2": "Samples", "3": "Thresholds", "4": "Questions", "7": "Runs", "9": "Log"}


class Screen:
    """`cai` in a terminal; counts what it sends."""

    def __init__(self, words: list[str]) -> None:
        self.pid, self._descriptor = pty.fork()
        if self.pid == 0:
            os.environ["TERM"] = "xterm-256color"
            os.execv(words[0], words)
        fcntl.ioctl(self._descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        self.sent = 0

    def read(self, seconds: float) -> bytes:
        """What arrives first within so many seconds, empty for nothing."""
        if not select.select([self._descriptor], [], [], max(0.0, seconds))[0]:
            return b""
        data = os.read(self._descriptor, 1 << 18)
        self.sent += len(data)
        return data

    def wait_for(self, text: str, seconds: float) -> None:
        """Read on until the text has come; SystemExit shows the end of what came instead."""
        until, seen = time.monotonic() + seconds, b""
        while text.encode() not in seen:
            if time.monotonic() > until or "✗ failed".encode() in seen:
                sys.exit(f"no {text!r} within {seconds} s, or the run failed; the last bytes: {seen[-500:]!r}")
            seen = (seen + self.read(0.5))[-200_000:]

    def settle(self) -> None:
        """Let the answer to the last key pass by."""
        until = time.monotonic() + 0.15
        while time.monotonic() < until:
            self.read(until - time.monotonic())

    def press(self, key: str, expected: bytes) -> float:
        """Milliseconds from the key to the last byte of what it must bring."""
        began = time.perf_counter()
        os.write(self._descriptor, key.encode())
        seen = b""
        while expected not in seen:
            if time.perf_counter() - began > GIVE_UP_S:
                sys.exit(f"the key {key!r} never brought {expected!r}: {seen[-300:]!r}")
            seen += self.read(1.0)
        return 1000 * (time.perf_counter() - began)

    def end(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


def main(presses: int) -> dict[str, Any]:
    """Run a pilot, press keys while it writes and judges, and time them."""
    draw = random.Random(1)
    with tempfile.TemporaryDirectory() as folder:
        store = str(Path(folder) / "latency.duckdb")
        words = [str(CAI), "run", "--pilot", "100", "--set", "critics.audit_items=12", "--set", "critics.shuffles=1"]
        words += ["--set", "responses.drafts=1"]  # rows come one by one
        began = time.perf_counter()
        screen = Screen([*words, "--store", store])
        try:
            screen.wait_for("Phases", 60)
            first_paint_s = time.perf_counter() - began
            screen.wait_for("Responses started", 400)
            until = time.monotonic() + 15  # some samples must be there for the cursor to move on
            while time.monotonic() < until:
                screen.read(0.5)
            process = psutil.Process(screen.pid)
            process.cpu_percent()
            took: dict[str, list[float]] = {"cursor": [], "help": []}
            screen.sent = 0
            room, at = "1", 0
            cpu: list[float] = []
            for number in range(presses):
                screen.settle()
                if room == "2" and number % 3:
                    up = at == 0 or (at < 3 and draw.random() < 0.5)  # the room opens on the newest row
                    at += 1 if up else -1
                    took["cursor"].append(screen.press("k" if up else "j", "▌".encode()))
                elif number % 10 == 9:
                    took["help"].append(screen.press("?", b"Keys that work here"))
                    screen.settle()
                    screen.press("\x1b", b"\x1b[")
                else:
                    room = draw.choice([key for key in ROOMS if key != room] + ["2"] * (room != "2"))
                    took.setdefault(f"room {ROOMS[room]}", []).append(screen.press(room, ROOMS[room].encode()))
                cpu.append(process.cpu_percent())
        finally:
            screen.end()
    every = sorted(itertools.chain.from_iterable(took.values()))
    return {
        "first_paint_s": round(first_paint_s, 3),
        "presses": len(every),
        "median_ms": round(statistics.median(every), 1),
        "p95_ms": round(every[int(0.95 * (len(every) - 1))], 1),
        "slowest_ms": round(every[-1], 1),
        "by_key": {
            kind: {"n": len(times), "median_ms": round(statistics.median(times), 1), "slowest_ms": round(max(times), 1)}
            for kind, times in took.items()
            if times
        },
        "process_cpu_percent": round(statistics.mean(cpu)),
        "bytes_a_press": round(screen.sent / max(1, len(every))),
        "size": [COLUMNS, ROWS],
        "cores": psutil.cpu_count(),
        "textual": version("textual"),
        "python": platform.python_version(),
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(int(sys.argv[1]) if len(sys.argv) > 1 else 200), indent=2) + "\n")
