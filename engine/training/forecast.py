"""How much memory training will take, before it takes it.

Weights, adapter, gradients, optimiser, activations and logits, each from the model's shape. Activations are counted as
the tensors that autograd keeps for the backward pass of a layer with an adapter on every linear map, fused attention
and frozen weights: what Korthikanti et al. 2022 (arXiv 2205.05198, section 4.1) do for a layer that is trained whole.
The coefficients are exact for Llama and Qwen 2 under transformers and PEFT: see tests/engine/training/test_forecast.py.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import psutil

from engine.core import nvidia
from engine.models.files.shapes import by_config

HEAD_NORMS = {"q_norm", "k_norm"}
SPARE = 0.1  # of the device, for fragments and the libraries' own buffers
CHUNK_TOKENS = 1024  # positions whose logits TRL's fused head holds at once
REFERENCED = ("dpo", "ipo", "kto")
LARGEST_REFERENCE_BATCH = 64  # pairs at once; more would only be padded more
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
    heads: int
    queries: int  # width of all heads' queries, and of what attention gives
    keys: int  # width of all heads' keys, and of their values
    norms: int = 2  # of the hidden width in a layer
    head_norms: bool = False  # whether queries and keys have norms of their own

    @property
    def largest(self) -> int:
        """Numbers in the largest linear map of a layer."""
        return self.hidden * max(self.intermediate, self.queries)


@dataclass(frozen=True)
class Forecast:
    """Bytes on the device, and what they are for. `device` is what it has, None where that is not known.

    `reference` is what the reference's log-probabilities take, all together, where they are computed before training;
    the training itself comes after them.
    """

    weights: int
    adapter: int
    optimiser: int
    activations: int
    logits: int
    micro_batch: int
    gradient_checkpointing: bool
    device: int | None
    reference: int = 0
    reference_batch: int | None = None  # pairs at once

    @property
    def total(self) -> int:
        step = self.weights + self.adapter + self.optimiser + self.activations + self.logits
        return max(step, self.reference)

    @property
    def fits(self) -> bool:
        return self.device is None or self.total <= (1 - SPARE) * self.device

    def facts(self) -> dict[str, Any]:
        """Ready for JSON."""
        return asdict(self) | {"total": self.total, "fits": self.fits}


def shape_of(folder: Path) -> Shape:
    """The shape of the model in a folder with config.json and safetensors; reads no weights.

    Without safetensors it is that of `shape_by_config`.
    """
    sizes: dict[str, int] = {}
    for file in sorted(folder.glob("*.safetensors")):
        with file.open("rb") as stream:
            (length,) = struct.unpack("<Q", stream.read(8))
            header = json.loads(stream.read(length))
        sizes |= {name: math.prod(one["shape"]) for name, one in header.items() if name != "__metadata__"}
    return _shape(folder / "config.json", sizes) if sizes else shape_by_config(folder / "config.json")


def shape_by_config(file: Path) -> Shape:
    """The shape of the model that a config.json describes; takes seconds. Raises ModelError where there is none."""
    return _shape(file, {name: math.prod(shape) for name, shape in by_config(file).items()})


def _shape(file: Path, sizes: Mapping[str, int]) -> Shape:
    """Of a configuration, and how many numbers each tensor has."""
    config = json.loads(file.read_text())
    config = config.get("text_config", config)
    first = [name for name in sizes if ".layers.0." in name and name.endswith("norm.weight")]
    norms = {name.rsplit(".", 2)[-2] for name in first}
    heads = config["num_attention_heads"]
    width = config.get("head_dim") or config["hidden_size"] // heads
    return Shape(
        sum(sizes.values()),
        sum(count for name, count in sizes.items() if name.endswith("proj.weight")),
        config["num_hidden_layers"],
        config["hidden_size"],
        config["intermediate_size"],
        config["vocab_size"],
        heads,
        heads * width,
        (config.get("num_key_value_heads") or heads) * width,
        len(norms - HEAD_NORMS) or 2,
        bool(norms & HEAD_NORMS),
    )


def layer_bytes(shape: Shape, adapter: Mapping[str, Any], bytes_per_weight: int) -> int:
    """What one layer keeps of one token for the backward pass, in bytes.

    `bytes_per_weight` is 2 for bfloat16 weights under autocast, else 4. Each norm keeps its input in float32. Beside
    weights of four bits norms are float32, so that the feed-forward part works in float32, too (peft's
    `prepare_model_for_kbit_training`). Dropout keeps its mask and what it gives for every linear map.
    """
    half, four_bits = bytes_per_weight == 2, adapter["kind"] == "qlora"
    norms = 4 * (shape.norms + (shape.queries + shape.keys) / shape.hidden * shape.head_norms)
    hidden, queries, keys = (10, 6, 4) if half else (8, 8, 8)
    inner = 14 if four_bits else 8 if half else 16
    kept = (hidden + norms) * shape.hidden + inner * shape.intermediate + queries * shape.queries + keys * shape.keys
    kept += 4 * shape.heads + 7 * adapter["rank"] * bytes_per_weight
    if adapter["dropout"]:
        to_hidden, to_queries = (20, 4) if half else (32, 8)
        kept += to_hidden * shape.hidden + 4 * shape.intermediate + to_queries * shape.queries
    return int(kept)


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
    shards: int = 1,
) -> Forecast:
    """Memory of one device in training with examples of at most `longest` tokens, `micro_batch` of them at once.

    `shards` is the number of devices that share weights, adapter and optimiser (FSDP, ZeRO stage 3).
    """
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
    layer = tokens * layer_bytes(shape, adapter, bytes_per_weight)
    # What goes from layer to layer is float32 where the embedding is: beside weights of four bits.
    kept = tokens * shape.hidden * (4 if adapter["kind"] == "qlora" else bytes_per_weight)
    activations = shape.layers * kept + layer if gradient_checkpointing else shape.layers * layer
    if adapter["kind"] == "qlora":
        activations += 2 * shape.largest  # one linear map at a time is written out in bfloat16
    if shards > 1:
        activations += 2 * bytes_per_weight * shape.linear // shape.layers  # a layer that is whole, and the next one
    positions = tokens if method in FULL_LOGITS else min(tokens, CHUNK_TOKENS)
    logits = positions * shape.vocabulary * (bytes_per_weight + 2 * 4)
    # The adapter, its gradient, its copy in half the precision, and one that stays as the reference.
    copies = 4 + 4 + (2 if bytes_per_weight == 2 else 0) + (4 if method in REFERENCED else 0)
    return Forecast(
        weights // shards, trained * copies // shards, trained * 4 * 2 // shards, activations, logits, micro_batch,
        gradient_checkpointing, device,
    )  # fmt: skip


def fit(shape: Shape, adapter: Mapping[str, Any], method: str, *, longest: int, effective_batch: int, at_most: int,
        bytes_per_weight: int, device: int | None, shards: int = 1) -> Forecast:  # fmt: skip
    """The largest micro-batch that fits, first without and then with gradient checkpointing.

    Micro-batches divide the effective batch, which never changes. Where nothing fits, the smallest is forecast: its
    `fits` is False.
    """
    sizes = [size for size in range(min(effective_batch, at_most), 0, -1) if effective_batch % size == 0]
    tried = [
        forecast(
            shape, adapter, method, longest=longest, micro_batch=size, gradient_checkpointing=checkpointing,
            bytes_per_weight=bytes_per_weight, device=device, shards=shards,
        )
        for checkpointing in (False, True)
        for size in sizes
    ]  # fmt: skip
    return next((one for one in tried if one.fits), tried[-1])


def with_reference(
    found: Forecast, shape: Shape, adapter: Mapping[str, Any], *, longest: int, bytes_per_weight: int
) -> Forecast:
    """The same with the reference's log-probabilities computed before training, as many pairs at once as fit.

    Nothing is kept for a backward pass, so that one layer's tensors at a time are counted, and no optimiser. Where the
    device is not known they may take what a step takes.
    """
    fixed = found.weights + found.adapter + CHUNK_TOKENS * shape.vocabulary * (bytes_per_weight + 2 * 4)
    width = bytes_per_weight
    if adapter["kind"] == "qlora":
        fixed, width = fixed + 2 * shape.largest, 4
    pair = 2 * longest * (layer_bytes(shape, adapter, bytes_per_weight) + width * shape.hidden)
    room = found.total if found.device is None else int((1 - SPARE) * found.device)
    batch = max(found.micro_batch, min((room - fixed) // pair, LARGEST_REFERENCE_BATCH))
    return replace(found, reference=fixed + batch * pair, reference_batch=batch)


@dataclass(frozen=True, slots=True)
class Device:
    """What a model is trained on. `n_bytes` is the first GPU's memory, or what this machine can still give."""

    is_gpu: bool
    n_bytes: int | None


def device() -> Device:
    """What a training would have here, without loading torch."""
    first = next(iter(nvidia.ask("memory.total")), [""])[0]
    return Device(True, int(first) * 2**20) if first.isdecimal() else Device(False, psutil.virtual_memory().available)
