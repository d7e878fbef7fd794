"""What the Training room reads: the trainings of a run, their steps as they come, their checkpoints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from store import Reader

STEPS_AT_ONCE = 20_000


@dataclass(frozen=True, slots=True)
class Found:
    """All trainings of a run, oldest first; of one of them its checkpoints and the steps after `after`."""

    run_id: str
    trainings: Sequence[Mapping[str, Any]]
    training_id: str
    steps: Sequence[Mapping[str, Any]]
    after: int
    checkpoints: Sequence[Mapping[str, Any]]


def trainings(reader: Reader, run_id: str, wanted: str, known: int) -> Found:
    """Read them; of the training `wanted` (else the newest) only the steps after step `known`."""
    rows = reader.query(
        "SELECT training_id, method, state, reason, planned_steps, device, device_bytes, started_at FROM trainings "
        "WHERE run_id = ? ORDER BY started_at, training_id",
        [run_id],
    )
    names = [str(row["training_id"]) for row in rows]
    chosen = wanted if wanted in names else (names[-1] if names else "")
    after = known if chosen == wanted else 0
    steps = reader.query(
        "SELECT step, epoch, loss, learning_rate, grad_norm, entropy, reward_margin, reward_accuracy, heldout_loss, "
        "n_tokens, seconds, memory_bytes FROM training_steps WHERE run_id = ? AND training_id = ? AND step > ? "
        f"ORDER BY step LIMIT {STEPS_AT_ONCE}",
        [run_id, chosen, after],
    )
    checkpoints = reader.query(
        "SELECT step, path, n_bytes, heldout_loss FROM checkpoints WHERE run_id = ? AND training_id = ? ORDER BY step",
        [run_id, chosen],
    )
    return Found(run_id, rows, chosen, steps, after, checkpoints)
