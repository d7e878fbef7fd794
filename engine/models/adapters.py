"""Adapters that were trained: where they lie, which one a run or a stage has, and the folder that one leaves."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from engine.core.errors import TrainingError
from engine.models import checkpoints
from store.disk import force_to_disk
from store.inert.markdown import fence, inline
from store.names import CONTROL_TRAININGS, REPEAT_OF, SUPERVISED
from store.read import Reader

FOLDER = "adapter"
ASIDE = ".adapter.partial"


@dataclass(frozen=True, slots=True)
class Adapter:
    """One that is done. `sha256` is of its files as they were written."""

    training_id: str
    method: str
    folder: Path
    sha256: str

    def facts(self, store: Path) -> dict[str, str]:
        """What a manifest keeps of it."""
        path = str(self.folder.relative_to(store.parent))
        return {"training_id": self.training_id, "method": self.method, "path": path, "sha256": self.sha256}

    @classmethod
    def of_facts(cls, store: Path, facts: Mapping[str, str]) -> Adapter:
        """The adapter that a manifest names."""
        return cls(facts["training_id"], facts["method"], store.parent / facts["path"], facts["sha256"])


def folder_of(store: Path, run_id: str, training_id: str) -> Path:
    """Where a training keeps its files: beside the store, so that the two travel together."""
    return store.parent / f"{store.stem}.trainings" / run_id / training_id


def of_run(reader: Reader, run_id: str, wanted: str) -> Adapter | None:
    """The newest adapter of a run: `wanted` is sft, dpo (of any preference loss), a control, or a training's id."""
    condition = "method = ?" if wanted in SUPERVISED else "training_id = ?"
    if wanted == "dpo":
        condition = "method NOT IN (SELECT unnest(?::VARCHAR[]))"
    rows = reader.query(
        f"SELECT training_id, method, adapter_path, adapter_sha256 FROM trainings WHERE run_id = ? AND state = 'done' "
        f"AND adapter_path IS NOT NULL AND {condition} ORDER BY updated_at DESC LIMIT 1",
        [run_id, list(SUPERVISED) if wanted == "dpo" else wanted],
    )
    return _adapter(reader, rows[0]) if rows else None


def of_stage(reader: Reader, spec: str, base: str) -> Adapter | None:
    """The adapter that was trained last in a run of a spec, on base weights of the fingerprint `base`.

    A control's is none, nor is that of a repeat: data of the next stage are of the run that makes the claim.
    """
    rows = reader.query(
        "SELECT t.training_id, t.method, t.adapter_path, t.adapter_sha256 FROM trainings t "
        "JOIN runs r USING (run_id) WHERE r.spec = ? AND t.state = 'done' AND t.adapter_path IS NOT NULL "
        f"AND t.method NOT IN (SELECT unnest(?::VARCHAR[])) AND r.manifest->>'$.{REPEAT_OF}' IS NULL "
        "AND coalesce(r.manifest->>'$.model.base_fingerprint', r.fingerprint) = ? ORDER BY t.updated_at DESC LIMIT 1",
        [spec, list(CONTROL_TRAININGS), base],
    )
    return _adapter(reader, rows[0]) if rows else None


def _adapter(reader: Reader, row: Mapping[str, Any]) -> Adapter:
    folder = reader.path.parent / row["adapter_path"]
    return Adapter(row["training_id"], row["method"], folder, row["adapter_sha256"])


def is_whole(adapter: Adapter) -> bool:
    """Whether the adapter's files are there and those that were written."""
    try:
        return checkpoints.tree_sha256(adapter.folder) == adapter.sha256
    except OSError:
        return False


def require_whole(adapter: Adapter) -> None:
    """Raise TrainingError unless the adapter's files are those that were written."""
    try:
        found = checkpoints.tree_sha256(adapter.folder)
    except OSError as error:
        raise TrainingError(
            f"the adapter {adapter.training_id} is not in {adapter.folder}: {error.strerror}",
            "It lies in a folder beside the store: move it there again, or train anew.",
        ) from error
    if found != adapter.sha256:
        raise TrainingError(
            f"the adapter {adapter.training_id} was changed since it was trained",
            f"Its files in {adapter.folder} have another hash: restore them, or train anew.",
        )


