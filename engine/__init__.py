"""The pipeline: specs in, model calls out, rows to the store, events to whoever listens. It knows no screen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.events import Emit, Event, RunFinished
from engine.session import Engine, RunOptions, open_engine
from store import CaiError, Reader

__all__ = [
    "CaiError",
    "Emit",
    "Engine",
    "Event",
    "RunFinished",
    "RunOptions",
    "open_engine",
    "recheck",
    "training_plan",
]


def recheck(reader: Reader, run_id: str, overrides: Mapping[str, str]) -> dict[str, Any]:
    """Verdicts and QC of a run again from its stored rows under other settings; nothing is generated or changed.

    Returns {run, spec, overrides, before, after}, the last two with counts by kind and verdict and the gate's checks.
    Raises SpecError for an unknown setting.
    """
    from engine.gates import recompute
    from engine.pair_selection import recheck_pairs
    from engine.session import settings_of
    from engine.spec import StageSpec

    run = reader.run(run_id)

    def plain(spec: StageSpec) -> dict[str, Any]:
        found = recompute(reader, run["run_id"], spec)
        counts, decided = found.counts(), list(found.checks)
        if spec.pairs is not None:
            pairs = recheck_pairs(reader, run["run_id"], spec)
            verdicts = [verdict.verdict for verdict in pairs.verdicts.values()]
            counts["preference pair"] = {name: verdicts.count(name) for name in ("accepted", "rejected")}
            decided += pairs.checks
        checks = [
            {
                "name": c.name,
                "measured": c.measured,
                "lo": c.lo,
                "hi": c.hi,
                "n": c.n,
                "op": c.op,
                "threshold": c.threshold,
                "passed": c.passed,
                "subject_ids": list(c.subject_ids),
            }
            for c in decided
        ]
        return {"counts": counts, "checks": checks, "passed": all(c["passed"] for c in checks)}

    return {
        "run": run["run_id"],
        "spec": run["spec"],
        "overrides": dict(overrides),
        "before": plain(settings_of(run)),
        "after": plain(settings_of(run, overrides)),
    }


def training_plan(reader: Reader, run_id: str, kind: str, overrides: Mapping[str, str] | None = None) -> dict[str, Any]:
    """What a training of a run would be, as plain values: nothing is started or changed.

    `kind` is sft or dpo. Returns {run, kind, method, training_id, done, examples, heldout, steps, start, settings,
    adapter, memory, locks}; `memory` in bytes, None where the model's files are not here yet; each of `locks` {name,
    open, found, key}. Raises TrainingError where the run's spec has no such section, SpecError for an unknown setting.
    """
    from dataclasses import asdict

    from engine.session import settings_of
    from engine.training.plan import plan

    run = reader.run(run_id)
    found = plan(reader, run, settings_of(run, overrides), kind)
    return {
        "run": run["run_id"],
        "kind": found.kind,
        "method": found.method,
        "training_id": found.training_id,
        "done": found.done,
        "examples": len(found.found.train),
        "heldout": len(found.found.heldout),
        "steps": found.steps,
        "start": found.start.training_id if found.start else None,
        "settings": found.settings.model_dump(),
        "adapter": dict(found.adapter),
        "memory": found.memory.facts() if found.memory else None,
        "locks": [asdict(lock) for lock in found.locks],
    }
