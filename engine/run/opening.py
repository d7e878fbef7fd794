"""The run that an order is about: a new one, or one that is in the store."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from engine.core.errors import SettingsModified, SpecError
from engine.models import registry
from engine.models.files.source import Source, resolve
from engine.run.orders import Evaluate, NewRun, Refit, Resume, Train
from engine.spec import provenance
from engine.spec.constitution import load_constitution
from engine.spec.stage import LoadedSpec, change, load_spec
from store.db import Store
from store.names import REPEAT_OF
from store.read import Reader
from store.salvage.clock import utc_now

SMALL_SPEC = "stage_1_small_model"
LARGE_SPEC = "stage_1_explicit_instructions"


@dataclass(frozen=True)
class Settled:
    """What a new run would be: its order, with the spec's and the model's defaults where it says nothing."""

    loaded: LoadedSpec
    source: Source
    seed: int
    pilot: int
    target: int

    @property
    def identity(self) -> dict[str, Any]:
        """The columns by which a run of the same settings is known, beside its overrides."""
        return {
            "spec_sha256": self.loaded.sha256,
            "model": self.source.name,
            "seed": self.seed,
            "pilot": self.pilot,
            "target": self.target,
        }

    def describes(self, run: Mapping[str, Any]) -> bool:
        """Whether a stored run has these settings."""
        same = all(run[name] == value for name, value in self.identity.items())
        return same and _text(run["overrides"]) == _text(self.loaded.overrides)


def settle(order: NewRun) -> Settled:
    """Find the spec, the model and the numbers of a new run. Raises CaiError for one that cannot be."""
    source = resolve(order.model)
    registry.require_sound(source)
    loaded = load_spec(order.spec or (SMALL_SPEC if source.embedded else LARGE_SPEC), order.overrides)
    settings = loaded.settings
    pilot = order.pilot if order.pilot is not None else settings.pilot
    target = order.target if order.target is not None else pilot
    if pilot <= 0 or target <= 0:
        raise SpecError("--pilot and --target must be at least 1", "No run was started.")
    seed = settings.seed if order.seed is None else order.seed
    return Settled(loaded, source, seed, min(pilot, target), target)


def new_run(order: NewRun) -> dict[str, Any]:
    """The row of a new run."""
    settled = settle(order)
    loaded, settings, source = settled.loaded, settled.loaded.settings, settled.source
    return {
        **fresh(),
        **settled.identity,
        "spec": loaded.name,
        "settings": settings.model_dump(),
        "overrides": {key: list(values) for key, values in loaded.overrides.items()},
        "until": order.until,
        "manifest": {
            **provenance.manifest(),
            **({"constitution": load_constitution().facts()} if settings.pairs is not None else {}),
            "parent": settings.parent,
            "model_license": source.license,
            "model_notice": source.notice,
            "spec_text": loaded.path.read_text(),
        },
    }


def fresh() -> dict[str, Any]:
    """What every run has in common when it begins."""
    now = utc_now()
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


def reopened(store: Store, order: Resume | Train | Evaluate | Refit) -> str:
    """The id of the stored run that an order names; one that goes on is told how far."""
    with store.reader() as reader:
        wanted = order.resume or reader.latest_run_id()
        if not wanted:
            raise SpecError(f"there is no run in {order.store} to resume", "Start one with `cai run`.")
        run = reader.run(wanted)
        run_id, of = str(run["run_id"]), run["manifest"].get(REPEAT_OF)
    if of and isinstance(order, Resume | Refit):
        raise SpecError(
            f"run {run_id} repeats the training of {of} and makes no data of its own",
            f"Go on with its repeats: cai repeat {of}. Nothing was started.",
        )
    if isinstance(order, Resume):
        store.update_run(run_id, until=order.until)
    return run_id


def modify(store: Store, reader: Reader, run_id: str, changed: SettingsModified) -> dict[str, Any]:
    """Make the changed settings the run's own, beside its other deviations from the spec; returns the run.

    Raises SpecError for a setting that is none or out of bounds.
    """
    store.update_run(run_id, **deviating(reader.run(run_id), changed.changes))
    return reader.run(run_id)


def deviating(run: Mapping[str, Any], changes: Mapping[str, str]) -> dict[str, Any]:
    """The columns `settings` and `overrides` of a run with these changes of its settings."""
    old, new = run["settings"], change(run["settings"], changes).model_dump()
    overrides = dict(run["overrides"])
    for key in changes:
        was = overrides[key][0] if key in overrides else _value(old, key)
        overrides[key] = [was, _value(new, key)]
    return {"settings": new, "overrides": overrides}


def _value(settings: Mapping[str, Any], key: str) -> Any:
    found: Any = settings
    for part in key.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found


def _text(overrides: Mapping[str, Any]) -> str:
    return json.dumps(overrides, sort_keys=True)
