"""What nvidia-smi says of the machine's GPUs.

It is asked as a process of its own: the driver's library would have to be loaded by whoever asks, torch would keep
memory on a GPU, and a driver that does not answer would hold them up.
"""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass

LIMIT_S = 10.0
_LOAD = ("name", "utilization.gpu", "memory.used", "memory.total", "power.draw", "temperature.gpu")


@dataclass(frozen=True, slots=True)
class GpuLoad:
    """One GPU at a moment: memory in MiB, power in watts, temperature in degrees Celsius.

    `busy` is the share of the driver's last sample (a second at most) in which something ran on it. What the driver
    does not tell, as of a slice of a GPU, is None.
    """

    name: str
    busy: float | None
    used_mib: float
    total_mib: float
    watts: float | None = None
    celsius: float | None = None


def ask(*fields: str, limit_s: float = LIMIT_S) -> list[list[str]]:
    """The values of these fields of --query-gpu, a list for each GPU; none where nothing answers in time."""
    asked = ["nvidia-smi", f"--query-gpu={','.join(fields)}", "--format=csv,noheader,nounits"]
    try:
        found = subprocess.run(
            asked, capture_output=True, text=True, timeout=limit_s, check=True, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.SubprocessError):
        return []
    rows = [[part.strip() for part in line.split(",")] for line in found.stdout.splitlines()]
    return [row for row in rows if len(row) == len(fields)]


def loads(limit_s: float = LIMIT_S) -> tuple[GpuLoad, ...]:
    """The GPUs that this process may use, as they are now; none where there is none or no answer."""
    rows = ask("index", "uuid", *_LOAD, limit_s=limit_s)
    wanted = os.environ.get("CUDA_VISIBLE_DEVICES")
    if wanted is not None:
        names = [name for name in map(str.strip, wanted.split(",")) if name]
        rows = [row for row in rows if any(row[0] == name or row[1].startswith(name) for name in names)]
    found = (_load(*row[2:]) for row in rows)
    return tuple(one for one in found if one is not None)


def _load(name: str, busy: str, used: str, total: str, watts: str, celsius: str) -> GpuLoad | None:
    share, used_mib, total_mib = _number(busy), _number(used), _number(total)
    if used_mib is None or not total_mib:
        return None
    return GpuLoad(name, None if share is None else share / 100, used_mib, total_mib, _number(watts), _number(celsius))


def _number(text: str) -> float | None:
    """What the driver measured; None for its [N/A] and [Not Supported]."""
    try:
        return float(text)
    except ValueError:
        return None
