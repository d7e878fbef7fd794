"""What events tell of a training: the same figures in the control center and in plain lines."""

from __future__ import annotations

import statistics
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from tui.words.wording import phase_of

LOSSES_KEPT = 400
MARKS_KEPT = 21  # the time left is told from the last twenty steps


@dataclass(slots=True)
class TrainingState:
    """One training. `state` is running, done, stopped or failed; a loss is None until it was measured."""

    training_id: str
    method: str = ""
    state: str = "running"
    reason: str = ""
    step: int = 0
    planned: int = 0
    examples: int = 0
    loss: float | None = None
    heldout_loss: float | None = None
    reward_margin: float | None = None
    tokens_per_s: float | None = None
    memory_bytes: int | None = None
    losses: deque[float] = field(default_factory=lambda: deque(maxlen=LOSSES_KEPT))
    marks: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=MARKS_KEPT))

    @property
    def eta_s(self) -> float | None:
        """Time left, by the median of the last steps; None before two steps have ended and after the end."""
        spent = [(b[0] - a[0]) / (b[1] - a[1]) for a, b in pairwise(self.marks) if b[1] > a[1]]
        left = self.planned - self.step
        return left * statistics.median(spent) if spent and left > 0 and self.state == "running" else None

    def figures(self) -> list[str]:
        """Loss, held-out loss, reward margin and speed as words, as far as they are known."""
        told = (
            ("loss {:.4f}", self.loss),
            ("held-out {:.4f}", self.heldout_loss),
            ("margin {:+.3f}", self.reward_margin),
            ("{:,.0f} tok/s", self.tokens_per_s),
        )
        return [words.format(value) for words, value in told if value is not None]


class Trainings:
    """The trainings of a run that events told of, in the order in which they began; the last is the one at work."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._found: dict[str, TrainingState] = {}

    def __iter__(self) -> Iterator[TrainingState]:
        return iter(self._found.values())

    def __len__(self) -> int:
        return len(self._found)

    @property
    def latest(self) -> TrainingState | None:
        return next(reversed(self._found.values()), None)

    def of(self, phase: str) -> TrainingState | None:
        """The last training of a phase."""
        return next((one for one in reversed(self._found.values()) if phase_of(one.method) == phase), None)

    @property
    def ids(self) -> Sequence[str]:
        return list(self._found)

    def started(self, event: Any) -> None:
        """A training that begins, or begins again from its last checkpoint, with a smaller batch too."""
        one = self._found.pop(event.training_id, None) or TrainingState(event.training_id)
        self._found[event.training_id] = one
        one.method, one.state, one.reason = event.method, "running", ""
        one.step, one.planned, one.examples = event.done_steps, event.planned_steps, event.examples
        one.marks.clear()

    def stepped(self, event: Any) -> None:
        """A step, told again where a held-out loss was measured after it."""
        one = self._found.setdefault(event.training_id, TrainingState(event.training_id))
        if event.step != one.step or not one.marks:
            one.marks.append((self._clock(), event.step))
            one.losses.append(event.loss)
        one.step, one.planned, one.loss = event.step, event.planned_steps, event.loss
        one.reward_margin, one.memory_bytes = event.reward_margin, event.memory_bytes
        one.tokens_per_s = event.tokens_per_s
        if event.heldout_loss is not None:
            one.heldout_loss = event.heldout_loss
            one.marks.append((self._clock(), event.step))  # the measuring took time that is no step's

    def finished(self, event: Any) -> None:
        one = self._found.setdefault(event.training_id, TrainingState(event.training_id))
        one.method, one.state, one.reason = event.method, event.state, event.reason

    def went_on(self) -> None:
        """A pause is over, and was no slowness."""
        for one in self:
            one.marks.clear()
