"""Generated tokens per second against `model.generate`: `python bench/generation.py`.

Responses to seed instructions after the same solved examples, sampled alike (temperature 0.7, top-k 50, top-p 0.9),
each with a limit of its own and ended by the marker, as in a run. `model.generate` gets static batches, in float32 and
in bfloat16, and the best of several sizes counts. Counted are the tokens that are kept: those up to the marker or the
limit of their request. Prints one JSON line; `ratio` is the figure.
"""

from __future__ import annotations

import time
from typing import Any

import torch
from common import MODEL, report

from engine.core.data import read_data
from engine.models.files.embedded import ensure
from engine.models.registry import load
from engine.models.requests import Decoding, Generate
from engine.spec import prompts

REQUESTS = 48
STATIC_REQUESTS = 16  # of those, for `model.generate`: all of them would take minutes
LIMITS = (16, 32, 64, 96)  # in turn
STATIC = ((torch.float32, 8), (torch.bfloat16, 8), (torch.bfloat16, 16))  # the fastest of those tried


def requests() -> list[Generate]:
    """Instructions after the solved examples that a run shows."""
    few = [(row["instruction"], row["response"]) for row in read_data("response_examples")[:6]]
    rows = read_data("seeds")[:REQUESTS]
    found = []
    for number, row in enumerate(rows):
        prompt = prompts.response(few, row["text"])
        decoding = Decoding(LIMITS[number % len(LIMITS)], 0.7, 50, 0.9, prompts.RESPONSE_STOPS)
        found.append(Generate(prompt.text, decoding, number, prompt.shared))
    return found


def kept(ids: list[int], limit: int, decode: Any, end: int) -> int:
    """How many of a row's tokens count: up to the limit, the end of text or the marker."""
    for n, token in enumerate(ids[:limit], 1):
        if token == end or prompts.MARKER in decode(ids[:n]):
            return n
    return min(len(ids), limit)


def static(model: Any, tokenizer: Any, encode: Any, asked: list[Generate], size: int) -> tuple[int, float]:
    """Tokens that count and seconds, in batches of one size ordered by their limit."""
    order = sorted(asked, key=lambda request: request.decoding.max_tokens)
    tokens = 0
    began = time.perf_counter()
    with torch.no_grad():
        for start in range(0, len(order), size):
            some = order[start : start + size]
            encoded = [encode(request.prompt) for request in some]
            longest = max(map(len, encoded))
            ids = torch.full((len(some), longest), tokenizer.pad_token_id)
            mask = torch.zeros_like(ids)
            for row, one in enumerate(encoded):
                ids[row, longest - len(one) :] = torch.tensor(one)
                mask[row, longest - len(one) :] = 1
            out = model.generate(
                ids, attention_mask=mask, max_new_tokens=max(request.decoding.max_tokens for request in some),
                do_sample=True, temperature=0.7, top_k=50, top_p=0.9, tokenizer=tokenizer,
                stop_strings=[prompts.MARKER],
            )  # fmt: skip
            for request, row in zip(some, out[:, longest:].tolist(), strict=True):
                tokens += kept(row, request.decoding.max_tokens, tokenizer.decode, tokenizer.eos_token_id)
    return tokens, time.perf_counter() - began


def main() -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = ensure(MODEL)
    ours = load(None)
    asked = requests()

    def encode(text: str) -> list[int]:
        return list(ours.encoding(text).token_ids)

    list(ours.generate(asked[:2]))  # warm
    began = time.perf_counter()
    tokens = sum(len(found.token_ids) for found in ours.generate(asked))
    own = tokens / (time.perf_counter() - began)
    ours.close()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.pad_token_id = tokenizer.pad_token_id or 0
    found = {}
    for dtype, size in STATIC:
        bare = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, attn_implementation="sdpa").eval()
        torch.manual_seed(0)
        n, seconds = static(bare, tokenizer, encode, asked[:STATIC_REQUESTS], size)
        found[f"{str(dtype).removeprefix('torch.')}, batch {size}"] = round(n / seconds, 1)
        del bare
    best = max(found, key=lambda name: found[name])
    report(
        benchmark="generation", model=MODEL, requests=REQUESTS, tokens=tokens, tokens_per_s=round(own, 1),
        generate_tokens_per_s=found, best=best, ratio=round(own / found[best], 2),
    )  # fmt: skip


if __name__ == "__main__":
    main()
