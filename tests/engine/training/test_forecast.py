"""The memory forecast against what autograd really keeps, on models of the proportions of those that are trained."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.training import forecast
from engine.training.forecast import Shape, layer_bytes, shape_by_config, shape_of

WITHIN = 0.15
# Hidden, intermediate, heads, key heads and head width as large models have them, divided by 16 (Gemma 3 1B: by 4).
QWEN2_32B = (320, 1728, 5, 1, 64)
LLAMA_8B = (256, 896, 4, 1, 64)
GEMMA_1B = (288, 1728, 4, 1, 64)
RANK = 4


def build(family: str, sizes: tuple[int, ...], dtype: Any) -> Callable[[int], Any]:
    """A function that makes a random model of so many layers."""
    from transformers import AutoModelForCausalLM, Gemma3TextConfig, LlamaConfig, Qwen2Config

    hidden, intermediate, heads, key_heads, width = sizes
    kind = {"qwen2": Qwen2Config, "llama": LlamaConfig, "gemma3": Gemma3TextConfig}[family]

    def made(layers: int) -> Any:
        config = kind(hidden_size=hidden, intermediate_size=intermediate, num_attention_heads=heads, vocab_size=64,
                      num_key_value_heads=key_heads, head_dim=width, num_hidden_layers=layers)  # fmt: skip
        return AutoModelForCausalLM.from_config(config, dtype=dtype, attn_implementation="sdpa")

    return made


def in_four_bits(model: Any) -> Any:
    """As bitsandbytes and peft leave a model: linear maps that compute in bfloat16 and answer as they were asked."""
    import torch
    from peft import prepare_model_for_kbit_training

    class Four(torch.nn.Linear):
        def forward(self, x: Any) -> Any:
            return torch.nn.functional.linear(x.to(torch.bfloat16), self.weight).to(x.dtype)

    for name, module in list(model.named_modules()):
        if type(module) is torch.nn.Linear and name != "lm_head":
            module.__class__ = Four
    model.is_loaded_in_4bit = True
    weights = {name: value.data for name, value in model.named_parameters() if "proj" in name}
    model = prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)
    for name, value in model.named_parameters():
        if name in weights:
            value.data = weights[name]
    return model


def kept(made: Callable[[int], Any], adapter: dict[str, Any], *, half: bool, again: bool) -> float:
    """Bytes a token that autograd keeps of one layer, parameters apart: two layers more against two, 64 tokens more."""
    import torch
    from peft import LoraConfig, get_peft_model

    def total(layers: int, length: int) -> int:
        model = made(layers)
        if adapter["kind"] == "qlora":
            model = in_four_bits(model)
        config = LoraConfig(r=RANK, lora_dropout=adapter["dropout"], target_modules="all-linear", task_type="CAUSAL_LM")
        model = get_peft_model(model, config).train()
        if again:
            model.gradient_checkpointing_enable({"use_reentrant": False})
            model.enable_input_require_grads()
        own = {value.untyped_storage().data_ptr() for value in model.parameters()}
        seen: dict[int, Any] = {}

        def note(tensor: Any) -> Any:
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in own:
                seen[storage.data_ptr()] = storage  # held, so that no address comes twice
            return tensor

        ids = torch.randint(0, 64, (1, length))
        with (
            torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor),
            torch.autocast("cpu", dtype=torch.bfloat16, enabled=half),
        ):
            model.get_base_model().model(input_ids=ids).last_hidden_state.float().mean()
            return sum(storage.nbytes() for storage in seen.values())

    def a_token(layers: int) -> float:
        return (total(layers, 96) - total(layers, 32)) / 64

    return (a_token(4) - a_token(2)) / 2


def shape(family: str, sizes: tuple[int, ...]) -> Shape:
    hidden, intermediate, heads, key_heads, width = sizes
    gemma = family == "gemma3"
    return Shape(0, 0, 1, hidden, intermediate, 64, heads, heads * width, key_heads * width, 4 if gemma else 2, gemma)


@pytest.mark.parametrize(
    ("family", "sizes", "kind", "dropout"),
    [
        ("qwen2", QWEN2_32B, "lora", 0.0), ("qwen2", QWEN2_32B, "lora", 0.05), ("qwen2", QWEN2_32B, "qlora", 0.0),
        ("qwen2", QWEN2_32B, "float32", 0.05), ("llama", LLAMA_8B, "qlora", 0.05), ("llama", LLAMA_8B, "float32", 0.0),
        ("gemma3", GEMMA_1B, "lora", 0.0), ("gemma3", GEMMA_1B, "qlora", 0.05), ("gemma3", GEMMA_1B, "float32", 0.0),
    ],
)  # fmt: skip
def test_a_layer_keeps_what_is_forecast(family: str, sizes: tuple[int, ...], kind: str, dropout: float) -> None:
    import torch

    half = kind != "float32"
    adapter = {"kind": "qlora" if kind == "qlora" else "lora", "rank": RANK, "dropout": dropout}
    made = build(family, sizes, torch.bfloat16 if half else torch.float32)
    expected = layer_bytes(shape(family, sizes), adapter, 2 if half else 4)
    assert kept(made, adapter, half=half, again=False) == pytest.approx(expected, rel=0.02 if dropout else 0.01)


@pytest.mark.parametrize(("kind", "bytes_kept"), [("lora", 2), ("qlora", 4)])
def test_with_checkpointing_a_layer_keeps_its_input_alone(kind: str, bytes_kept: int) -> None:
    import torch

    adapter = {"kind": kind, "rank": RANK, "dropout": 0.0}
    found = kept(build("qwen2", QWEN2_32B, torch.bfloat16), adapter, half=True, again=True)
    assert found == pytest.approx(bytes_kept * QWEN2_32B[0], rel=WITHIN)


@pytest.mark.parametrize("kind", ["lora", "float32"])
def test_a_forward_pass_alone_takes_no_more_than_the_reference_is_forecast(kind: str) -> None:
    import torch
    from peft import LoraConfig, get_peft_model
    from torch.profiler import ProfilerActivity, profile

    half, adapter = kind == "lora", {"kind": "lora", "rank": RANK, "dropout": 0.0}
    model = build("qwen2", QWEN2_32B, torch.bfloat16 if half else torch.float32)(4)
    model = get_peft_model(model, LoraConfig(r=RANK, target_modules="all-linear", task_type="CAUSAL_LM"))

    def most(length: int) -> int:
        ids = torch.randint(0, 64, (1, length))
        with (
            torch.no_grad(),
            torch.autocast("cpu", dtype=torch.bfloat16, enabled=half),
            profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen,
        ):
            model.get_base_model().model(input_ids=ids)
        events = sorted(seen.profiler.kineto_results.events(), key=lambda event: event.start_ns())
        changes = (event.nbytes() for event in events if event.name() == "[memory]")
        return max(itertools.accumulate(changes))

    most(64)  # what is computed once is there then
    a_token = (most(512) - most(256)) / 256
    expected = layer_bytes(shape("qwen2", QWEN2_32B), adapter, 2 if half else 4) + (2 if half else 4) * QWEN2_32B[0]
    assert 0.4 * expected < a_token <= expected


QWEN_32B = Shape(32_763_876_352, 31_205_621_760, 64, 5120, 27648, 152064, 40, 5120, 1024)
H100 = 80 * 2**30
FOUR_BITS = {"kind": "qlora", "rank": 64, "dropout": 0.0}


def fitted(adapter: dict[str, Any], **more: Any) -> forecast.Forecast:
    return forecast.fit(QWEN_32B, adapter, "sft", longest=1024, effective_batch=32, at_most=16, bytes_per_weight=2,
                        device=H100, **more)  # fmt: skip


def test_a_32b_in_four_bits_takes_four_examples_at_once_only_with_checkpointing() -> None:
    without, again = (
        forecast.forecast(QWEN_32B, FOUR_BITS, "sft", longest=1024, micro_batch=4, gradient_checkpointing=checkpointing,
                          bytes_per_weight=2, device=H100)
        for checkpointing in (False, True)
    )  # fmt: skip
    assert without.total > 114 * 2**30 and not without.fits and again.fits
    assert fitted(FOUR_BITS).fits and fitted(FOUR_BITS).micro_batch == 1


def test_shards_share_the_weights_and_not_the_activations() -> None:
    adapter = {"kind": "lora", "rank": 64, "dropout": 0.0}
    assert not fitted(adapter).fits or fitted(adapter).micro_batch == 1
    one, four = (forecast.forecast(QWEN_32B, adapter, "sft", longest=1024, micro_batch=1, gradient_checkpointing=True,
                                   bytes_per_weight=2, device=H100, shards=n) for n in (1, 4))  # fmt: skip
    assert four.weights == one.weights // 4 and four.optimiser == one.optimiser // 4
    assert four.activations > one.activations  # a layer at a time is whole on each
    assert fitted(adapter, shards=4).micro_batch > fitted(adapter).micro_batch


def test_the_reference_is_computed_for_as_many_pairs_as_fit_and_is_counted() -> None:
    def with_reference(device: int | None) -> tuple[forecast.Forecast, forecast.Forecast]:
        found = forecast.fit(QWEN_32B, FOUR_BITS, "dpo", longest=1024, effective_batch=32, at_most=16,
                             bytes_per_weight=2, device=device)  # fmt: skip
        return found, forecast.with_reference(found, QWEN_32B, FOUR_BITS, longest=1024, bytes_per_weight=2)

    step, found = with_reference(H100)
    assert found.reference_batch is not None and found.reference_batch > step.micro_batch
    one_more = (found.reference - found.weights) // found.reference_batch
    assert found.fits and found.reference + one_more > 0.9 * H100 and found.total == max(step.total, found.reference)
    _, unknown = with_reference(None)
    assert unknown.reference_batch is not None and unknown.reference <= unknown.total
    tight = forecast.with_reference(step, QWEN_32B, FOUR_BITS, longest=200_000, bytes_per_weight=2)
    assert tight.reference_batch == step.micro_batch and not tight.fits and tight.total == tight.reference


def test_the_shape_is_read_from_a_folder(tmp_path: Path) -> None:
    import torch

    build("gemma3", GEMMA_1B, torch.float32)(1).save_pretrained(tmp_path)
    found = shape_of(tmp_path)
    assert (found.norms, found.head_norms, found.heads) == (4, True, 4)
    assert (found.queries, found.keys) == (256, 64) and found.linear > 0
    assert shape_by_config(tmp_path / "config.json") == found
