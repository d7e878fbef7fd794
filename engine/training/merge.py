"""Weights with an adapter merged into them, for a server that knows no adapters; how far they drift is measured.

The sum is made in float32: in bfloat16 part of a small adapter is rounded away, and greedy answers change. What is
written has the data type of the base weights, so the drift that is reported is that of the files themselves.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.core.errors import TrainingError
from engine.core.figures import mebibytes
from engine.models import adapters
from engine.models.checkpoints import tree_sha256
from engine.models.files.loading import causal_lm
from engine.models.files.source import local_folder, resolve
from engine.models.files.tokenizer import tokenizer_of
from engine.models.files.weights import files_of
from engine.training.drift import PROMPTS, drift_of, too_large
from engine.training.shards import WRITTEN, Sum, broken, parameters_in, sum_of
from store.disk import aside
from store.read import Reader

FACTS = "merge.json"
BY_FILE, BY_PEFT = "file by file", "by PEFT"
_BESIDE_BYTES = 64 * 2**20  # on the disk, for the tokenizer and the small files
FOUR_BITS = (
    "trained beside base weights in nf4, merged into and served on the base's own weights; "
    "what that changes is not part of the drift: compare the merged model with `cai evaluate`"
)


@dataclass(frozen=True)
class _Parts:
    """What is merged: a run's finished adapter and the folder of its base weights."""

    run: str
    model: str
    kind: str | None  # lora or qlora, as it was trained; None where its row does not say
    adapter: adapters.Adapter
    base: Path

    @property
    def identity(self) -> dict[str, Any]:
        """What `merge.json` says of it, and is known again by."""
        return {"run": self.run, "training": self.adapter.training_id, "adapter_sha256": self.adapter.sha256,
                "base_model": self.model}  # fmt: skip


def merge_adapter(
    reader: Reader, run_id: str, wanted: str, out: Path, *, dtype: str | None = None, prompts: Sequence[str] = PROMPTS
) -> dict[str, Any]:
    """Merge the adapter `wanted` (sft, dpo or a training's id) of a run into its base weights, into the folder `out`.

    `dtype` is that of the written weights (default: the base weights'). Returns {run, training, adapter_sha256,
    base_model, dtype, way, why, trained_on, out, files, n_bytes, sha256, drift, not_measured}. `way` is "file by file",
    which holds one tensor in memory, or "by PEFT", `why` then says why the whole model was needed. `drift` is that of
    `engine.training.drift`, None where the model does not fit the free memory; `not_measured` then says why, and the
    command that measures it. The folder appears whole or not at all. Raises TrainingError.
    """
    parts = _parts(reader, run_id, wanted)
    out = Path(out).expanduser().absolute()
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise TrainingError(f"{out} is there already", "Nothing was written; choose another --out.")
    stored = dtype or _dtype_of(parts.base)
    plan = sum_of(parts.base, parts.adapter.folder) if stored in WRITTEN else f"the base's weights are {stored}"
    parameters = parameters_in(parts.base)
    large = too_large(parameters)
    if isinstance(plan, str) and large:
        raise TrainingError(
            f"only PEFT can merge this adapter, since {plan}, and that holds the whole model: {large}",
            "Merge on a machine with more memory, or serve the adapter beside its base. Nothing was written.",
        )
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        _require_room(out.parent, plan.n_bytes(stored) if isinstance(plan, Sum) else parameters * _width(stored))
    except OSError as error:
        raise TrainingError(f"{out} can't be written: {error}", "Choose another --out.") from error
    facts = parts.identity | {"dtype": stored, "way": BY_FILE if isinstance(plan, Sum) else BY_PEFT,
                              "why": plan if isinstance(plan, str) else None,
                              "trained_on": FOUR_BITS if parts.kind == "qlora" else None}  # fmt: skip
    try:
        with aside(out) as folder:
            if isinstance(plan, Sum):
                plan.write(folder, stored)
            else:
                _by_peft(parts, folder, stored)
            tokenizer = tokenizer_of(str(parts.base))
            tokenizer.chat_template = None
            tokenizer.save_pretrained(folder)
            drift = None if large else drift_of(parts.base, parts.adapter.folder, folder, prompts)
            facts |= {"drift": drift, "not_measured": _later(parts, out, large) if large else None}
            (folder / FACTS).write_text(json.dumps(facts, indent=1))
            shutil.copyfile(parts.adapter.folder / "README.md", folder / "README.md")
            folder.chmod(0o755)
            if out.exists():
                out.rmdir()
            folder.rename(out)
    except OSError as error:
        raise TrainingError(
            f"the merged weights could not be written: {error}",
            "They need as much room as the base model. Nothing was left behind.",
        ) from error
    return _told(out, facts)


