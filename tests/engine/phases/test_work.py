"""What a model is loaded for."""

from __future__ import annotations

import pytest

from engine.phases.work import lora_rank_of
from engine.spec.stage import load_spec


@pytest.mark.parametrize(
    ("spec", "overrides", "rank"),
    [
        ("stage_1_explicit_instructions", {}, 32),
        ("stage_1_small_model", {}, 16),
        (
            "stage_1_small_model",
            {"adapter.rank": "4", "critics.sample": "[grade]", "critics.instruction": "[grade]"},
            4,
        ),
        ("stage_1_small_model", {"adapter.rank": "4", "critics.sample": "[probe]"}, 8),  # its stand-in is an adapter
    ],
)
def test_a_model_is_loaded_for_the_largest_adapter_that_its_run_can_answer_with(spec, overrides, rank):
    assert lora_rank_of(load_spec(spec, overrides).settings) == rank
