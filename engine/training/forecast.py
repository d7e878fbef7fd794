"""How much memory training will take, before it takes it.

Weights, adapter, gradients, optimiser, activations and logits, each from the model's shape. Activations by Korthikanti
et al. 2022 (arXiv 2205.05198, equation 1) without the attention scores, which fused attention never keeps.
"""

from __future__ import annotations

import json
import math
import struct
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

ACTIVATION_BYTES = 34  # per token, layer and hidden unit at two bytes a number
SPARE = 0.1  # of the device, for fragments and the libraries' own buffers
CHUNK_TOKENS = 1024  # positions whose logits TRL's fused head holds at once
REFERENCED = ("dpo", "ipo", "kto")
FULL_LOGITS = ("orpo", "simpo")  # their trainers keep every logit


@dataclass(frozen=True)
class Shape:
    """Of a model: what its configuration and the headers of its weights say."""

    parameters: int
    linear: int  # those in the layers' linear maps, which QLoRA stores in four bits
    layers: int
    hidden: int
    intermediate: int
    vocabulary: int


@dataclass(frozen=True)
class Forecast:
    """Bytes on the device, and what they are for. `device` is what it has, None where that is not known."""

    weights: int
    adapter: int
    optimiser: int
    activations: int
    logits: int
    micro_batch: int
    gradient_checkpointing: bool
    device: int | None

    @property
    def total(self) -> int:
        return self.weights + self.adapter + self.optimiser + self.activations + self.logits

    @property
    def fits(self) -> bool:
        return self.device is None or self.total <= (1 - SPARE) * self.device

    def facts(self) -> dict[str, Any]:
        """Ready for JSON."""
        return asdict(self) | {"total": self.total, "fits": self.fits}


def shape_of(folder: Path) -> Shape:
    """The shape of the model in a folder with config.json and safetensors; reads no weights."""
    config = json.loads((folder / "config.json").read_text())
    config = config.get("text_config", config)
    sizes: dict[str, int] = {}
    for file in sorted(folder.glob("*.safetensors")):
        with file.open("rb") as stream:
            (length,) = struct.unpack("<Q", stream.read(8))
            header = json.loads(stream.read(length))
        for name, tensor in header.items():
            if name != "__metadata__":
                sizes[name] = math.prod(tensor["shape"])
    return Shape(
        sum(sizes.values()),
        sum(count for name, count in sizes.items() if name.endswith("proj.weight")),
        config["num_hidden_layers"],
        config["hidden_size"],
        config["intermediate_size"],
        config["vocab_size"],
    )


def forecast(
    shape: Shape,
    adapter: Mapping[str, Any],
    method: str,
    *,
    longest: int,
    micro_batch: int,
    gradient_checkpointing: bool,
    bytes_per_weight: int,
    device: int | None,
) -> Forecast:
    """Memory of training with examples of at most `longest` tokens, `micro_batch` of them on the device at once."""
    if adapter["kind"] == "qlora":
        # 4 bits a weight and 0.127 for the doubly quantised scales: Dettmers et al. 2023 (arXiv 2305.14314, section 3).
        # The rest is cast to float32 for training.
        weights = int(shape.linear * 4.127 / 8) + (shape.parameters - shape.linear) * 4
    else:
        weights = shape.parameters * bytes_per_weight
    # Rank times the widths of each linear map; seven of them in a layer, three of which touch the inner width.
    trained = shape.layers * adapter["rank"] * (4 * 2 * shape.hidden + 3 * (shape.hidden + shape.intermediate))
    sides = 1 if method == "sft" else 2
    tokens = sides * micro_batch * longest
    layer = tokens * shape.hidden * ACTIVATION_BYTES * bytes_per_weight // 2
    kept = tokens * shape.hidden * bytes_per_weight
    activations = shape.layers * kept + layer if gradient_checkpointing else shape.layers * layer
    positions = tokens if method in FULL_LOGITS else min(tokens, CHUNK_TOKENS)
    logits = positions * shape.vocabulary * (bytes_per_weight + 2 * 4)
    copies = 3 if method in REFERENCED else 2  # the adapter, its gradient, and one that stays as the reference
    return Forecast(
        weights, trained * 4 * copies, trained * 4 * 2, activations, logits, micro_batch, gradient_checkpointing, device
    )


def fit(shape: Shape, adapter: Mapping[str, Any], method: str, *, longest: int, effective_batch: int, at_most: int,
        bytes_per_weight: int, device: int | None) -> Forecast:  # fmt: skip
    """The largest micro-batch that fits, first without and then with gradient checkpointing.

    Micro-batches divide the effective batch, which never changes. Where nothing fits, the smallest is forecast: its
    `fits` is False.
    """
    sizes = [size for size in range(min(effective_batch, at_most), 0, -1) if effective_batch % size == 0]
    tried = [
        forecast(
            shape, adapter, method, longest=longest, micro_batch=size, gradient_checkpointing=checkpointing,
            bytes_per_weight=bytes_per_weight, device=device,
        )
        for checkpointing in (False, True)
        for size in sizes
    ]  # fmt: skip
    return next((one for one in tried if one.fits), tried[-1])


@dataclass(frozen=True, slots=True)
class Device:
    """What a model is trained on. `n_bytes` is the first GPU's memory, or what this machine can still give."""

    is_gpu: bool
    n_bytes: int | None


def device() -> Device:
    """Asks nvidia-smi, since torch would keep memory on the GPU for the engine."""
    try:
        asked = subprocess.run(
            ["nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits"],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
        return Device(True, int(asked.stdout.split()[0]) * 2**20)
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):
        return Device(False, psutil.virtual_memory().available)
