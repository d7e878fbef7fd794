"""The self-check against planted faults: each leads to the plain path with the measured difference, or to a refusal."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from engine.core.errors import ModelError
from engine.models.files.tokenizer import Text
from engine.models.local import checking
from engine.models.local.fast import FastPath
from engine.models.local.head import Head
from engine.models.local.plain import PlainPath
from engine.models.registry import load
from engine.models.requests import Decoding, Generate, Score
from engine.models.selfcheck import FAST, PLAIN, SelfCheck, of_facts
from tests.engine.models.architectures import made


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAI_CACHE", str(tmp_path / "cache"))


def checked(folder: Path) -> SelfCheck:
    model = load(str(folder), batch_size=3)
    found = of_facts(model.facts)
    model.close()
    assert found is not None
    return found


def without_window(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FastPath, "_masks", lambda self, full, near: self._mask(full))


def without_bias(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Head, "logits", lambda self, states: (states @ self._output.weight.T).float())


def without_what_follows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Head, "_run", lambda self, view, states: view.lm_head(states[None])[0].float())


def with_a_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    """One label of one request is no number."""
    whole = FastPath._scored

    def gap(self: Any, window: Any, feed: Any) -> Any:
        for n, found in enumerate(whole(self, window, feed)):
            yield replace(found, logprobs=(*found.logprobs[:-1], float("nan"))) if n == 1 else found

    monkeypatch.setattr(FastPath, "_scored", gap)


def with_other_states(monkeypatch: pytest.MonkeyPatch) -> None:
    hidden = FastPath.hidden
    monkeypatch.setattr(
        FastPath,
        "hidden",
        lambda self, requests: (replace(found, states=found.states * 1.01) for found in hidden(self, requests)),
    )


def with_another_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache that is read a column short: scores are right, and texts are not."""
    whole = FastPath._step

    def short(self: Any, cache: Any, rows: Any) -> Any:
        for row in rows:
            row.prompt = (*row.prompt[:-2], row.prompt[-1])
        return whole(self, cache, rows)

    monkeypatch.setattr(FastPath, "_step", short)


