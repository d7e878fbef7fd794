"""The parameters of a model that is not there: names and shapes by its configuration alone."""

from __future__ import annotations

from pathlib import Path

from engine.core.errors import ModelError, first_line
from engine.core.text import flat
from engine.models.files import faults

SHOWN = 200  # characters of what a library says


def by_config(file: Path) -> dict[str, tuple[int, ...]]:
    """The shape of each parameter of the causal language model that a config.json describes; no memory is taken.

    Tied parameters stand once. Raises ModelError where transformers has no such model.
    """
    import torch  # heavy, and so is transformers
    from transformers import AutoConfig, AutoModelForCausalLM

    try:
        config = AutoConfig.from_pretrained(file, trust_remote_code=False)
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    except Exception as error:  # of a library that reads files of any kind
        if "trust_remote_code" in str(error):
            raise faults.own_code("the model") from None
        raise ModelError(
            f"{file} describes no causal language model: {flat(first_line(error), SHOWN)}",
            "Name the folder of a decoder-only base model. Nothing was started.",
        ) from error
    return {name: tuple(value.shape) for name, value in model.named_parameters()}
