"""What a person asks of the engine: one order for each kind of work, with what that work needs to be told.

Nothing is imported here but the standard library: the screen makes orders before the store or a model is touched.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from engine.review.options import ReviewOptions  # which loads the store


@dataclass(frozen=True)
class _Order:
    """What every order says beside its work: where, who is asked, at which prices."""

    store: Path
    _: KW_ONLY
    batch_size: int | None = None  # what fits the device; no part of a run's identity
    review: ReviewOptions | None = None  # who is asked where the spec wants a review; None: a person
    price_per_gpu_hour: float | None = None  # US dollars
    price_per_gib_month: float | None = None  # US dollars, of the volume that the store lies on

    @property
    def aside(self) -> tuple[str, ...]:
        """The phases of work on a run that is there, which leaves the state of its data as it was; else nothing."""
        return ()


@dataclass(frozen=True)
class NewRun(_Order):
    """Begin a run, or go on with one of the same settings that is in the store, unless `another` is asked for."""

    spec: str | None = None
    model: str | None = None
    seed: int | None = None
    pilot: int | None = None
    target: int | None = None
    until: str | None = None
    overrides: Mapping[str, str] = field(default_factory=dict)
    another: bool = False
    resume: ClassVar[None] = None


@dataclass(frozen=True)
class Resume(_Order):
    """Go on with a run: `resume` is its id or the id's beginning, "" the latest run."""

    resume: str = ""
    until: str | None = None
    model: ClassVar[None] = None  # a run keeps the one that it began with


@dataclass(frozen=True)
class Round(_Order):
    """Begin the round that follows the run `round_of`, as a run of its own; see engine.run.refresh."""

    round_of: str
    resume: ClassVar[None] = None


@dataclass(frozen=True)
class Train(_Order):
    """Train the model of a run; `train` are the kinds, sft and dpo, in their order."""

    resume: str
    train: tuple[str, ...]
    overrides: Mapping[str, str] = field(default_factory=dict)
    accelerate: str | None = None  # a configuration of accelerate, by name or path, for training on many devices
    report_to: tuple[str, ...] = ()  # trackers that training also reports to

    @property
    def aside(self) -> tuple[str, ...]:
        return self.train


@dataclass(frozen=True)
class Evaluate(_Order):
    """Ask the models of a run the held-out items, or what `suites` of benchmarks ask."""

    resume: str
    overrides: Mapping[str, str] = field(default_factory=dict)
    suites: tuple[str, ...] = ()  # names of the lm-evaluation-harness or of this program, or files that describe a task
    evaluate: ClassVar[tuple[str, ...]] = ("evaluation",)

    @property
    def aside(self) -> tuple[str, ...]:
        return self.evaluate


@dataclass(frozen=True)
class Refit(_Order):
    """Fit a run's probe of samples on persons' labels too, and decide anew on what is there, for a reason."""

    resume: str
    reason: str
    overrides: ClassVar[Mapping[str, str]] = {}

    @property
    def aside(self) -> tuple[str, ...]:
        return ("refit",)


Order = NewRun | Resume | Round | Train | Evaluate | Refit
