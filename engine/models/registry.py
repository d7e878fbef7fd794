"""The registry of backends: which one loads a model. Each is imported where it is chosen, for the library behind it."""

from __future__ import annotations

from engine.models.files.source import resolve
from engine.models.requests import Model
from engine.models.vllm.choice import is_wanted


def load(name: str | None, *, batch_size: int | None = None, chat: bool = False) -> Model:
    """Load a model behind this door. Takes a second from the cache, half a minute the first time, more with vLLM.

    vLLM answers where it is installed and a GPU is there, transformers elsewhere; CAI_BACKEND names one of the two.

    With `chat` it keeps its chat template, and special tokens that a prompt spells are special: for an instruct model
    that a base model is compared with, never for the base itself.

    Raises ModelError with the reason where it can't be found, fetched or fitted into memory.
    """
    source = resolve(name)
    if source.servers:
        from engine.models.served.backend import OpenAIModel

        return OpenAIModel.load(source, batch_size=batch_size, chat=chat)
    if is_wanted():
        from engine.models.vllm.backend import VllmModel

        return VllmModel.load(source, batch_size=batch_size, chat=chat)
    from engine.models.local.backend import TransformersModel

    return TransformersModel.load(source, batch_size=batch_size, chat=chat)
