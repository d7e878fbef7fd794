"""Many architectures through the one door: scores and greedy texts are those of the model's own forward pass."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from engine.models.registry import load
from engine.models.requests import Decoding, Generate, Read, Score
from engine.models.selfcheck import ALONE, FAST, PLAIN, of_facts
from tests.engine.models.architectures import ARCHITECTURES, TEXTS, made

pytestmark = pytest.mark.slow

WITHIN_NATS = 1e-3
LABELS = (" good", " bad", " a goose")
BEGINNING = "A goose of the miller, and the mill of the village behind the pond: 1, 2, 3, 4, 5.\n"
# What no path of this program's own knows: other kinds of layers, and positions that are not given from outside.
PLAINLY = {
    "bloom": PLAIN, "falcon-alibi": PLAIN, "falcon-h1": PLAIN, "falcon-mamba": PLAIN, "gpt-neo": PLAIN, "lfm2": PLAIN,
    "llama4": PLAIN, "mamba": PLAIN, "mamba2": PLAIN, "mpt": PLAIN, "opt": PLAIN, "qwen3-next": PLAIN,
    "recurrent-gemma": ALONE,
}  # fmt: skip


class Alone:
    """The class's own forward pass over one text, whole each time."""

    def __init__(self, folder: Path, model: Any) -> None:
        self._model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        self._encode = lambda text: list(model.encoding(text).token_ids)

    def logprob(self, prompt: str, label: str) -> float:
        before, ids = self._encode(prompt), self._encode(prompt + label)
        assert ids[: len(before)] == before
        with torch.no_grad():
            found = self._model(torch.tensor([ids])).logits[0].double().log_softmax(-1)
        return sum(float(found[at - 1, ids[at]]) for at in range(len(before), len(ids)))

    def greedy(self, prompt: str, n: int) -> tuple[int, ...]:
        ids = self._encode(prompt)
        for _ in range(n):
            with torch.no_grad():
                ids.append(int(self._model(torch.tensor([ids])).logits[0, -1].argmax()))
            if ids[-1] == 2:
                break
        return tuple(ids[len(self._encode(prompt)) :])

    def states(self, text: str, layer: int) -> np.ndarray[Any, Any]:
        with torch.no_grad():
            out = self._model(torch.tensor([self._encode(text)]), output_hidden_states=True)
        found = out.hidden_states[layer][0]
        return torch.stack([found[-1], found[1:].mean(0)]).numpy()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAI_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_scores_and_texts_are_those_of_its_own_forward_pass(name: str, tmp_path: Path) -> None:
    folder = made(name, tmp_path / name)
    model = load(str(folder), batch_size=3)
    alone = Alone(folder, model)
    checked = of_facts(model.facts)
    assert checked is not None and checked.path == PLAINLY.get(name, FAST)
    texts = [*TEXTS, *(BEGINNING + text for text in TEXTS[1:])]
    shared = [len(BEGINNING) if text.startswith(BEGINNING) else 0 for text in texts]
    scores = [Score(text, LABELS, n) for text, n in zip(texts, shared, strict=True)]
    for answer in model.score(scores):
        wanted = [alone.logprob(answer.request.prompt, label) for label in LABELS]
        assert answer.logprobs == pytest.approx(wanted, abs=WITHIN_NATS)
    for done in model.generate([Generate(text, Decoding(6), 0, n) for text, n in zip(texts, shared, strict=True)]):
        assert done.token_ids == alone.greedy(done.request.prompt, 6)
    if model.layers:
        for read in model.hidden([Read(text, (1,)) for text in TEXTS]):
            assert np.allclose(read.states[0], alone.states(read.request.prompt, 1), atol=1e-4)
    model.close()


def test_there_are_thirty_and_more() -> None:
    assert len(ARCHITECTURES) >= 30 and PLAINLY.keys() <= ARCHITECTURES.keys()
