"""What a trainer is made of before its first step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine.spec.stage import load_spec
from engine.training import loading
from engine.training.job import Job
from engine.training.tokens import Tokens

ADAPTER = {"kind": "lora", "rank": 4, "alpha": 4, "dropout": 0.0, "target_modules": "all-linear", "loader": "plain"}


@pytest.mark.parametrize("method", ["sft", "dpo"])
def test_an_adapter_beside_four_bits_stays_in_32_bits(method: str, model: Path, tmp_path: Path) -> None:
    import torch

    from engine.training.trainers import arguments, build

    section: Any = getattr(load_spec("stage_6_small_model").settings, method)
    job = Job(
        method, str(model), "tiny", ADAPTER, section.model_dump() | {"effective_batch": 2}, 7, 2, False, None, None
    )
    made, tokenizer, _ = loading.load(job, str(model), "plain", lambda _: None)
    made.is_loaded_in_4bit = True  # as bitsandbytes has it
    trained = {name: value.clone() for name, value in made.named_parameters() if value.requires_grad}
    side = "The amber is basin."
    rows = [{"id": "a", "prompt": "Name it.", "completion": side, "chosen": side, "rejected": f"{side} No."}] * 2
    trainer, _ = build(job, tmp_path, arguments(job, tmp_path), made, tokenizer, Tokens(tokenizer, None), rows, [])
    found = dict(trainer.model.named_parameters())
    assert trained and all(torch.equal(found[name], value) for name, value in trained.items())
    assert {found[name].dtype for name in trained} == {torch.float32}
