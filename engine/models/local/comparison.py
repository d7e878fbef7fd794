"""Label scores beside those of transformers' own forward pass, one text at a time, without packing or a cache."""

from __future__ import annotations

import time
from typing import Any

import torch

from engine.models.local.backend import TransformersModel
from engine.models.requests import Score

TOLERANCE_NATS = {"float32": 1e-3}
ROUNDED_NATS = 2e-2  # in types of fewer bits
SHARED = "Water freezes at 32 degrees. Monday, Tuesday, Wednesday. " * 2
ASKED = (
    Score("The capital of France is", (" Paris", " Rome, of course")),
    Score(f"{SHARED}The opposite of hot is", (" cold", " seven"), len(SHARED)),
    Score(f"{SHARED}Two plus two equals", (" four", " Tuesday"), len(SHARED)),
)


def compared(model: TransformersModel) -> dict[str, Any]:
    """The largest difference of label log-probabilities over three prompts: {architecture, path, largest_nats,
    tolerance_nats, scores, seconds}."""
    began = time.monotonic()
    differences = []
    for found in model.score(ASKED):
        prompt = model._text.encode(found.request.prompt)
        for label, logprob in zip(found.request.labels, found.logprobs, strict=True):
            ids = torch.tensor([[*prompt, *model._text.plain(label)]], device=model._model.device)
            with torch.no_grad():
                logits = model._model(input_ids=ids).logits[0, len(prompt) - 1 : -1]
            plain = logits.double().log_softmax(-1).gather(1, ids[0, len(prompt) :, None]).sum()
            differences.append(abs(logprob - float(plain)))
    return {
        "architecture": type(model._model).__name__,
        "path": "fast path",
        "largest_nats": max(differences),
        "tolerance_nats": TOLERANCE_NATS.get(str(model.facts["dtype"]), ROUNDED_NATS),
        "scores": len(differences),
        "seconds": time.monotonic() - began,
    }
