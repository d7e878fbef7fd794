"""What the Training room reads: trainings of a run, their steps as they come, their checkpoints, what could be trained.

A step is read again when the next one is: its held-out loss is measured after it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from store.text import json_ready
from tui.words.wording import phase_of

if TYPE_CHECKING:
    from store.read import Reader

STEPS_AT_ONCE = 20_000
OTHERS_AT_MOST = 50  # trainings of a store that are offered for laying over
_ACCOUNT = (
    "training", "method", "state", "reason", "steps", "planned_steps", "examples", "first_loss", "last_loss",
    "heldout_before", "heldout_after", "reward_margin", "elapsed_s", "start", "adapter",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class TrainingRead:
    """All trainings of a run, oldest first; of one of them its checkpoints and the steps after `after`."""

    run_id: str
    trainings: Sequence[Mapping[str, Any]]
    training_id: str
    steps: Sequence[Mapping[str, Any]]
    after: int
    checkpoints: Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class LaidOver:
    """Another training of the store with its steps, and its place among those that could be laid over."""

    run_id: str
    training_id: str
    state: str
    steps: Sequence[Mapping[str, Any]]
    place: int
    of: int


def trainings(reader: Reader, run_id: str, wanted: str, known: int) -> TrainingRead:
    """Read them; of the training `wanted` (else the newest) only the steps after step `known`."""
    from store import progress

    rows = progress.trainings(reader, run_id)
    names = [str(row["training_id"]) for row in rows]
    chosen = wanted if wanted in names else (names[-1] if names else "")
    after = known if chosen == wanted else 0
    steps = _steps(reader, run_id, chosen, after)
    checkpoints = reader.query(
        "SELECT step, path, n_bytes, heldout_loss FROM checkpoints WHERE run_id = ? AND training_id = ? "
        "AND kept IS DISTINCT FROM false ORDER BY step",
        [run_id, chosen],
    )
    return TrainingRead(run_id, rows, chosen, steps, after, checkpoints)


def _steps(reader: Reader, run_id: str, training_id: str, after: int = 0) -> list[dict[str, Any]]:
    return reader.query(
        "SELECT step, epoch, loss, learning_rate, grad_norm, entropy, reward_margin, reward_accuracy, heldout_loss, "
        "n_tokens, seconds, memory_bytes FROM training_steps WHERE run_id = ? AND training_id = ? AND step > ? "
        f"ORDER BY step LIMIT {STEPS_AT_ONCE}",
        [run_id, training_id, after],
    )


def lay_over(reader: Reader, run_id: str, training_id: str, last: LaidOver | None) -> LaidOver | None:
    """The training to lay over this one after `last`, None behind the last one and where there is no other.

    Of the store's trainings that took a step: those of the same method first, then those of the same run, the newest
    first.
    """
    rows = reader.query(
        "SELECT t.run_id, t.training_id, t.state FROM trainings t JOIN trainings o "
        "ON o.run_id = $1 AND o.training_id = $2 WHERE (t.run_id != $1 OR t.training_id != $2) "
        "AND EXISTS (FROM training_steps s WHERE s.run_id = t.run_id AND s.training_id = t.training_id) "
        "ORDER BY t.method != o.method, t.run_id != $1, t.started_at DESC, t.run_id, t.training_id "
        f"LIMIT {OTHERS_AT_MOST}",
        [run_id, training_id],
    )
    names = [(row["run_id"], row["training_id"]) for row in rows]
    known = (last.run_id, last.training_id) if last is not None else None
    at = names.index(known) + 1 if known in names else 0
    if at == len(rows):
        return None
    found = more = _steps(reader, *names[at])
    while len(more) == STEPS_AT_ONCE:
        more = _steps(reader, *names[at], more[-1]["step"])
        found += more
    return LaidOver(*names[at], rows[at]["state"], found, at + 1, len(rows))


def first_batch(reader: Reader, run_id: str, training_id: str) -> list[dict[str, str]]:
    """The first batch of a training as it was decoded, each row {masked, learned}."""
    rows = reader.query("SELECT first_batch FROM trainings WHERE run_id = ? AND training_id = ?", [run_id, training_id])
    return json.loads(rows[0]["first_batch"]) if rows and rows[0]["first_batch"] else []


def training_offer(reader: Reader, run_id: str, kind: str, price_per_hour: float | None = None) -> dict[str, Any]:
    """What a training of a run would be, as `engine.training_plan` says, and how far it came before.

    What was left in the middle last is offered with the settings that it was begun with; `changed` are those that are
    not the run's own. `stands` is {state, reason, step} of a training that was begun, `step` that of its last whole
    checkpoint; None of one that was not. Raises CaiError where the run's spec has no such training.
    """
    from engine.analyses.offers import training_plan
    from engine.models import checkpoints
    from engine.models.adapters import folder_of
    from store import progress

    rows = [row for row in progress.trainings(reader, run_id) if phase_of(row["method"]) == kind]
    last = max(rows, key=lambda row: row["updated_at"], default=None)
    changed: dict[str, str] = {}
    if last is not None and last["state"] in ("stopped", "failed"):
        changed = _changed(reader.run(run_id)["settings"], last["settings"])
    plan = training_plan(reader, run_id, kind, changed, price_per_hour=price_per_hour)
    if changed and last is not None and plan["training_id"] != last["training_id"]:
        # its data or its model are others now
        changed, plan = {}, training_plan(reader, run_id, kind, {}, price_per_hour=price_per_hour)
    plan = {**plan, "changed": changed}
    begun = next((row for row in rows if row["training_id"] == plan["training_id"]), None)
    if begun is None:
        return {**plan, "stands": None}
    # On disk, not in the store: a process whose engine was killed keeps a checkpoint by itself.
    kept, _ = checkpoints.newest(folder_of(reader.path, run_id, plan["training_id"]))
    stands = {"state": begun["state"], "reason": begun["reason"], "step": 0 if kept is None else kept.step}
    return {**plan, "stands": stands}


def _changed(settings: Mapping[str, Any], used: Mapping[str, Any]) -> dict[str, str]:
    """The settings of a training that are not its run's own, as --set takes them."""
    return {
        f"{section}.{name}": json.dumps(value)
        for section, values in used.items()
        if isinstance(values, Mapping)
        for name, value in values.items()
        if (settings.get(section) or {}).get(name) != value
    }


