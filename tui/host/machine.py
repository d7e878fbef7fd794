"""How busy the machine is: CPU and memory by psutil, its GPUs where there are any."""

from __future__ import annotations

from dataclasses import dataclass

from engine.core.nvidia import GpuLoad, loads

GPU_LIMIT_S = 3.0


@dataclass(frozen=True, slots=True)
class Load:
    """`cpu` is a share from 0 to 1, memory is in GiB."""

    cpu: float
    own_gib: float
    used_gib: float
    total_gib: float
    gpus: tuple[GpuLoad, ...] = ()


class Machine:
    """Measures in a thread; the first CPU figure is that of the time since the program began to look."""

    def __init__(self) -> None:
        self._answers = True  # whether a GPU may: a driver that hangs is not asked again

    def load(self, *, gpus: bool = True) -> Load:
        """As it is now; without `gpus` those are measured by whoever works on the run."""
        import psutil

        memory = psutil.virtual_memory()
        return Load(
            psutil.cpu_percent() / 100,
            psutil.Process().memory_info().rss / 2**30,
            (memory.total - memory.available) / 2**30,
            memory.total / 2**30,
            self._gpus() if gpus else (),
        )

    def _gpus(self) -> tuple[GpuLoad, ...]:
        found = loads(GPU_LIMIT_S) if self._answers else ()
        self._answers = bool(found)
        return found
