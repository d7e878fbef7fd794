"""Hidden states out of packed passes that end early are those of a plain pass over each text alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from engine.core.errors import ModelError
from engine.models.requests import Read, WithoutStates

TEXTS = ["Instruction: Name a fruit.\n", "Instruction: Why is the sky blue?\nResponse: It scatters light.\n", "x"]


@pytest.mark.model
def test_states_are_those_of_a_plain_pass(base_model: Any) -> None:
    layers = (1, base_model.layers // 2, base_model.layers - 1)
    answers = {one.request: one.states for one in base_model.hidden([Read(text, layers) for text in TEXTS])}
    for text in TEXTS:
        ids = torch.tensor([base_model.encoding(text).token_ids])
        with torch.no_grad():
            plain = base_model._model(ids, output_hidden_states=True).hidden_states
        states = answers[Read(text, layers)]
        assert states.shape == (3, 2, base_model._model.config.hidden_size) and states.dtype == np.float32
        for place, layer in enumerate(layers):
            wanted = np.stack([plain[layer][0, -1].numpy(), plain[layer][0, 1:].mean(0).numpy()])
            assert np.abs(states[place] - wanted).max() <= 1e-3 * np.abs(wanted).max()


@pytest.mark.model
def test_reading_states_leaves_the_model_as_it_was(base_model: Any) -> None:
    before = [dict(layer._forward_hooks) for layer in base_model._model.get_decoder().layers]
    list(base_model.hidden([Read(TEXTS[0], (1,))]))
    assert [dict(layer._forward_hooks) for layer in base_model._model.get_decoder().layers] == before


def test_a_backend_without_states_says_so() -> None:
    with pytest.raises(ModelError, match="shows no hidden states"):
        WithoutStates().hidden([])
    assert WithoutStates.layers == 0
