"""A training that can be started: what it is, on what examples, what it may take, and what locks it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.core.errors import TrainingError
from engine.evaluation.plan import repeated
from engine.models import adapters
from engine.models.files.source import local_folder, resolve
from engine.spec.provenance import derived_seed, short_hash
from engine.spec.sections import DpoSpec, SftSpec
from engine.spec.stage import StageSpec
from engine.training import forecast
from engine.training.examples import Examples, examples
from engine.training.locks import Lock, locks
from store.names import SUPERVISED
from store.read import Reader

LARGEST_MICRO_BATCH = 16


@dataclass(frozen=True)
class Plan:
    """A training that can be started: what it is, on what, and what it may take."""

    kind: str  # sft, dpo or a control
    method: str
    training_id: str
    folder: Path
    settings: SftSpec | DpoSpec
    adapter: Mapping[str, Any]
    seed: int
    found: Examples
    start: adapters.Adapter | None
    memory: forecast.Forecast | None
    locks: Sequence[Lock]
    done: bool

    @property
    def section(self) -> str:
        """The spec's section: a control is trained as SFT is."""
        return "sft" if self.kind in SUPERVISED else "dpo"

    @property
    def learns(self) -> str:
        """What the training process is told to do."""
        return "sft" if self.kind in SUPERVISED else self.method

    @property
    def steps(self) -> int:
        """Of the optimiser, where every example fits the length."""
        return steps_of(len(self.found.train), self.settings)


def steps_of(examples: int, settings: SftSpec | DpoSpec) -> int:
    """Steps of the optimiser over so many examples, none of them packed."""
    return math.ceil(-(-examples // settings.effective_batch) * settings.epochs)


def plan(
    reader: Reader, run: Mapping[str, Any], spec: StageSpec, kind: str, *, hours: float | None = None,
    price_per_hour: float | None = None, money_left: float | None = None, shards: int = 1,
) -> Plan:  # fmt: skip
    """What a training of a run would be, without touching anything. Raises TrainingError where the spec has none.

    `shards` is the number of devices that would share the weights.
    """
    settings: SftSpec | DpoSpec | None = spec.sft if kind in SUPERVISED else spec.dpo
    if settings is None or spec.adapter is None:
        raise TrainingError(
            f"the spec of this run has no section {kind!r}",
            "Take a spec that has one, or begin a run with a newer spec. Nothing was trained.",
        )
    method = kind if isinstance(settings, SftSpec) else settings.loss
    learns = "sft" if method in SUPERVISED else method
    share = settings.heldout_share if isinstance(settings, DpoSpec) else 0.0
    of = repeated(reader, run["run_id"])  # a repeat trains on the data of another run, which its locks are about, too
    data = run if of is None else reader.run(of)
    found = examples(reader, data, method, share)
    if hours is None:
        hours = _hours(reader, run, learns, steps_of(len(found.train), settings))
    start, lock = _start(reader, run, spec, learns)
    found_locks = locks(reader, data, spec, method, found, hours=hours, price_per_hour=price_per_hour,
                        money_left=money_left)  # fmt: skip
    adapter = spec.adapter.model_dump()
    # A control begins as SFT does and differs by its examples alone.
    seed = derived_seed(run["seed"], "training", "sft" if kind in SUPERVISED else kind) % 2**31
    identity = (run["fingerprint"], found.sha256, json.dumps(adapter, sort_keys=True),
                json.dumps(settings.model_dump(), sort_keys=True), start.sha256 if start else None, seed)  # fmt: skip
    training_id = f"{method}-{short_hash(*identity, length=8)}"
    folder = adapters.folder_of(reader.path, run["run_id"], training_id)
    made = adapters.of_run(reader, run["run_id"], training_id)
    done = made is not None and adapters.is_whole(made)
    return Plan(
        kind, method, training_id, folder, settings, adapter, seed, found, start,
        memory_of(run["model"], adapter, learns, settings, shards), [*found_locks, *lock], done,
    )  # fmt: skip


def _hours(reader: Reader, run: Mapping[str, Any], method: str, steps: int) -> float | None:
    """So many steps at the median time of the steps that were trained by this method on the model; None before any."""
    rows = reader.query(
        "SELECT median(s.seconds) AS seconds FROM training_steps s JOIN trainings t USING (run_id, training_id) "
        "JOIN runs r USING (run_id) WHERE t.method = ? AND r.model = ?",
        [method, run["model"]],
    )
    return None if rows[0]["seconds"] is None else steps * float(rows[0]["seconds"]) / 3600


def _start(
    reader: Reader, run: Mapping[str, Any], spec: StageSpec, method: str
) -> tuple[adapters.Adapter | None, list[Lock]]:
    """The adapter that a training begins with: SFT with its parent stage's, preferences with the run's SFT adapter."""
    known = run["manifest"].get("adapter")
    wrote = adapters.Adapter.of_facts(reader.path, known) if known else None
    if method == "sft":
        return wrote, _shape_lock(wrote, spec)
    start = adapters.of_run(reader, run["run_id"], "sft")
    if start is None and run["manifest"].get("round"):
        start = wrote
    shape = _shape_lock(start, spec)
    if method == "orpo":  # it learns the responses themselves besides the preference
        return start, shape
    told = f"it begins with {start.training_id}" if start else "this run has no SFT adapter yet"
    key = "Train it first: `cai train sft`."
    return start, [Lock("an SFT adapter to begin with", start is not None, told, key), *shape]


def _shape_lock(start: adapters.Adapter | None, spec: StageSpec) -> list[Lock]:
    """An adapter that is gone on with keeps its shape, whatever the spec says."""
    if start is None or spec.adapter is None:
        return []
    try:
        config = json.loads((start.folder / "adapter_config.json").read_text())
    except (OSError, ValueError):
        return []  # that its files are whole is looked at before it is used
    has, wants = (config.get("r"), config.get("lora_alpha")), (spec.adapter.rank, spec.adapter.alpha)
    if has == wants:
        return []
    found = f"{start.training_id} has rank {has[0]} and alpha {has[1]}, the spec says {wants[0]} and {wants[1]}"
    key = f"--set adapter.rank={has[0]} --set adapter.alpha={has[1]}, or train SFT anew."
    return [Lock("the adapter's shape", False, found, key)]


def memory_of(
    model: str, adapter: Mapping[str, Any], method: str, settings: SftSpec | DpoSpec, shards: int = 1
) -> forecast.Forecast | None:
    """The forecast, None where the model's files are not on this machine yet."""
    folder = local_folder(resolve(model))
    if folder is None:
        return None
    device = forecast.device()
    try:
        shape = forecast.shape_of(folder)
    except (OSError, KeyError, ValueError):
        return None
    width = 2 if device.is_gpu else 4
    found = forecast.fit(
        shape, adapter, method, longest=settings.max_length, effective_batch=settings.effective_batch,
        at_most=LARGEST_MICRO_BATCH, bytes_per_weight=width, device=device.n_bytes, shards=shards,
    )  # fmt: skip
    if method in forecast.REFERENCED and getattr(settings, "precompute_reference", False):
        return forecast.with_reference(found, shape, adapter, longest=settings.max_length, bytes_per_weight=width)
    return found