def measure_drift(
    reader: Reader, run_id: str, wanted: str, out: Path, *, prompts: Sequence[str] = PROMPTS
) -> dict[str, Any]:
    """Measure the drift of weights that `merge_adapter` wrote into `out`, and note it there; returns the same.

    Raises TrainingError where `out` holds no such weights, or the model does not fit the free memory.
    """
    parts = _parts(reader, run_id, wanted)
    out = Path(out).expanduser().absolute()
    try:
        facts = json.loads((out / FACTS).read_text())
    except (OSError, ValueError):
        facts = {}
    if {key: facts.get(key) for key in parts.identity} != parts.identity:
        raise TrainingError(
            f"{out} does not hold {parts.adapter.training_id} merged",
            "Name the run, --what and the folder with which it was merged. Nothing was changed.",
        )
    if large := too_large(parameters_in(parts.base)):
        raise TrainingError(f"the drift can't be measured here: {large}", "Run it on a machine with more memory.")
    facts |= {"drift": drift_of(parts.base, parts.adapter.folder, out, prompts), "not_measured": None}
    renewed = out / f".{FACTS}.partial"
    try:
        renewed.write_text(json.dumps(facts, indent=1))
        renewed.replace(out / FACTS)
    except OSError as error:
        renewed.unlink(missing_ok=True)
        raise TrainingError(f"{out / FACTS} can't be written: {error}", "The weights are as they were.") from error
    return _told(out, facts)


def _parts(reader: Reader, run_id: str, wanted: str) -> _Parts:
    run = reader.run(run_id)
    found = adapters.of_run(reader, run["run_id"], wanted)
    if found is None:
        raise TrainingError(
            f"run {run['run_id']} has no finished adapter {wanted!r}",
            "Train it with `cai train`, or name another with --what. Nothing was written.",
        )
    adapters.require_whole(found)
    source = resolve(run["model"])
    files_of(source)
    base = local_folder(source)
    if base is None:
        raise TrainingError(
            f"the weights of {run['model']} are not on this machine",
            f"Fetch them with `hf download {source.path}`, then merge again. Nothing was written.",
        )
    rows = reader.query(
        "SELECT settings->>'$.adapter.kind' AS kind FROM trainings WHERE run_id = ? AND training_id = ?",
        [run["run_id"], found.training_id],
    )
    return _Parts(run["run_id"], run["model"], rows[0]["kind"] if rows else None, found, base)


def _dtype_of(base: Path) -> str:
    """The data type of the base weights by their configuration, else bfloat16."""
    from transformers import AutoConfig  # heavy

    found = AutoConfig.from_pretrained(base, trust_remote_code=False).dtype
    return str(found).removeprefix("torch.") if found is not None else "bfloat16"


def _width(dtype: str) -> int:
    import torch  # heavy

    return int(getattr(torch, dtype).itemsize)


def _require_room(place: Path, n_bytes: int) -> None:
    needed, free = n_bytes + _BESIDE_BYTES, shutil.disk_usage(place).free
    if free < needed:
        raise TrainingError(
            f"the merged weights take {mebibytes(needed)}, {mebibytes(free)} are free in {place}",
            "Free some space, or name an --out on another volume. Nothing was written.",
        )


def _by_peft(parts: _Parts, folder: Path, dtype: str) -> None:
    """PEFT's own merge, with the whole model in memory in float32."""
    import torch  # heavy
    from peft import PeftModel

    model = causal_lm(str(parts.base), dtype=torch.float32)
    adapted = PeftModel.from_pretrained(model, str(parts.adapter.folder))
    try:
        merged = adapted.merge_and_unload(safe_merge=True)
    except ValueError as error:  # weights that are no numbers
        raise broken(str(error)) from error
    merged.to(getattr(torch, dtype)).save_pretrained(folder)


def _later(parts: _Parts, out: Path, why: str) -> dict[str, str]:
    command = f"cai merge {parts.run} --what {parts.adapter.training_id} --out {out} --drift"
    return {"why": why, "command": command}


def _told(out: Path, facts: dict[str, Any]) -> dict[str, Any]:
    files = [path for path in out.iterdir() if path.is_file()]
    sizes = {"files": len(files), "n_bytes": sum(path.stat().st_size for path in files)}
    return facts | {"out": str(out), **sizes, "sha256": tree_sha256(out)}
