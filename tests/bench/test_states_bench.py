"""The comparison of hidden states that waits for a GPU, with the transformers backend in vLLM's place."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from bench.gpu_contact import SMALL
from bench.gpus.dummy import with_weights
from bench.gpus.states import CHUNK, LENGTHS, compared, of_lengths, states_of
from engine.core.errors import ModelError
from engine.models.files.source import resolve
from engine.models.files.tokenizer import Text
from engine.models.local.backend import TransformersModel
from engine.models.requests import HiddenStates, Read

pytestmark = [pytest.mark.slow]


def test_states_that_are_off_and_states_that_are_missing_are_told(tmp_path: Path) -> None:
    source = resolve(str(with_weights(tmp_path / "model", num_hidden_layers=2, **SMALL.changed)))
    text = Text.of(source.path)
    texts = of_lengths(text)
    assert tuple(len(text.encode(one)) for one in texts) == LENGTHS
    right = states_of(TransformersModel.load(source), texts)
    found = compared(right, right)
    assert len(right) == 2 * len(texts) and found["ok"] and found["off"] == 0
    assert not compared([1.2 * states for states in right], right)["ok"]

    class Hiding(TransformersModel):
        def hidden(self, requests: Iterable[Read]) -> Iterator[HiddenStates]:
            for answer in super().hidden(requests):
                if len(text.encode(answer.request.prompt)) == CHUNK + 1:
                    raise ModelError("no states came", "")
                yield answer

    hidden = compared(states_of(Hiding.load(source), texts), right)
    json.dumps(hidden)
    assert not hidden["ok"] and hidden["off"] < 1e-4
    assert hidden["missing"] == [str(CHUNK + 1), *(f"{n} among others" for n in LENGTHS)]
