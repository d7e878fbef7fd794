"""What happened, as frozen dataclasses in the past tense, carrying ids and scalars.

The engine emits them to one callable, from its own thread. Text written by a model is never in an event: the screen
reads it from the store by id.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from engine.core.nvidia import GpuLoad


@dataclass(frozen=True, slots=True)
class Event:
    run_id: str

    @property
    def kind(self) -> str:
        return type(self).__name__

    def payload(self) -> dict[str, Any]:
        """All fields but `run_id`, ready for JSON."""
        fields = asdict(self)
        fields.pop("run_id")
        return fields


@dataclass(frozen=True, slots=True)
class RunStarted(Event):
    spec: str
    model: str
    seed: int
    target: int
    resumed: bool


@dataclass(frozen=True, slots=True)
class ModelLoading(Event):
    model: str


@dataclass(frozen=True, slots=True)
class ModelLoaded(Event):
    """`at_once` is how many requests the model works on at once, `asked` whether a person said so."""

    model: str
    fingerprint: str
    elapsed_s: float
    at_once: int | None = None
    asked: bool = False


@dataclass(frozen=True, slots=True)
class PhaseStarted(Event):
    """A phase begins; others may be under way. `planned` may be a forecast, and PhaseProgressed tells it anew."""

    phase: str
    planned: int


@dataclass(frozen=True, slots=True)
class PhaseProgressed(Event):
    """Counts of one phase so far; `accepted` is None where the phase accepts nothing."""

    phase: str
    done: int
    planned: int
    accepted: int | None


@dataclass(frozen=True, slots=True)
class PhaseFinished(Event):
    phase: str
    done: int
    accepted: int | None


@dataclass(frozen=True, slots=True)
class ThroughputMeasured(Event):
    """Model work of the last interval: tokens written per second, items scored per second.

    `phase` names all phases that are under way, with a plus sign between them.
    """

    phase: str
    tokens_per_s: float
    items_per_s: float


@dataclass(frozen=True, slots=True)
class GpusMeasured(Event):
    """The GPUs at this moment; their means over a minute are rows of `metrics`."""

    phase: str
    gpus: tuple[GpuLoad, ...]


@dataclass(frozen=True, slots=True)
class MarginMeasured(Event):
    """One judged item. `score` is the calibrated margin: 0 at the critic's zero point, 1 at its good anchors.

    `verdict` is empty where it follows later, as that of a pair does.
    """

    critic: str
    subject_kind: str
    subject_id: str
    margin_nats: float
    score: float
    verdict: str


@dataclass(frozen=True, slots=True)
class GuardChecked(Event):
    passed: bool
    failed_checks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CriticAudited(Event):
    """`auc` is None where a part of the calibration set has only one class."""

    critic: str
    part: str
    auc: float | None
    may_filter: bool
    subject_kind: str = "sample"


@dataclass(frozen=True, slots=True)
class ForecastUpdated(Event):
    """Candidates needed to reach the target, with a 95 % interval; None where nothing was accepted yet."""

    accepted: int
    candidates: int
    needed: int | None
    needed_lo: int | None
    needed_hi: int | None


@dataclass(frozen=True, slots=True)
class GateDecided(Event):
    """`result` is passed, failed or not tested; `told` says how many checks passed of those that were tested."""

    gate: str
    passed: bool
    failed_checks: tuple[str, ...]
    result: str = ""
    told: str = ""


@dataclass(frozen=True, slots=True)
class QuestionAsked(Event):
    question_id: str
    topic: str
    question: str


@dataclass(frozen=True, slots=True)
class QuestionAnswered(Event):
    """`through` names the process whose screen it came through, here and below; empty where that is the run's own."""

    question_id: str
    answer: str
    through: str = ""


@dataclass(frozen=True, slots=True)
class Noted(Event):
    """Something a person should read: level is info, warning or error."""

    level: str
    text: str


@dataclass(frozen=True, slots=True)
class TrainingStarted(Event):
    """A training process is ready; `examples` are those that it learns from."""

    training_id: str
    method: str
    planned_steps: int
    done_steps: int
    examples: int
    device: str


@dataclass(frozen=True, slots=True)
class TrainingStepped(Event):
    """One step of the optimiser; its row has the rest. Losses in nats, None where a method has no such figure."""

    training_id: str
    step: int
    planned_steps: int
    loss: float
    heldout_loss: float | None
    reward_margin: float | None
    tokens_per_s: float
    memory_bytes: int | None


@dataclass(frozen=True, slots=True)
class CheckpointSaved(Event):
    training_id: str
    step: int
    n_bytes: int


@dataclass(frozen=True, slots=True)
class TrainingFinished(Event):
    """`state` is done, stopped or failed."""

    training_id: str
    method: str
    state: str
    reason: str


@dataclass(frozen=True, slots=True)
class RunPaused(Event):
    through: str = ""


@dataclass(frozen=True, slots=True)
class RunResumed(Event):
    through: str = ""


@dataclass(frozen=True, slots=True)
class StopAsked(Event):
    """The run ends at its next commit."""

    through: str = ""


@dataclass(frozen=True, slots=True)
class RunFinished(Event):
    """`state` is done, stopped, gate_failed, waiting, budget_reached or failed."""

    state: str
    reason: str
    accepted: int
    elapsed_s: float


Emit = Callable[[Event], None]


def restored(kind: str, run_id: str, payload: Mapping[str, Any]) -> Event | None:
    """The event of that kind with that payload, which went through JSON; None for one that is not known here."""
    found = globals().get(kind)
    if not (isinstance(found, type) and issubclass(found, Event)):
        return None
    known = {field.name for field in fields(found)}
    told = {
        name: tuple(value) if isinstance(value, list) else value for name, value in payload.items() if name in known
    }
    try:
        if found is GpusMeasured:
            told["gpus"] = tuple(GpuLoad(**one) for one in told["gpus"])
        return found(run_id, **told)
    except (KeyError, TypeError):  # of another version: something is missing
        return None
