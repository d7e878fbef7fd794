"""What a person asked for, and the run that it is about: a new one, or one that is in the store."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from engine.core.errors import SettingsModified, SpecError
from engine.phases.work import constitution_facts
from engine.review.options import ReviewOptions
from engine.spec import provenance
from engine.spec.stage import change, load_spec
from store.db import Store
from store.read import Reader

SMALL_SPEC = "stage_1_small_model"
LARGE_SPEC = "stage_1_explicit_instructions"


@dataclass(frozen=True)
class RunOptions:
    """What a person asked for. `resume` is a run's id or its beginning, "" the latest run; None starts a new one."""

    store: Path
    spec: str | None = None
    model: str | None = None
    seed: int | None = None
    pilot: int | None = None
    target: int | None = None
    until: str | None = None
    overrides: Mapping[str, str] = field(default_factory=dict)
    resume: str | None = None
    round_of: str | None = None  # a new run: the next round of this one, see engine.run.refresh
    batch_size: int | None = None  # what fits the device; no part of a run's identity
    train: tuple[str, ...] = ()  # sft, dpo: train a run that is there, with `overrides`, instead of going on with it
    accelerate: str | None = None  # a configuration of accelerate, by name or path, for training on many devices
    report_to: tuple[str, ...] = ()  # trackers that training also reports to
    evaluate: bool = False  # ask a run that is there the held-out items, instead of going on with it
    review: ReviewOptions = field(default_factory=ReviewOptions)  # who is asked where the spec wants a review
    price_per_gpu_hour: float | None = None  # US dollars
    price_per_gib_month: float | None = None  # US dollars, of the volume that the store lies on

    @property
    def aside(self) -> bool:
        """Whether this is work on a run that is there, which leaves the state of its data as it was."""
        return bool(self.train) or self.evaluate


def new_run(options: RunOptions) -> dict[str, Any]:
    from engine.models.source import resolve

    source = resolve(options.model)
    loaded = load_spec(options.spec or (SMALL_SPEC if source.embedded else LARGE_SPEC), options.overrides)
    settings = loaded.settings
    pilot = options.pilot if options.pilot is not None else settings.pilot
    target = options.target if options.target is not None else pilot
    if pilot <= 0 or target <= 0:
        raise SpecError("--pilot and --target must be at least 1", "No run was started.")
    return {
        **fresh(),
        "spec": loaded.name,
        "spec_sha256": loaded.sha256,
        "settings": settings.model_dump(),
        "overrides": {key: list(values) for key, values in loaded.overrides.items()},
        "seed": settings.seed if options.seed is None else options.seed,
        "model": source.name,
        "pilot": min(pilot, target),
        "target": target,
        "until": options.until,
        "manifest": {
            **provenance.manifest(),
            **({"constitution": constitution_facts()} if settings.pairs is not None else {}),
            "parent": settings.parent,
            "model_license": source.license,
            "model_notice": source.notice,
            "spec_text": loaded.path.read_text(),
        },
    }


def fresh() -> dict[str, Any]:
    """What every run has in common when it begins."""
    now = datetime.now(UTC)
    return {
        "run_id": f"{now:%Y%m%d-%H%M%S}-{secrets.token_hex(2)}",
        "created_at": now,
        "updated_at": now,
        "fingerprint": None,
        "until": None,
        "state": "stopped",
        "reason": "not started yet",
        "elapsed_s": 0.0,
    }


def reopened(store: Store, options: RunOptions) -> str:
    reader = store.reader()
    try:
        wanted = options.resume or reader.latest_run_id()
        if not wanted:
            raise SpecError(f"there is no run in {options.store} to resume", "Start one with `cai run`.")
        run = reader.run(wanted)
    finally:
        reader.close()
    if options.aside:
        return str(run["run_id"])
    fields: dict[str, Any] = {"until": options.until}
    if options.target is not None:
        fields["target"] = max(options.target, run["pilot"])
    store.update_run(run["run_id"], **fields)
    return str(run["run_id"])


def modify(store: Store, reader: Reader, run_id: str, changed: SettingsModified) -> dict[str, Any]:
    """Make the changed settings the run's own, beside its other deviations from the spec; returns the run.

    Raises SpecError for a setting that is none or out of bounds.
    """
    run = reader.run(run_id)
    old, new = run["settings"], change(run["settings"], changed.changes).model_dump()
    overrides = dict(run["overrides"])
    for key in changed.changes:
        was = overrides[key][0] if key in overrides else _value(old, key)
        overrides[key] = [was, _value(new, key)]
    store.update_run(run_id, settings=new, overrides=overrides)
    return reader.run(run_id)


def _value(settings: Mapping[str, Any], key: str) -> Any:
    found: Any = settings
    for part in key.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found
