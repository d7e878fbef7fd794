"""Plans of trainings as the engine gives them, and the rows that a training leaves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from engine.models import checkpoints
from engine.models.adapters import folder_of
from tests.store import rows

GIB = 2**30
LOCKS = ("the guard passed", "the data gate passed", "the evidence is current", "enough examples")


def plan(kind: str = "sft", *, shut: tuple[str, ...] = (), **fields: Any) -> dict[str, Any]:
    """A plan like that of engine.training_plan; `shut` names its shut locks."""
    settings: dict[str, Any] = {
        "learning_rate": 2e-4, "schedule": "cosine", "warmup_share": 0.05, "effective_batch": 8, "epochs": 3.0,
        "max_length": 256, "weight_decay": 0.0, "max_grad_norm": 1.0, "checkpoint_every": 10, "patience": 3,
        "examples_at_least": 16,
    }  # fmt: skip
    settings |= (
        {"packing": False}
        if kind == "sft"
        else {"loss": "dpo", "beta": 0.1, "heldout_share": 0.05, "precompute_reference": True}
    )
    found: dict[str, Any] = {
        "run": "run-a",
        "kind": kind,
        "method": kind,
        "training_id": f"{kind}-new",
        "done": False,
        "examples": 69,
        "heldout": 4,
        "steps": 27,
        "start": None if kind == "sft" else "sft-1",
        "settings": settings,
        "adapter": {"kind": "lora", "rank": 16, "alpha": 32, "dropout": 0.05, "target_modules": "all-linear"},
        "memory": memory(),
        "locks": [
            {
                "name": name,
                "open": name not in shut,
                "found": "12 to train on \x1b[2J" if name in shut else "it is so",
                "key": f"Do something for {name}." if name in shut else "",
            }
            for name in LOCKS
        ],
    }
    return found | fields


def leave_checkpoint(store: Path, training_id: str, step: int) -> None:
    """A checkpoint of a training as its process leaves it."""
    folder = folder_of(store, "run-a", training_id)
    aside = folder / checkpoints.FOLDER / ".partial"
    aside.mkdir(parents=True)
    (aside / "weights").write_bytes(b"w")
    checkpoints.seal(aside, folder, step, None)


def memory(device: int | None = 16 * GIB, **fields: Any) -> dict[str, Any]:
    parts = {"weights": GIB, "adapter": 30 * 2**20, "optimiser": 30 * 2**20, "activations": GIB, "logits": 3 * GIB}
    total = sum(parts.values())
    found = parts | {"micro_batch": 8, "gradient_checkpointing": False, "device": device, "total": total, "fits": True}
    return found | fields


def finished_training(training_id: str = "sft-1", **fields: Any) -> rows.Row:
    """A training's row as the engine leaves it."""
    row = {
        "state": "done",
        "planned_steps": 10,
        "session_id": None,
        "elapsed_s": 233.0,
        "heldout_before": 1.38,
        "start_training": None,
        "adapter_path": f"s.trainings/run-a/{training_id}/adapter",
        "adapter_step": 10,
        "first_batch": [{"masked": "<bos>Instruction: \x1b]52;x\x07", "learned": " An answer.<eos>"}],
        "facts": {
            "examples": 69, "heldout": 4, "micro_batch": 4, "accumulation": 2, "micro_batches": [8, 4],
            "forecast": json.loads(json.dumps(memory())),
        },
    }  # fmt: skip
    return rows.training(training_id, **(row | fields))