def finish(
    run: Mapping[str, Any], row: Mapping[str, Any], steps: Sequence[Mapping[str, Any]], folder: Path, step: int
) -> Adapter:
    """Put an adapter that the process left aside in its place, with manifest, figures and card.

    The folder appears whole or not at all. Raises TrainingError where it can't be written.
    """
    facts = row["facts"]
    manifest = {
        "run": run["run_id"],
        "training": row["training_id"],
        "method": row["method"],
        "model": run["model"],
        "fingerprint": run["fingerprint"],
        "settings": row["settings"],
        "data_sha256": row["data_sha256"],
        "begun_with": row["start_training"],
        "weights_of_step": step,
        "facts": facts,
        "constitution": run["manifest"].get("constitution"),
    }
    metrics = "".join(json.dumps(one, default=str) + "\n" for one in steps)
    place, sha256 = put_in_place(folder, manifest, metrics, _card(run, row, steps, step))
    return Adapter(row["training_id"], row["method"], place, sha256)


def put_in_place(folder: Path, manifest: Mapping[str, Any], metrics: str, card: str) -> tuple[Path, str]:
    """The same with the texts of these files; returns the adapter's folder and the hash of what is in it."""
    aside, place = folder / ASIDE, folder / FOLDER
    try:
        (aside / "manifest.json").write_text(json.dumps(manifest, indent=1, default=str))
        (aside / "metrics.jsonl").write_text(metrics)
        (aside / "README.md").write_text(card)
        force_to_disk(aside)
        shutil.rmtree(place, ignore_errors=True)
        aside.rename(place)
        force_to_disk(folder, deep=False)
        return place, checkpoints.tree_sha256(place)
    except OSError as error:
        raise TrainingError(
            f"the adapter could not be put in place: {error}",
            "Free some space, then the same command does the last step again from the last checkpoint.",
        ) from error


def _card(run: Mapping[str, Any], row: Mapping[str, Any], steps: Sequence[Mapping[str, Any]], step: int) -> str:
    """The model card, every figure of it from the rows."""
    licence = str(run["manifest"].get("model_license") or "other")
    front = {
        "base_model": run["model"],
        "library_name": "peft",
        "license": licence,
        "tags": ["constitutional-ai", row["method"], "lora"],
    }
    facts = row["facts"]
    heldout = [one for one in steps if one["heldout_loss"] is not None]
    figures: list[tuple[str, Any]] = [
        ("run", run["run_id"]),
        ("training", row["training_id"]),
        ("method", row["method"]),
        ("begun with", row["start_training"] or "a new adapter"),
        ("base model", f"{run['model']} (fingerprint {run['fingerprint']})"),
        ("examples", facts.get("examples")),
        ("held out", facts.get("heldout")),
        ("SHA-256 of the data", row["data_sha256"]),
        ("trained parameters", facts.get("trainable")),
        ("steps", steps[-1]["step"] if steps else 0),
        ("weights of step", step),
        ("loss, first and last step", f"{steps[0]['loss']:.4f}, {steps[-1]['loss']:.4f}" if steps else "–"),
        ("held-out loss before", "–" if row["heldout_before"] is None else f"{row['heldout_before']:.4f}"),
        *((f"held-out loss at step {one['step']}", f"{one['heldout_loss']:.4f}") for one in heldout[-5:]),
        ("device", row["device"]),
    ]
    table = "\n".join(f"| {name} | {inline(str(value))} |" for name, value in figures)
    settings = yaml.safe_dump(row["settings"], sort_keys=True)
    data = "data that the base model wrote itself and that its critics and rules let pass"
    if row["method"] in CONTROL_TRAININGS:
        data = "candidates drawn at random, whatever its critics said of them: a control, made to be compared with SFT"
    return (
        f"---\n{yaml.safe_dump(front, sort_keys=False)}---\n\n"
        f"# {inline(row['training_id'])} of {inline(run['model'])}\n\n"
        f"A low-rank adapter on a base model, trained on {data}.\n\n| what | value |\n|---|---|\n{table}\n\n"
        f"## Settings\n\n{fence(settings, 40_000)}\n\n"
        "## Prompt\n\nCompletion mode, without a chat template: `Instruction: …\\nResponse:`; the response ends with "
        "the end marker.\n"
    )
