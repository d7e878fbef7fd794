"""Which library loads the model that is trained, with an Unsloth that plays its part."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from engine.training import loading
from engine.training.job import Job

ADAPTER = {"kind": "lora", "rank": 4, "alpha": 4, "dropout": 0.0, "target_modules": "all-linear", "loader": "auto"}


def job(model: Path, start: Path | None = None, *, checkpointing: bool = False) -> Job:
    return Job("sft", str(model), "tiny", ADAPTER, {"max_length": 64}, 7, 2, checkpointing,
               str(start) if start else None, None)  # fmt: skip


class FastModel:
    """Unsloth's class as far as it is called; what was asked of it is kept."""

    asked: list[tuple[str, Any]]
    fails: Exception | None

    @classmethod
    def from_pretrained(cls, model_name: str, **_: Any) -> tuple[Any, Any]:
        if cls.fails is not None:
            raise cls.fails
        from transformers import AutoModelForCausalLM, AutoTokenizer

        cls.asked.append(("load", model_name))
        return AutoModelForCausalLM.from_pretrained(model_name), AutoTokenizer.from_pretrained(model_name)

    @classmethod
    def get_peft_model(cls, model: Any, **more: Any) -> Any:
        from peft import LoraConfig, get_peft_model

        cls.asked.append(("new", more["use_gradient_checkpointing"]))
        return get_peft_model(model, LoraConfig(r=more["r"], target_modules=more["target_modules"]))

    @classmethod
    def patch_peft_model(cls, model: Any, use_gradient_checkpointing: Any) -> Any:
        cls.asked.append(("patched", use_gradient_checkpointing))
        return model


@pytest.fixture
def unsloth(monkeypatch: pytest.MonkeyPatch) -> type[FastModel]:
    FastModel.asked, FastModel.fails = [], None
    module = ModuleType("unsloth")
    module.__dict__["FastLanguageModel"] = FastModel
    monkeypatch.setitem(sys.modules, "unsloth", module)
    return FastModel


def test_an_adapter_that_is_gone_on_with_gets_unsloths_kernels(
    unsloth: type[FastModel], model: Path, tmp_path: Path
) -> None:
    told: list[str] = []
    made, _, loader = loading.load(job(model), str(model), "unsloth", told.append)
    assert loader == "unsloth" and unsloth.asked == [("load", str(model)), ("new", False)]
    made.save_pretrained(tmp_path / "start")
    unsloth.asked.clear()
    again, _, loader = loading.load(
        job(model, tmp_path / "start", checkpointing=True), str(model), "unsloth", told.append
    )
    assert loader == "unsloth" and unsloth.asked == [("load", str(model)), ("patched", "unsloth")] and told == []
    assert any(value.requires_grad for value in again.parameters())
    assert again.peft_config["default"].base_model_name_or_path == "tiny"


@pytest.mark.parametrize(
    "error", [RuntimeError("no kernel"), NotImplementedError("this model"), TypeError("a call"), KeyError()]
)
def test_where_unsloth_fails_the_plain_way_loads_and_it_is_told(
    unsloth: type[FastModel], model: Path, error: Exception
) -> None:
    unsloth.fails = error
    told: list[str] = []
    made, _, loader = loading.load(job(model), str(model), "unsloth", told.append)
    assert loader == "plain" and "default" in made.peft_config
    assert len(told) == 1 and f"Unsloth could not load this model ({type(error).__name__}" in told[0]


def test_used_up_memory_is_not_tried_a_second_time(unsloth: type[FastModel], model: Path) -> None:
    import torch

    unsloth.fails = torch.OutOfMemoryError("CUDA out of memory")
    with pytest.raises(torch.OutOfMemoryError):
        loading.load(job(model), str(model), "unsloth", lambda _: None)


def test_unsloth_asks_nobody_and_compiles_no_block(unsloth: type[FastModel], monkeypatch: pytest.MonkeyPatch) -> None:
    said = {"UNSLOTH_DISABLE_STATISTICS": "1", "UNSLOTH_BLOCK_COMPILE_LEGACY": "0"}
    for name in said:
        monkeypatch.setenv(name, "")  # to be as it was, afterwards
        monkeypatch.delenv(name)
    monkeypatch.setattr("importlib.util.find_spec", lambda _: SimpleNamespace())
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    assert loading.choose_loader(ADAPTER) == ("unsloth", "it supports this GPU")
    assert {name: os.environ[name] for name in said} == said
