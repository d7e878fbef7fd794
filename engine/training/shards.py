"""A LoRA added to base weights file by file, one tensor in memory at a time.

    W + scale * B A    with scale alpha / rank, or alpha / sqrt(rank) for rank-stabilised adapters

(Hu et al. 2021, arXiv 2106.09685; Kalajdzievski 2023, arXiv 2312.03732), in float32 as PEFT's `merge_and_unload` has it
on a float32 model. What PEFT would do in another way is not done here: `sum_of` says why.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.core.errors import TrainingError
from engine.models.files import faults

WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"
_PREFIX, _SIDES = "base_model.model.", (".lora_A.weight", ".lora_B.weight")
_FLOATS = {"F64": 8, "F32": 4, "BF16": 2, "F16": 2}
WRITTEN = {"float64": "F64", "float32": "F32", "bfloat16": "BF16", "float16": "F16"}
# Of an adapter's configuration: what is used here, and what changes no weight. Anything else that is set is refused.
_KNOWN = {
    "auto_mapping", "base_model_name_or_path", "exclude_modules", "inference_mode", "lora_alpha",
    "lora_dropout", "init_lora_weights", "layers_pattern", "layers_to_transform", "megatron_core", "peft_type",
    "peft_version", "qalora_group_size", "r", "revision", "runtime_config", "target_modules",
    "task_type", "use_rslora",
}  # fmt: skip
_PLAIN_STARTS = (True, False, "gaussian", "eva", "orthogonal")  # the others change the base weights, too


@dataclass(frozen=True)
class Sum:
    """Base weights and the LoRA to be added: headers of the base's files by name, and the scale."""

    base: Path
    adapter: Path
    headers: Mapping[str, Mapping[str, Any]]
    touched: frozenset[str]  # names of the base's tensors
    scale: float

    def n_bytes(self, dtype: str) -> int:
        """What the weights take on disk in a data type, in bytes."""
        return sum(_size(one, dtype) for header in self.headers.values() for one in header.values())

    def write(self, folder: Path, dtype: str) -> None:
        """Write the merged weights into a folder, in files of the base's names, with index and configuration.

        Raises TrainingError for a sum that is not finite, with the tensor's name.
        """
        for name, header in self.headers.items():
            self._shard(name, header, folder / name, dtype)
        if set(self.headers) != {faults.WEIGHTS}:
            index = json.loads((self.base / faults.INDEX).read_text())
            index["metadata"] = {**(index.get("metadata") or {}), "total_size": self.n_bytes(dtype)}
            (folder / faults.INDEX).write_text(json.dumps(index, indent=2) + "\n")
        config = json.loads((self.base / faults.CONFIG).read_text())
        (folder / faults.CONFIG).write_text(json.dumps(_of_dtype(config, dtype), indent=2) + "\n")
        if (self.base / "generation_config.json").is_file():
            shutil.copyfile(self.base / "generation_config.json", folder / "generation_config.json")

    def _shard(self, name: str, header: Mapping[str, Any], file: Path, dtype: str) -> None:
        """One file: eight bytes with the header's length, the header, the tensors in its order."""
        import torch  # heavy
        from safetensors import safe_open

        # The widest types first, as safetensors writes them: so each tensor lies at a multiple of its type's size.
        order = sorted(header, key=lambda one: (-_size(header[one], dtype) // max(_count(header[one]), 1), one))
        entries: dict[str, Any] = {"__metadata__": {"format": "pt"}}
        end = 0
        for one in order:
            start, end = end, end + _size(header[one], dtype)
            kind = WRITTEN[dtype] if header[one]["dtype"] in _FLOATS else header[one]["dtype"]
            entries[one] = {"dtype": kind, "shape": header[one]["shape"], "data_offsets": [start, end]}
        text = json.dumps(entries, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)
        with (
            file.open("wb") as out,
            safe_open(self.base / name, "pt") as base,
            safe_open(self.adapter / WEIGHTS, "pt") as lora,
        ):
            out.write(len(text).to_bytes(8, "little") + text)
            for one in order:
                tensor = base.get_tensor(one)
                if one in self.touched:
                    a, b = (lora.get_tensor(key).float() for key in _keys(one))
                    tensor = (b @ a).mul_(self.scale).add_(tensor.float())
                    if not bool(tensor.isfinite().all()):
                        raise broken(f"{one} has NaN or infinite numbers once the adapter is added")
                if tensor.is_floating_point():
                    tensor = tensor.to(getattr(torch, dtype))
                out.write(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)


def sum_of(base: Path, adapter: Path) -> Sum | str:
    """The sum of base weights and a LoRA, both folders; or why only PEFT can merge them, in a few words.

    Reads headers only. Raises ModelError where a file of the base is missing or damaged.
    """
    config = json.loads((adapter / CONFIG).read_text())
    if why := _not_plain(config):
        return why
    if kind := faults.quantisation(base):
        return f"the base is quantised ({kind})"
    headers = {file.name: faults.header(file) for file, _ in faults.shards(base, whole=True)}
    tensors = {name: one for header in headers.values() for name, one in header.items()}
    if not (adapter / WEIGHTS).is_file():
        return "the adapter's weights are not in safetensors"
    lora = faults.header(adapter / WEIGHTS)
    touched = frozenset(_targets(lora))
    if {key for name in touched for key in _keys(name)} != set(lora):
        return "the adapter has more than a low-rank map for each linear map"
    if absent := sorted(touched - set(tensors)):
        return f"the base's files have no {absent[0]}"
    if any(name.startswith("lm_head.") for name in touched):
        return "the adapter is on the output matrix"
    for name in touched:
        (rank, to), (out, again) = (lora[key]["shape"] for key in _keys(name))
        if [out, to] != tensors[name]["shape"] or {rank, again} != {config["r"]}:
            return f"the adapter's shape is not that of {name}"
    if strange := {one["dtype"] for one in tensors.values()} & {"F8_E4M3", "F8_E5M2", "F4", "F8_E8M0"}:
        return f"the base's weights are {', '.join(sorted(strange))}"
    root = math.sqrt(config["r"]) if config.get("use_rslora") else config["r"]
    return Sum(base, adapter, headers, touched, config["lora_alpha"] / root)


def parameters_in(base: Path) -> int:
    """How many numbers the files of a folder's weights hold, by their headers. Raises ModelError as `sum_of` does."""
    headers = [faults.header(file) for file, _ in faults.shards(base, whole=True)]
    return sum(_count(one) for header in headers for one in header.values())


def broken(why: str) -> TrainingError:
    """The refusal of merged weights that are no numbers."""
    return TrainingError(f"the merged weights are broken: {why}", "Train the adapter anew. Nothing was left behind.")


def _not_plain(config: Mapping[str, Any]) -> str:
    """Why an adapter's configuration asks for more than a plain LoRA; empty where it does not."""
    if config.get("peft_type") != "LORA":
        return f"the adapter is {config.get('peft_type')}, no LoRA"
    others = [key for key, value in config.items() if key not in _KNOWN and value and (key, value) != ("bias", "none")]
    if config.get("init_lora_weights", True) not in _PLAIN_STARTS:
        others.append("init_lora_weights")
    return f"the adapter has {', '.join(sorted(others))}" if others else ""


def _targets(lora: Mapping[str, Any]) -> Iterator[str]:
    for key in lora:
        for side in _SIDES:
            if key.startswith(_PREFIX) and key.endswith(side):
                yield key.removeprefix(_PREFIX).removesuffix(side) + ".weight"


def _keys(name: str) -> tuple[str, str]:
    """The adapter's tensors A and B of a tensor of the base."""
    module = _PREFIX + name.removesuffix(".weight")
    return module + _SIDES[0], module + _SIDES[1]


def _count(one: Mapping[str, Any]) -> int:
    return math.prod(one["shape"])


def _size(one: Mapping[str, Any], dtype: str) -> int:
    """Bytes of a tensor once it is written."""
    if one["dtype"] in _FLOATS:
        return _count(one) * _FLOATS[WRITTEN[dtype]]
    start, end = one["data_offsets"]
    return int(end - start)


def _of_dtype(config: Mapping[str, Any], dtype: str) -> dict[str, Any]:
    """A configuration that says the data type of the written weights, wherever it says one."""
    found = {key: _of_dtype(value, dtype) if key.endswith("_config") and isinstance(value, dict) else value
             for key, value in config.items()}  # fmt: skip
    return found | {key: dtype for key in ("dtype", "torch_dtype") if key in found}
