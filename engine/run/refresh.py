"""Online refresh: the model that was trained on pairs writes the next pairs, and goes on from them.

A round is a run of its own, with its own seed, audit, gates and locks, whose data the adapter of the round before
writes: losses on pairs do better on answers of the model that learns (Guo et al. 2024, arXiv 2402.04792, section 3).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from engine.core.errors import TrainingError
from engine.models import adapters
from engine.spec import provenance
from engine.spec.stage import validate
from store.read import Reader
from store.salvage.clock import utc_now


@dataclass(frozen=True, slots=True)
class RoundSoFar:
    """One round: its number, from 1 for the run that all began with; its run, and what is left to do in it."""

    number: int
    run_id: str | None  # None: it has not begun
    before: str  # the run of the round before; of the first its own
    data_done: bool
    trained: bool


def rounds(reader: Reader, run_id: str) -> list[RoundSoFar]:
    """The rounds that the run's spec asks for (`dpo.rounds`), in order, as far as the store has them.

    Raises TrainingError where the spec asks for no more than one.
    """
    first = reader.run(run_id)
    spec = validate(first["settings"], f"run {first['run_id']}")
    if spec.dpo is None or spec.dpo.rounds < 2:
        raise TrainingError(
            "the spec of this run asks for no rounds",
            "Set dpo.rounds to 2 or more in the spec of a run. Nothing was started.",
        )
    found = []
    before = str(first["run_id"])
    for number in range(1, spec.dpo.rounds + 1):
        row: Mapping[str, Any] | None = first if number == 1 else _round(reader, before)
        if row is None:
            found.append(RoundSoFar(number, None, before, data_done=False, trained=False))
            continue
        own = str(row["run_id"])
        trained = adapters.of_run(reader, own, "dpo") is not None
        found.append(RoundSoFar(number, own, before, row["state"] == "done", trained))
        before = own
    return found


def round_row(reader: Reader, before: str, row: Mapping[str, Any]) -> dict[str, Any]:
    """The row of the run of the next round: the settings of the run `before`, another seed, and its adapter.

    `row` holds what every new run has. Raises TrainingError where that run has no adapter of preferences yet.
    """
    run = reader.run(before)
    adapter = adapters.of_run(reader, run["run_id"], "dpo")
    if adapter is None:
        raise TrainingError(
            f"run {run['run_id']} has no adapter of preferences yet",
            f"Train it first: cai train dpo {run['run_id']}. No run was started.",
        )
    adapters.require_whole(adapter)
    number = int(run["manifest"].get("round") or 1) + 1
    same = {name: run[name] for name in ("spec", "spec_sha256", "settings", "overrides", "model", "pilot", "target")}
    kept = {name: run["manifest"].get(name) for name in ("model_license", "model_notice", "spec_text", "constitution")}
    manifest = provenance.manifest() | kept
    manifest |= {"adapter": adapter.facts(reader.path), "round": number, "round_of": run["run_id"]}
    seed = provenance.derived_seed(run["seed"], "round", number) % 2**31
    return {**row, **same, "seed": seed, "manifest": manifest, "created_at": utc_now()}


def _round(reader: Reader, before: str) -> Mapping[str, Any] | None:
    """The newest run whose data the adapter of the run `before` writes, as a round."""
    rows = reader.query(
        "SELECT run_id FROM runs WHERE manifest->>'$.round_of' = ? ORDER BY created_at DESC LIMIT 1", [before]
    )
    return reader.run(rows[0]["run_id"]) if rows else None
