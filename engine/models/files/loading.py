"""A causal language model out of a folder or a hub name, with all of its weights from there and none made up.

torch and transformers are imported where a model is loaded, for they are heavy.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from engine.core.errors import ModelError, first_line
from engine.core.text import flat
from engine.models.files import faults

SHOWN = 200  # characters of what a library says
_SAFE = "Nothing was lost."


def causal_lm(path: str, **more: Any) -> Any:
    """A transformers model; `more` goes to `from_pretrained`. Code that travels with a model is never run.

    Raises ModelError for what can't be loaded, for weights that are not in the files, of another shape than the
    configuration's or no finite numbers, and MemoryError or torch's OutOfMemoryError.
    """
    import torch
    from transformers import AutoModelForCausalLM

    try:
        model, found = AutoModelForCausalLM.from_pretrained(
            path,
            trust_remote_code=False,
            use_safetensors=True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # told below: transformers only says that there are some
            **more,
        )
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # of a library that reads files of any kind
        if "trust_remote_code" in str(error):
            raise faults.own_code("the model") from None
        raise ModelError(
            f"the model could not be loaded: {flat(first_line(error), SHOWN)}",
            "Check the name, the network or the folder, and the free memory (`cai doctor`). Nothing was lost: "
            "`cai resume` goes on once it loads.",
        ) from error
    _require_all(found)
    _require_finite(model, path)
    return model


def _require_all(found: dict[str, Any]) -> None:
    if found["mismatched_keys"]:
        name, given, wanted = min(found["mismatched_keys"])
        raise ModelError(
            f"{name} has the shape {_shape(given)} in the files, config.json wants {_shape(wanted)}",
            f"Configuration and weights are of two models: take all files of one. {_SAFE}",
        )
    if missing := sorted(found["missing_keys"]):
        others = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise ModelError(
            f"the weights lack {missing[0]}{others}, which would be random numbers",
            f"Take all files of the causal language model, not of its trunk or of another class. {_SAFE}",
        )


def _require_finite(model: Any, path: str) -> None:
    import torch

    for name, stored in model.named_parameters():
        tensor = _numbers(stored)
        # A sum is read in one pass and is not finite where a number isn't; only then each number is looked at.
        if not tensor.is_floating_point() or bool(tensor.sum(dtype=torch.float32).isfinite()):
            continue
        if not bool(tensor.isfinite().all()):
            file = faults.file_of(Path(path), name) if Path(path).is_dir() else "a file of the weights"
            raise ModelError(
                f"{file} has NaN or infinite numbers in {name}",
                f"Download or copy it again, or take another checkpoint: this one is broken. {_SAFE}",
            )


def _numbers(stored: Any) -> Any:
    """A tensor, or of one in four bits its scales: the bits may be stored as another type, which they are not."""
    state = getattr(stored, "quant_state", None)
    if state is None:
        return stored
    return state.state2.absmax if state.nested else state.absmax


def _shape(sizes: Any) -> str:
    return " x ".join(map(str, sizes))
