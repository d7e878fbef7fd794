"""How busy the GPUs are while a run is worked on: told every two seconds, and kept as means over a minute.

The means are rows of `metrics`, by phase, so that time which was paid for and in which a GPU stood idle can be found
afterwards.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from engine.core.events import Emit, GpusMeasured
from engine.core.nvidia import GpuLoad, loads
from store.db import Store
from store.errors import CaiError
from store.salvage.clock import utc_now

EVERY_S = 2.0
KEPT_S = 60.0
ANSWER_S = 5.0  # that a measurement may take
MISSES = 3  # in a row, after which nothing is asked any more: there is no GPU, or its driver does not answer


@dataclass(slots=True)
class _Means:
    """Sums over time of one phase, each times the seconds that it stands for."""

    seconds: float = 0.0
    busy: float = 0.0
    least: float = 0.0
    gib: float = 0.0
    watts: float = 0.0

    def add(self, seconds: float, gpus: Sequence[GpuLoad]) -> None:
        shares = [one.busy for one in gpus if one.busy is not None]
        self.seconds += seconds
        self.busy += seconds * sum(shares) / len(shares)
        self.least += seconds * min(shares)
        self.gib += seconds * sum(one.used_mib for one in gpus) / 1024
        self.watts += seconds * sum(one.watts or 0.0 for one in gpus)

    def figures(self) -> dict[str, float]:
        """By the name in `metrics`; memory and power of all GPUs together."""
        return {
            "gpu_measured_s": self.seconds,
            "gpu_busy_percent": 100 * self.busy / self.seconds,
            "gpu_least_busy_percent": 100 * self.least / self.seconds,
            "gpu_memory_gib": self.gib / self.seconds,
            "gpu_power_w": self.watts / self.seconds,
        }


class GpuGauge:
    """Measures from a thread of its own for as long as one is inside; the run never waits for it.

    `phase` says what the run is busy with, `tell` is given each measurement. Where no GPU answers nothing is told and
    nothing kept; a GPU that does not say how busy it is is told and not kept.
    """

    def __init__(
        self,
        store: Store,
        run_id: str,
        session_id: str,
        phase: Callable[[], str],
        tell: Emit,
        *,
        measure: Callable[[], tuple[GpuLoad, ...]] = lambda: loads(ANSWER_S),
        every_s: float = EVERY_S,
        kept_s: float = KEPT_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store, self._run_id, self._session_id = store, run_id, session_id
        self._phase, self._tell, self._measure, self._clock = phase, tell, measure, clock
        self._every_s, self._kept_s = every_s, kept_s
        self._means: dict[str, _Means] = {}
        self._mark = self._kept_at = clock()
        self._lock = threading.Lock()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._keep_measuring, name="gpu-gauge", daemon=True)

    def __enter__(self) -> GpuGauge:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join(self._every_s)  # not longer: it may wait for a driver that does not answer
        self._keep()

    def _keep_measuring(self) -> None:
        misses = 0
        while misses < MISSES and not self._ending.wait(self._every_s):
            misses = 0 if self.look() else misses + 1

    def look(self) -> bool:
        """Measure once; False where no GPU answered."""
        gpus, phase = self._measure(), self._phase()
        if not gpus or self._ending.is_set():
            return bool(gpus)
        self._tell(GpusMeasured(self._run_id, phase, gpus))
        now = self._clock()
        with self._lock:
            if any(one.busy is not None for one in gpus):
                self._means.setdefault(phase, _Means()).add(min(now - self._mark, 2 * self._every_s), gpus)
            self._mark = now
        if now - self._kept_at >= self._kept_s:
            self._kept_at = now
            self._keep()
        return True

    def _keep(self) -> None:
        with self._lock:
            means, self._means = self._means, {}
        now = utc_now()
        stamp = {"run_id": self._run_id, "session_id": self._session_id, "at": now}
        rows = [
            {**stamp, "phase": phase, "name": name, "value": value}
            for phase, one in means.items()
            if one.seconds > 0
            for name, value in one.figures().items()
        ]
        with contextlib.suppress(CaiError):  # a full disk is the engine's to tell; these are no reason to end a run
            self._store.append({"metrics": rows})
