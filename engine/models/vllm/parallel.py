"""How a model lies on a machine's GPUs: engines side by side where one GPU holds it, else one that several share.

Replicas win where the weights leave room: an engine that is shared waits for its slowest GPU twice a layer.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.core.errors import ModelError
from engine.models.files.source import Source, local_folder
from engine.models.files.weights import files_of
from engine.models.placement import CACHE_TOKENS, USED, Footprint
from engine.models.vllm.process import total_gpu_mib

PARALLEL = "CAI_PARALLEL"  # auto, or replicas and tensor size such as 4x2
GB = 10**9

_FORM = re.compile(r"([1-9]\d?)x([1-9]\d?)")


@dataclass(frozen=True, slots=True)
class Parallel:
    """How many engines there are, how many GPUs share each, and why; without a GPU they share the processor's cores."""

    replicas: int
    tensor: int
    reason: str
    on_gpu: bool = True


def parallel_of(source: Source) -> Parallel:
    """What CAI_PARALLEL says, else what the memory of the visible GPUs and the model's size say. Raises ModelError."""
    import torch  # heavy, and so is transformers
    from transformers import AutoConfig

    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    asked = _asked()
    if not gpus:
        if asked is not None and asked[1] == 1:
            return Parallel(*asked, f"{PARALLEL} says so", on_gpu=False)
        return Parallel(1, 1, "there is no GPU", on_gpu=False)
    config = AutoConfig.from_pretrained(files_of(source), trust_remote_code=False)
    found = footprint(config, None if source.embedded else local_folder(source))
    return chosen(found, gpus, min(total_gpu_mib(), default=0) * 2**20, asked)


def chosen(model: Footprint, gpus: int, memory: int, asked: tuple[int, int] | None = None) -> Parallel:
    """The parallelism on `gpus` GPUs of `memory` bytes each, 0 where that is unknown. Raises ModelError.

    `asked` is replicas and tensor size that a person wants instead.
    """
    shares = [share for share in range(1, gpus + 1) if model.divides(share)]
    if asked is not None:
        replicas, tensor = asked
        if replicas * tensor > gpus or tensor not in shares:
            raise ModelError(
                f"{PARALLEL}={replicas}x{tensor} does not go with {gpus} GPUs and this model, which "
                f"{', '.join(map(str, shares))} GPUs can share",
                f"Set {PARALLEL} to replicas x tensor size, such as {gpus}x1, or unset it. Nothing was started.",
            )
        return Parallel(replicas, tensor, f"{PARALLEL} says so")
    if not memory or not model.weights:
        return Parallel(1, shares[-1], "the size of the model or of the GPUs' memory is unknown")
    usable = int(USED * memory)
    share = next((share for share in shares if model.on_each(share) <= usable), None)
    sizes = f"{model.weights / GB:.1f} GB of weights, room for {CACHE_TOKENS:,} tokens"
    if share is None:
        each = model.on_each(shares[-1])
        short = f"{sizes}: {each / GB:.1f} GB on each of {shares[-1]} GPUs, of which vLLM takes {usable / GB:.1f}"
        return Parallel(1, shares[-1], f"{short}; it may not start")
    fits = f"{model.on_each(share) / GB:.1f} of the {usable / GB:.1f} GB that vLLM takes of a GPU"
    if share == 1:
        return Parallel(gpus, 1, f"one GPU holds it ({sizes}: {fits})")
    left = gpus % share
    idle = f"; {left} of {gpus} GPUs are left over" if left else ""
    return Parallel(gpus // share, share, f"the fewest GPUs that can share it ({sizes}: {fits}){idle}")


def footprint(config: Any, folder: Path | None) -> Footprint:
    """Of transformers' configuration, as vLLM holds it: 16 bits, the output matrix in 32 beside it.

    Quantised weights, and those of a class that transformers lacks, are as large as their files in `folder`; 0 where
    none are there.
    """
    text = config.get_text_config()
    heads = int(text.num_attention_heads)
    shared = int(getattr(text, "num_key_value_heads", None) or heads)
    width = int(getattr(text, "head_dim", None) or text.hidden_size // heads)
    files = sum(file.stat().st_size for file in folder.glob("*.safetensors")) if folder is not None else 0
    weights = files
    if not (files and getattr(config, "quantization_config", None)) and (parameters := _parameters(config)):
        weights = 2 * parameters + 4 * int(text.vocab_size) * int(text.hidden_size)
    token = 2 * 2 * int(text.num_hidden_layers) * shared * width
    return Footprint(weights, token, heads, shared, int(getattr(text, "intermediate_size", None) or 0))


def told(found: Parallel) -> str:
    """One line that says how and why."""
    engines = f"{found.replicas} engines" if found.replicas > 1 else "one engine"
    if not found.on_gpu:
        return f"vLLM: {engines} on the CPU, because {found.reason}; {PARALLEL} changes it"
    gpus = f"{found.tensor} GPUs" if found.tensor > 1 else "one GPU"
    each = f"{engines} of {gpus} each" if found.replicas > 1 else f"{engines} on {gpus}"
    return f"vLLM: {each}, because {found.reason}; {PARALLEL} changes it"


def _asked() -> tuple[int, int] | None:
    given = os.environ.get(PARALLEL, "")
    if given in ("", "auto"):
        return None
    if (form := _FORM.fullmatch(given)) is None:
        raise ModelError(
            f"{PARALLEL} is {given!r}", "Set it to auto, or to replicas x tensor size such as 4x2. Nothing was started."
        )
    return int(form[1]), int(form[2])


def _parameters(config: Any) -> int:
    """How many there are, by building the class without memory for them; 0 where transformers has no such class."""
    import torch
    from transformers import AutoModelForCausalLM

    try:
        with torch.device("meta"):
            return int(AutoModelForCausalLM.from_config(config).num_parameters())
    except (ValueError, ImportError):
        return 0


def devices(replicas: int, tensor: int, visible: Sequence[str]) -> list[str]:
    """What each engine may see, as a list with commas: its share of the GPUs' names, or of a CPU's cores."""
    each = tensor if tensor > 1 else max(len(visible) // replicas, 1)
    return [",".join(visible[n * each : (n + 1) * each]) for n in range(replicas)]