def with_other_logits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Texts are the same by chance, and how sure the model was of them is not."""
    whole = FastPath._candidates

    def moved(self: Any, hidden: Any, rows: Any) -> Any:
        logits, ids = whole(self, hidden, rows)
        return logits * 1.01, ids

    monkeypatch.setattr(FastPath, "_candidates", moved)


@pytest.mark.parametrize(
    ("name", "plant", "told"),
    [
        ("mistral-window", without_window, "it is off by"),
        ("phi", without_bias, "it is off by"),
        ("granite", without_what_follows, "it is off by"),
        ("llama", with_a_gap, "it is off by nan nats"),
        ("llama", with_another_step, "greedily it takes a token"),
        ("llama", with_other_logits, "greedily its logits are off by"),
        ("llama", with_other_states, "its hidden states are off by"),
    ],
)
def test_a_fast_path_with_a_fault_is_not_used(
    name: str, plant: Any, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = made(name, tmp_path / name)
    plant(monkeypatch)
    found = checked(folder)
    assert found.path == PLAIN and found.instead.startswith(told)
    assert found.largest_nats <= found.tolerance_nats == 1e-3
    assert "plain path of" in found.told() and found.instead in found.told()


def test_a_window_that_is_too_long_to_be_checked_leaves_the_plain_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(checking.LONGEST_TOKENS, "cpu", 30)
    found = checked(made("mistral-window", tmp_path / "near"))
    assert found.path == PLAIN
    assert found.instead == "its window of 16 tokens is too long to be checked on this device"


def test_each_adapter_is_checked_and_the_base_is_what_it_was(tmp_path: Path) -> None:
    """One that changes the output matrix itself, whose rows the fast path reads, and one that does not."""
    folder = made("llama", tmp_path / "llama")
    adapters = {}
    for target in ("lm_head", "q_proj"):
        base = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        adapted = get_peft_model(base, LoraConfig(r=4, target_modules=[target]))
        for name, weights in adapted.named_parameters():
            if "lora_B" in name:  # which begins at zero
                torch.nn.init.normal_(weights, std=0.3)
        adapted.save_pretrained(str(tmp_path / target))
        adapters[target] = tmp_path / target
    model = load(str(folder), batch_size=3)
    paths = {}
    for target, adapter in adapters.items():
        model.use(adapter, target)
        found = of_facts(model.facts)
        assert found is not None and found.largest_nats <= 1e-3
        paths[target] = found.path
    assert paths == {"lm_head": PLAIN, "q_proj": FAST}
    model.use(None)
    found = of_facts(model.facts)
    assert found is not None and found.path == FAST
    model.close()


def test_a_model_that_no_path_gives_is_refused_in_three_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = made("llama", tmp_path / "llama")
    for way in (FastPath, PlainPath):
        score = way.score
        monkeypatch.setattr(
            way,
            "score",
            lambda self, requests, score=score: (
                replace(found, logprobs=tuple(value - 0.5 for value in found.logprobs))
                for found in score(self, requests)
            ),
        )
    with pytest.raises(ModelError) as caught:
        load(str(folder))
    assert (
        caught.value.title
        == "LlamaForCausalLM can't be scored exactly: it is off by 0.5 nats, at most 0.001 are allowed"
    )
    assert "\n" not in caught.value.title + caught.value.hint and "No run was started" in caught.value.hint


def test_a_model_without_numbers_is_refused(tmp_path: Path) -> None:
    folder = made("llama", tmp_path / "llama")
    weights = load_file(folder / "model.safetensors")
    weights["model.norm.weight"][3] = torch.nan
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelError, match="has NaN or infinite numbers"):
        load(str(folder))


def test_a_model_is_checked_once_and_anew_with_other_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    times: list[str] = []
    compared = checking.compared

    def counted(path: Any, reference: Any) -> Any:
        times.append(path.name)
        return compared(path, reference)

    monkeypatch.setattr(checking, "compared", counted)
    folder = made("llama", tmp_path / "llama")
    first = checked(folder)
    assert checked(folder) == first and times == [FAST]
    weights = load_file(folder / "model.safetensors")
    weights["model.norm.weight"][3] = 2.0
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    assert checked(folder).path == FAST and times == [FAST, FAST]
    load(str(folder), batch_size=2).close()
    assert times == [FAST] * 3  # texts that stand together otherwise


@pytest.mark.parametrize("error", [MemoryError("no more"), torch.OutOfMemoryError("no more")])
@pytest.mark.parametrize("where", ["compared", "only_at", "wide"])
def test_a_full_memory_is_no_verdict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, where: str
) -> None:
    folder = made("llama", tmp_path / "llama")

    def full(*given: Any, **more: Any) -> Any:
        raise error

    with monkeypatch.context() as filled:
        filled.setattr(checking, where, full)
        with pytest.raises(
            ModelError, match=r"LlamaForCausalLM could not be checked: not enough free memory \(no more"
        ):
            load(str(folder), batch_size=3)
    assert not list((tmp_path / "cache").rglob("*.json"))
    assert checked(folder).path == FAST


def test_a_damaged_cache_is_no_answer(tmp_path: Path) -> None:
    folder = made("llama", tmp_path / "llama")
    first = checked(folder)
    (place,) = (tmp_path / "cache").rglob("self-checks/*.json")
    place.write_text('{"path": "fast')
    assert checked(folder).path == first.path


def test_weights_of_16_bits_are_checked_in_float32_and_left_as_they_are(tmp_path: Path) -> None:
    folder = made("qwen3", tmp_path / "qwen3")
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16).eval().requires_grad_(False)
    before = {name: one.clone() for name, one in model.state_dict().items()}
    path, found = checking.settled(model, Text.of(str(folder)), frozenset({2}), 3, "print")
    assert path.name == FAST and found.largest_nats <= 1e-3 < found.rounding_nats < 0.5
    assert f"16 bits move labels by up to {found.rounding_nats:.2g} nats" in found.told()
    after = model.state_dict()
    assert all(torch.equal(after[name], one) and after[name].dtype == one.dtype for name, one in before.items())


def test_the_plain_path_chooses_what_the_fast_path_chooses(tmp_path: Path) -> None:
    """Sampled with the request's own random numbers, ended by marker, limit and end token alike."""
    folder = made("llama", tmp_path / "llama")
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval().requires_grad_(False)
    text = Text.of(str(folder))
    fast, plain = (way(model, text, frozenset(range(2, 24)), 3) for way in (FastPath, PlainPath))
    ways = (Decoding(9, 1.0), Decoding(5, 0.9, 20, 0.9), Decoding(12, 1.2, 50, stop=tuple("aeionrst 12")), Decoding(7))
    asked = [Generate(f"The {n} geese {'of the mill ' * n}", ways[n % 4], n) for n in range(16)]
    found = {done.request: done for done in plain.generate(asked)}
    assert found == {done.request: done for done in fast.generate(asked)}
    assert {done.stop_reason for done in found.values()} == {"eos", "stop", "length"}
    scores = [Score("The mill", (" a", ""))]
    assert [one.n_tokens for one in plain.score(scores)] == [one.n_tokens for one in fast.score(scores)]
