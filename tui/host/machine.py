"""How busy the machine is: CPU and memory by psutil, the GPU by nvidia-smi where there is one."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass

GPU_LIMIT_S = 3.0
_QUERY = ("--query-gpu=utilization.gpu,memory.used,memory.total", "--format=csv,noheader,nounits")


@dataclass(frozen=True, slots=True)
class Load:
    """Shares from 0 to 1, memory in GiB; `gpus` is one (share busy, used, total) a device."""

    cpu: float
    own_gib: float
    used_gib: float
    total_gib: float
    gpus: tuple[tuple[float, float, float], ...] = ()


class Machine:
    """Measures in a thread; the first CPU figure is that of the time since the program began to look."""

    def __init__(self) -> None:
        self._smi: str | None = ""  # "" until it was looked for, None where there is none

    def load(self) -> Load:
        import psutil

        memory = psutil.virtual_memory()
        return Load(
            psutil.cpu_percent() / 100,
            psutil.Process().memory_info().rss / 2**30,
            (memory.total - memory.available) / 2**30,
            memory.total / 2**30,
            self._gpus(),
        )

    def _gpus(self) -> tuple[tuple[float, float, float], ...]:
        if self._smi == "":
            self._smi = shutil.which("nvidia-smi")
        if self._smi is None:
            return ()
        try:
            done = subprocess.run(
                [self._smi, *_QUERY], capture_output=True, text=True, timeout=GPU_LIMIT_S, stdin=subprocess.DEVNULL
            )
        except (OSError, subprocess.TimeoutExpired):
            self._smi = None  # a driver that hangs is not asked again
            return ()
        return parse(done.stdout) if done.returncode == 0 else ()


def parse(text: str) -> tuple[tuple[float, float, float], ...]:
    """One device a line as nvidia-smi writes it, busy in percent, memory in MiB; a line of another form is left out."""
    found = []
    for line in text.splitlines():
        try:
            busy, used, total = (float(part) for part in line.split(","))
        except ValueError:
            continue
        found.append((busy / 100, used / 1024, total / 1024))
    return tuple(found)
