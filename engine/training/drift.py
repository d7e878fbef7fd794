"""How far merged weights are from base and adapter: logits on fixed prompts, in float32, from the written files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from engine.core.figures import mebibytes
from engine.core.memory import total_and_free
from engine.models.files.loading import causal_lm
from engine.models.files.tokenizer import declared_bos, tokenizer_of
from engine.training.tokens import Tokens
from store.export import PROMPT_TEMPLATE

PROMPTS = (
    "Explain why the sky is blue.",
    "Write one sentence about a lighthouse.",
    "List three uses of a paper clip.",
    "How do I tie a knot that does not slip?",
    "Translate 'good morning' into French.",
    "What should I do if I smell gas at home?",
)
_BESIDE = 0.1  # of the weights, for activations and what loading takes besides


def too_large(parameters: int) -> str:
    """Why a model does not fit the free memory in float32; empty where it does."""
    needed, (_, free) = int(4 * (1 + _BESIDE) * parameters), total_and_free()
    return "" if needed <= free else f"a model in float32 takes {mebibytes(needed)}, {mebibytes(free)} are free"


def drift_of(base: Path, adapter: Path, merged: Path, prompts: Sequence[str] = PROMPTS) -> dict[str, Any]:
    """Compare base and adapter with merged weights, all of them folders: first the one, then the other in memory.

    Returns {prompts, largest_logit, largest_logprob, same_top1}: the largest difference of a logit and of a
    log-probability, and the number of prompts whose first token stays the likeliest.
    """
    import torch  # heavy
    from peft import PeftModel

    tokenizer = tokenizer_of(str(base))
    tokens = Tokens(tokenizer, declared_bos(tokenizer))
    ids = [tokens.prompt(PROMPT_TEMPLATE.replace("{instruction}", text)) for text in prompts]
    adapted = PeftModel.from_pretrained(causal_lm(str(base), dtype=torch.float32), str(adapter)).eval()
    wanted = [_logits(adapted, row) for row in ids]
    del adapted
    again = causal_lm(str(merged), dtype=torch.float32).eval()
    got = [_logits(again, row) for row in ids]
    logit = max(float((a - b).abs().max()) for a, b in zip(wanted, got, strict=True))
    logprob = max(float((a.log_softmax(-1) - b.log_softmax(-1)).abs().max()) for a, b in zip(wanted, got, strict=True))
    same = [int(a[-1].argmax()) == int(b[-1].argmax()) for a, b in zip(wanted, got, strict=True)]
    return {"prompts": len(ids), "largest_logit": logit, "largest_logprob": logprob, "same_top1": sum(same)}


def _logits(model: Any, ids: list[int]) -> Any:
    """The logits after each token of a prompt, [tokens, vocabulary]."""
    import torch  # heavy

    with torch.no_grad():
        return model(input_ids=torch.tensor([ids])).logits[0].float()
