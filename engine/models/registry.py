"""The registry of backends: which one loads a model. Each is imported where it is chosen, for the library behind it."""

from __future__ import annotations

import functools
import importlib.util
from pathlib import Path
from typing import Any

from engine.core.errors import ModelError
from engine.models.confirming import confirmed
from engine.models.files import faults
from engine.models.files.source import Source, local_folder, resolve
from engine.models.requests import Model
from engine.models.vllm.choice import is_wanted
from engine.models.where import Where, where


def require_sound(source: Source) -> None:
    """Raise ModelError where a model's files are on this machine and seen to be wrong before their weights are read."""
    place = where()
    folder = None if source.embedded else local_folder(source)
    if folder is None:
        return
    faults.require_sound(folder, whole=Path(source.path).is_dir())
    kind = faults.quantisation(folder)
    if kind and place == Where() and not is_wanted():
        raise ModelError(
            f"its weights are quantised ({kind}), and transformers would not give their exact scores here",
            "Name the folder with the full weights, or use vLLM on a GPU, which reads them (CAI_BACKEND=vllm). "
            "Nothing was lost.",
        )


def spread(name: str | None) -> str:
    """How a model will lie on this machine's devices, and why; empty where vLLM does not load it.

    Empty, too, where its configuration cannot be read: `load` says what is wrong then. Raises ModelError.
    """
    if where() != Where() or not is_wanted() or (source := resolve(name)).servers:
        return ""
    from engine.models.vllm.parallel import parallel_of, told  # heavy

    try:
        return told(parallel_of(source))
    except (OSError, ValueError):
        return ""


def load(
    name: str | None,
    *,
    batch_size: int | None = None,
    chat: bool = False,
    lora_rank: int = 0,
    lora_slots: int = 1,
    fingerprint: str | None = None,
) -> Model:
    """Load a model behind this door. Takes a second from the cache, half a minute the first time, more with vLLM.

    vLLM answers where it is installed and a GPU is there, transformers elsewhere; CAI_BACKEND names one of the two.

    With `chat` it keeps its chat template, and special tokens that a prompt spells are special: for an instruct model
    that a base model is compared with, never for the base itself.

    `lora_rank` is of the largest adapter that is to come: an engine that is started for it need not be started again.
    `lora_slots` is how many adapters are asked at the same time.
    `fingerprint` is that of the run which goes on with it, for a model that is not here but answers by files.

    Raises ModelError with the reason where it can't be found, fetched or fitted into memory.
    """
    source, place = resolve(name), where()
    require_sound(source)
    if place.file is not None:
        from engine.models.elsewhere.backend import WritingModel

        return WritingModel.load(source, place.file, fingerprint, chat=chat)
    if place.cluster is not None:
        how = {"batch_size": batch_size, "chat": chat, "lora_rank": lora_rank, "lora_slots": lora_slots}
        return _on_cluster(source, place.cluster, how)
    if source.servers:
        from engine.models.served.backend import OpenAIModel

        return confirmed(OpenAIModel.load(source, batch_size=batch_size, chat=chat), source)
    if is_wanted():
        from engine.models.vllm.backend import VllmModel

        found = VllmModel.load(source, batch_size=batch_size, chat=chat, lora_rank=lora_rank, slots=lora_slots)
        return confirmed(found, source)
    from engine.models.local.backend import TransformersModel

    return TransformersModel.load(source, batch_size=batch_size, chat=chat)


def _on_cluster(source: Source, address: str, how: dict[str, Any]) -> Model:
    """A model that the workers of a cluster load, each as this program does on its machine. Raises ModelError."""
    if source.servers:
        raise ModelError(
            "a model behind servers is not loaded on a cluster",
            "Leave --on out: the servers are asked from here. Nothing was started.",
        )
    if importlib.util.find_spec("ray") is None:
        raise ModelError(
            "Ray is not installed",
            "Install the extra `scale` (pip install 'cai-control-center[scale]') here and on all nodes of the cluster, "
            "or leave --on out. Nothing was started.",
        )
    from engine.models.ray.backend import RayModel  # heavy

    name = source.name if source.embedded else source.path
    return RayModel.load(source, address, functools.partial(load, name, **how))
