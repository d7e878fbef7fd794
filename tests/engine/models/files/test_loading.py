"""What is asked of weights that were loaded: that every number is one."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from engine.core.errors import ModelError
from engine.models.files.loading import _require_finite


def four_bits(scale: float, *, nested: bool) -> Any:
    """A parameter as bitsandbytes keeps it for shards: packed bits, stored as bfloat16, that happen to spell NaN."""
    import torch

    packed = torch.nn.Parameter(torch.full((4,), 0x7FC1, dtype=torch.int16).view(torch.bfloat16), requires_grad=False)
    scales = SimpleNamespace(absmax=torch.tensor([1.0, scale]), nested=False)
    packed.quant_state = SimpleNamespace(nested=True, absmax=None, state2=scales) if nested else scales
    return packed


@pytest.mark.parametrize("nested", [True, False], ids=["scales in 8 bits", "scales in 32 bits"])
def test_bits_that_are_stored_as_another_type_are_no_numbers_and_their_scales_are(nested: bool) -> None:
    import torch

    module = torch.nn.Module()
    module.weight = four_bits(0.5, nested=nested)
    assert module.weight.isnan().all()
    _require_finite(module, "model")
    module.weight = four_bits(float("nan"), nested=nested)
    with pytest.raises(ModelError, match="NaN or infinite numbers in weight"):
        _require_finite(module, "model")
