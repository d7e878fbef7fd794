"""The single facts that make up a run's state: phases, audits, forecast, questions, events."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from engine.stats.shares import wilson
from store.outcomes import FAILING, tally

RATE_WINDOW_S = 30.0
RATE_LEAST_S = 1.0  # what came back at once from the store is no rate


def of_wanted(accepted: int, target: int) -> str:
    """27 of 40 accepted; more than was wanted is told as such."""
    if accepted > target:
        return f"{accepted:,} accepted ({target:,} wanted)"
    return f"{accepted:,} of {target:,} accepted"


@dataclass(slots=True)
class PhaseState:
    name: str
    state: str = "pending"  # pending running done stopped failed
    done: int = 0
    planned: int = 0
    accepted: int | None = None
    marks: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=64))

    @property
    def rate_per_s(self) -> float | None:
        """Items a second over the last half minute; None until two marks a second apart are known."""
        if self.state != "running" or len(self.marks) < 2:
            return None
        newest = self.marks[-1]
        oldest = next((mark for mark in self.marks if newest[0] - mark[0] <= RATE_WINDOW_S), self.marks[0])
        elapsed = newest[0] - oldest[0]
        return (newest[1] - oldest[1]) / elapsed if elapsed >= RATE_LEAST_S else None

    @property
    def eta_s(self) -> float | None:
        rate = self.rate_per_s
        left = self.planned - self.done
        return left / rate if rate and left > 0 else None

    @property
    def acceptance(self) -> tuple[float, float, float] | None:
        """Share accepted with its 95 % Wilson interval; None where the phase accepts nothing."""
        if self.accepted is None or self.done <= 0:
            return None
        return (self.accepted / self.done, *wilson(self.accepted, self.done))


@dataclass(frozen=True, slots=True)
class Audit:
    critic: str
    part: str
    auc: float | None
    may_filter: bool
    subject_kind: str = "sample"
    n_good: int | None = None  # items of the audit; None until the store was read
    n_bad: int | None = None
    auc_lo: float | None = None
    auc_hi: float | None = None
    calibration_error: float | None = None  # of a critic whose score tells a probability
    no_scale: bool = False  # it does not tell good anchors from corrupted ones

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Audit:
        """From a row of the table `audits`, `detail` parsed."""
        detail = row.get("detail") or {}
        same = ("critic", "part", "auc", "may_filter", "subject_kind", "n_good", "n_bad", "auc_lo", "auc_hi")
        told: dict[str, Any] = {name: row.get(name) for name in same}
        no_scale = "no_scale" in detail or math.isinf(detail.get("half_gap_nats") or 0.0)
        return cls(**told, calibration_error=detail.get("calibration_error"), no_scale=no_scale)


@dataclass(frozen=True, slots=True)
class GateTold:
    """How a gate was decided: its result, the checks that fail it, and how many passed of those that were tested."""

    result: str
    failed: tuple[str, ...] = ()
    told: str = ""

    @classmethod
    def of(cls, gate: Mapping[str, Any]) -> GateTold:
        """From a gate as the store's status tells it."""
        rows = gate["evidence"]
        failed = tuple(str(row["check_name"]) for row in rows if row["result"] in FAILING)
        return cls(gate["result"], failed, tally(rows))


@dataclass(frozen=True, slots=True)
class Moment:
    """One line of the events list; `at` is seconds since the epoch."""

    at: float
    level: str
    text: str
