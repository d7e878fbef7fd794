"""What events tell of the machine at work: throughput, the GPUs, and since when it waits for a person."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from engine.core.nvidia import GpuLoad

THROUGHPUT_KEPT = 120
WINDOW_S = 60.0  # over which a GPU has to be idle before anything is said
STALE_S = 15.0  # after which a measurement is none any more


class Gauges:
    """The newest of each, and how busy the GPUs were in the last minute in which the model was asked."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.tokens_per_s: deque[float] = deque(maxlen=THROUGHPUT_KEPT)
        self.items_per_s: float | None = None
        self.writes = False  # whether the phase at work makes tokens, or only scores
        self.at_once: int | None = None  # requests that the model works on at once
        self.asked = False  # whether a person said how many
        self.round: int | None = None  # lists of instructions that are asked for together
        self._gpus: tuple[GpuLoad, ...] = ()
        self._measured_at = 0.0
        self._waits: dict[str, float] = {}  # since when, by question; a pause has no name
        self._begun: float | None = None  # when the model was first asked since something else held it up
        self._marks: deque[tuple[float, str, float]] = deque()  # when, in which phase, and the mean share busy

    # -- what is read ------------------------------------------------------------------------------------------------

    @property
    def gpus(self) -> tuple[GpuLoad, ...]:
        """As they were measured last; none where that is long ago."""
        return self._gpus if self._clock() - self._measured_at <= STALE_S else ()

    @property
    def waited_s(self) -> float | None:
        """How long a person has been waited for, by a question or a pause; None where nobody is."""
        return self._clock() - min(self._waits.values()) if self._waits else None

    @property
    def busy(self) -> float | None:
        """The mean share busy over the last minute; None where the model was not asked for that long."""
        if self._begun is None or self._clock() - self._begun < WINDOW_S or not (self.gpus and self._marks):
            return None
        return sum(share for _, _, share in self._marks) / len(self._marks)

    @property
    def starved_in(self) -> str:
        """The phase in which most of the idle time of that minute lies."""
        idle: dict[str, float] = {}
        for _, phase, share in self._marks:
            idle[phase] = idle.get(phase, 0.0) + 1 - share
        return max(idle, key=lambda phase: idle[phase], default="")

    # -- what happened -----------------------------------------------------------------------------------------------

    def apply(self, event: Any, ago_s: float = 0.0) -> None:
        """Fold one event in, which happened so long ago; most kinds say nothing of the machine."""
        at = self._clock() - ago_s
        match event.kind:
            case "PhaseStarted":
                self.writes, self.items_per_s = False, None
            case "ThroughputMeasured":
                self._wrote(event.tokens_per_s)
                self.items_per_s = event.items_per_s
            case "TrainingStepped":
                self._wrote(event.tokens_per_s)
            case "GpusMeasured":
                self._measured(event.phase, event.gpus, at)
            case "ModelLoading":
                self._begin_anew()
            case "ModelLoaded":
                self.at_once, self.asked = event.at_once, event.asked
                self._begin_anew()
            case "QuestionAsked" | "RunPaused":
                self._waits.setdefault(getattr(event, "question_id", ""), at)
            case "QuestionAnswered" | "RunResumed":
                self._waits.pop(getattr(event, "question_id", ""), None)
                self._begin_anew()
            case "RunFinished":
                self._waits.clear()
                self._gpus = ()
                self._begin_anew()

    def load(self, settings: Mapping[str, Any]) -> None:
        """What of a run's settings decides how many requests there are at once."""
        self.round = (settings.get("instructions") or {}).get("round")

    def _wrote(self, tokens_per_s: float) -> None:
        self.writes = tokens_per_s > 0
        if self.writes:
            self.tokens_per_s.append(tokens_per_s)

    def _measured(self, phase: str, gpus: tuple[GpuLoad, ...], now: float) -> None:
        self._measured_at = now
        self._gpus = gpus
        shares = [one.busy for one in gpus if one.busy is not None]
        if self._waits or not shares:
            return
        self._marks.append((now, phase, sum(shares) / len(shares)))
        while self._marks[0][0] <= now - WINDOW_S:
            self._marks.popleft()
        if len(self._marks) == 1:  # a minute from here on has to pass: what lay before was not measured
            self._begun = now

    def _begin_anew(self) -> None:
        self._begun = None
        self._marks.clear()
