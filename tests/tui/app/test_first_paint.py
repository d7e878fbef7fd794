"""The screen is up before a model library, or even the store, is touched."""

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

LIMIT_S = 0.5
HEAVY = ("torch", "transformers", "vllm", "trl", "datasets", "duckdb", "pyarrow", "numpy", "scipy", "pydantic")
PROGRAM = """
import sys
from pathlib import Path
from tui.app.app import ControlCenter
ControlCenter(Path(sys.argv[1]), None, None, None).run()
"""


def waited_s(pid: int) -> float:
    """How long a process's first thread was ready to run and had no processor, in seconds, where the kernel tells it."""
    told = Path(f"/proc/{pid}/schedstat")
    return int(told.read_text().split()[1]) / 1e9 if told.exists() else 0.0


def first_paint_s(store: Path) -> float:
    """Seconds from fork to the frame with the phases on it, in a pseudo-terminal, less the waits for a processor."""
    started = time.perf_counter()
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ["TERM"] = "xterm-256color"
        os.execv(sys.executable, [sys.executable, "-c", PROGRAM, str(store)])
    try:
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 36, 120, 0, 0))
        seen = b""
        while time.perf_counter() - started < 20:
            if select.select([terminal], [], [], 0.05)[0]:
                seen += os.read(terminal, 65536)
                if b"Phases" in seen:
                    return time.perf_counter() - started - waited_s(pid)
        raise AssertionError(f"nothing was painted: {seen[-2000:]!r}")
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(terminal)


def test_first_frame_within_half_a_second(tmp_path: Path) -> None:
    best = min(first_paint_s(tmp_path / "none.duckdb") for _ in range(5))
    assert best <= LIMIT_S, f"first paint after {best:.3f} s"


def test_importing_the_screen_pulls_in_nothing_heavy() -> None:
    code = f"import sys, tui.app.app; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
