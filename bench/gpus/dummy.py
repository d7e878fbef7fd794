"""Folders of models that are made up on the spot: the shape of Qwen2.5-32B, a tokenizer, and weights by seed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bench.common import ROOT

MERGES = 8192  # tokens that are learned; the others up to the model's number are there and never used
LABELS = (" Yes", " No", " good", " bad", " A", " B")  # what critics choose between, each one token as in a large model


def tokenizer(place: Path, vocabulary: int) -> None:
    """A byte-level tokenizer of so many tokens, learned from the shipped instructions and responses."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    from engine.core.data import read_data

    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    rows = read_data("read_pairs")
    texts = [f"Instruction: {row['instruction']}\nResponse: {row['response']}\n" for row in rows]
    inner.train_from_iterator(
        [*texts, *("".join(LABELS) for _ in rows)],
        trainers.BpeTrainer(
            vocab_size=min(MERGES, vocabulary), special_tokens=["<pad>", "<eos>"], initial_alphabet=alphabet
        ),
    )
    told = json.loads(inner.to_str())
    known = told["model"]["vocab"]
    known |= {f"unused {n}": n for n in range(len(known), vocabulary)}
    whole = Tokenizer.from_str(json.dumps(told))
    PreTrainedTokenizerFast(tokenizer_object=whole, eos_token="<eos>", pad_token="<pad>").save_pretrained(place)


def folder(place: Path, **changed: Any) -> Path:
    """The configuration of Qwen2.5-32B, changed where it is said, beside a tokenizer for it; no weights."""
    place.mkdir(parents=True, exist_ok=True)
    config = json.loads((ROOT / "engine" / "data" / "qwen2.5-32b.json").read_text())
    config |= {"max_position_embeddings": 4096, "bos_token_id": None, "eos_token_id": 1, "pad_token_id": 0, **changed}
    tokenizer(place, config["vocab_size"])
    (place / "config.json").write_text(json.dumps(config))
    return place


def with_weights(place: Path, seed: int = 7, **changed: Any) -> Path:
    """The same with random weights in bfloat16, made where they are wanted: on the GPU where there is one."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    folder(place, **changed)
    torch.manual_seed(seed)
    with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(place), dtype=torch.bfloat16)
    model.save_pretrained(place)
    return place