def training_accounts(reader: Reader, run_id: str, training_ids: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """Each training in short, as JSON has it, of those named or of all.

    Losses are in nats, `heldout_after` that of the adapter's step where it has one, else the last; `adapter` is a path
    relative to the store's folder, None until it is done.
    """
    from store import progress

    found = []
    for row in progress.trainings(reader, run_id):
        if training_ids is not None and row["training_id"] not in training_ids:
            continue
        measured = reader.query(
            "SELECT count(*) AS steps, arg_min(loss, step) AS first_loss, arg_max(loss, step) AS last_loss, "
            "arg_max(heldout_loss, step) FILTER (heldout_loss IS NOT NULL) AS heldout_last, "
            "max(heldout_loss) FILTER (step = $3) AS heldout_adapter, "
            "arg_max(reward_margin, step) FILTER (reward_margin IS NOT NULL) AS reward_margin "
            "FROM training_steps WHERE run_id = $1 AND training_id = $2",
            [run_id, row["training_id"], row["adapter_step"]],
        )[0]
        after = measured["heldout_last"] if measured["heldout_adapter"] is None else measured["heldout_adapter"]
        known = {
            **row, **measured, "training": row["training_id"], "examples": row["facts"].get("examples"),
            "heldout_after": after, "start": row["start_training"], "adapter": row["adapter_path"],
        }  # fmt: skip
        found.append({name: known[name] for name in _ACCOUNT})
    ready: list[dict[str, Any]] = json_ready(found)
    return ready
