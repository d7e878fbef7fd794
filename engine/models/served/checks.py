"""What a model's server is asked before it is trusted: does it feed what was sent, and tell what critics need?"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from engine.core.errors import ModelError
from engine.core.http_status import Refused
from engine.models.requests import Decoding, Generate
from engine.models.served.completions_api import (
    NoAnswer,
    NoLogProbability,
    Wire,
    fed_body,
    generate_body,
    next_body,
    read_completion,
    read_fed,
    read_next,
    refusal,
    tells_ids,
)
from engine.models.served.label_scores import Post, by_prompt, fed

PROMPT, LABEL = "The capital of France is", " Paris"
AGREE_NATS = 0.25  # two bfloat16 steps near a logit of 16, in which kernels may differ
CHAT_TOKENS = (
    "<|im_start|>", "<|im_end|>", "<start_of_turn>", "<end_of_turn>", "<|start_header_id|>", "<|eot_id|>", "[INST]",
    "<|user|>", "<|assistant|>", "<|turn>",
)  # fmt: skip
CONTENT_TOKENS = ("<bos>", "<s>", "<|endoftext|>", "<|begin_of_text|>", "</s>", "<eos>")
_HINT = (
    "Critics need exact log-probabilities. Servers that give them: `vllm serve` and SGLang as they come, "
    "llama-cpp-python with logits_all. No run was started and nothing was lost."
)


@dataclass(frozen=True, slots=True)
class Checked:
    """What was found: the wire, what is told of it, and the number that other servers of the model must repeat."""

    wire: Wire
    facts: dict[str, Any]
    label_logprob: float
    chat_ids: frozenset[int]


async def check(post: Post, model: str) -> Checked:
    """Ask one server all of it. Raises ModelError that says what to start the server with."""
    wire = await _prompt_scoring(post, model)
    wire = replace(wire, front=await front(wire, post))
    value, ids = await by_prompt(wire, post, PROMPT, LABEL)
    wire, told = await _next_token(wire, post, ids, value)
    wire, said = await _decoding(wire, post)
    read = {name: await fed(wire, post, f"Water{name}") for name in (*CHAT_TOKENS, *CONTENT_TOKENS)}
    special = [name for name, prompt in read.items() if prompt.texts[-1].strip() == name]
    chat_ids = [read[name].ids[-1] for name in special if name in CHAT_TOKENS]
    facts = {
        "bos": wire.front[0][1] if wire.front else None,
        "token_ids": "told by the server" if wire.ids else "not told by the server: stored as -1",
        "label_logprobs": told,
        **said,
        "read_as_special_tokens": special,
    }
    return Checked(wire, facts, value, frozenset(chat_ids))


async def agree(post: Post, checked: Checked) -> None:
    """Raise ModelError where another server of the model feeds or scores otherwise than the one that was checked."""
    found = await front(checked.wire, post)
    value, _ = await by_prompt(checked.wire, post, PROMPT, LABEL)
    if found != checked.wire.front or abs(value - checked.label_logprob) > AGREE_NATS:
        raise ModelError(
            f"it answers as another model: {value:.3f} nats for a known label, {checked.label_logprob:.3f} wanted; "
            f"{_shown(found)} in front of a prompt, {_shown(checked.wire.front)} wanted",
            "All servers of a run must serve the same weights and tokenizer. What was committed is safe.",
        )


async def front(wire: Wire, post: Post) -> tuple[tuple[int, str], ...]:
    """What the server puts in front of every prompt: its BOS or nothing. Raises ModelError for anything more."""
    one, other = [await fed(wire, post, text) for text in ("Water", "The")]
    first, second = [list(zip(prompt.ids, prompt.texts, strict=True)) for prompt in (one, other)]
    before = _common(first, second)
    behind = _common(first[::-1], second[::-1])
    if len(before) > 1 or behind:
        raise ModelError(
            f"the server adds tokens that nobody asked for: {_shown((*before, *behind))}",
            "Only a BOS in front is accepted. Serve the base model with its own tokenizer. Nothing was lost.",
        )
    return tuple(before)


def bos_verdict(wire: Wire, told: dict[str, Any], root: object) -> str:
    """Whether what is fed in front is right, by the tokenizer's settings as the server tells them (vLLM's
    /tokenizer_info), else by the files in `root` where they are on this machine. Raises ModelError where it is wrong.
    """
    wants, by = told.get("add_bos_token"), "by the tokenizer's settings that the server tells"
    if not isinstance(wants, bool):
        wants, by = _files_want_bos(root), "by the tokenizer's files on this machine"
    if wants is None:
        return "not verified: no settings of the tokenizer are told; the guard's known answers look for what is missing"
    if wants != bool(wire.front):
        raise ModelError(
            f"the model wants {'a BOS' if wants else 'no BOS'} in front of a prompt ({by}), and the server feeds "
            f"{_shown(wire.front)}",
            "Serve it with its own tokenizer and settings. No run was started.",
        )
    return f"verified {by}"


def _files_want_bos(root: object) -> bool | None:
    if not isinstance(root, str) or not (Path(root) / "tokenizer_config.json").is_file():
        return None
    try:
        from transformers import AutoTokenizer  # heavy, and perhaps not installed beside a server

        tokenizer = AutoTokenizer.from_pretrained(root, trust_remote_code=False)
    except (ImportError, OSError, ValueError):
        return None
    return len(tokenizer("Water").input_ids) > len(tokenizer("Water", add_special_tokens=False).input_ids)


async def _prompt_scoring(post: Post, model: str) -> Wire:
    said = ""
    for extensions in (True, False):
        wire = Wire(model, extensions, ids=False)
        try:
            found = await post(fed_body(wire, PROMPT + LABEL))
            read_fed(found)
        except Refused as refused:
            if refused.status not in (400, 422, 501):
                raise refusal(refused) from None
            said = str(refused)
        except NoAnswer as answer:
            said = str(answer)
        else:
            return replace(wire, ids=tells_ids(found))
    raise ModelError(f"this server can't score prompts, which critics and the guard need: {said}", _HINT)


async def _next_token(wire: Wire, post: Post, ids: tuple[int, ...], value: float) -> tuple[Wire, dict[str, Any]]:
    """How labels of one token are scored: by their id, among the first alternatives, or as a prompt's end."""
    rare = (await fed(wire, post, "Water")).ids[-1]
    if wire.ids and len(ids) == 1:
        exact = replace(wire, exact=True)
        told = await _alternatives(post, next_body(exact, PROMPT, (ids[0], rare)))
        if f"token_id:{ids[0]}" in told and f"token_id:{rare}" in told:
            way = "by token id at any rank; longer labels by prompt scoring"
            return exact, _compared(told[f"token_id:{ids[0]}"], value, way)
    for top in (20, 5) if len(ids) == 1 else ():
        wider = replace(wire, top=top)
        told = await _alternatives(post, next_body(wider, PROMPT))
        if LABEL in told:  # its blank is shown, so that tokens can be told apart
            if sum(math.exp(min(value, 50.0)) for value in told.values()) > 1.01:
                raise ModelError("what this server tells of the next token are no log-probabilities", _HINT)
            return wider, _compared(told[LABEL], value, f"among the first {top}; all others by prompt scoring")
    return wire, {"way": "by prompt scoring", "prompt_nats": value}


def _compared(told: float, value: float, way: str) -> dict[str, Any]:
    if abs(told - value) > AGREE_NATS:
        raise ModelError(
            f"this server's log-probabilities contradict each other: {told:.3f} and {value:.3f} nats for one label",
            f"They must be raw (vLLM: --logprobs-mode raw_logprobs). {_HINT}",
        )
    return {"way": way, "prompt_nats": value, "next_token_nats": told}


async def _alternatives(post: Post, body: dict[str, Any]) -> dict[str, float]:
    try:
        return read_next(await post(body))
    except NoLogProbability:
        raise
    except (Refused, NoAnswer):
        return {}


async def _decoding(wire: Wire, post: Post) -> tuple[Wire, dict[str, Any]]:
    """Whether stop sequences are named, top_k is followed and seeds are kept: applied and read back."""

    async def text(decoding: Decoding, seed: int, wire: Wire = wire) -> str:
        request = Generate(PROMPT, decoding, seed)
        return read_completion(wire, request, await post(generate_body(wire, request))).text

    greedy = await text(Decoding(12), 0)
    stop = greedy[len(greedy) // 2 :][:2]
    stopped = Generate(PROMPT, Decoding(12, stop=(stop,)), 0)
    found = read_completion(wire, stopped, await post(generate_body(wire, stopped))) if len(stop) == 2 else None
    names_stops = found is not None and found.stop_text == stop and found.text == greedy[: greedy.find(stop)]
    first = await text(Decoding(4, 2.0, top_k=1), 5)
    top_k = wire.extensions and greedy.startswith(first)
    sampled = [await text(Decoding(12, 1.0), seed) for seed in (1, 1, 2, 3)]
    kept, told_apart = sampled[0] == sampled[1], len(set(sampled[1:])) > 1
    return replace(wire, names_stops=names_stops, top_k=top_k), {
        "stops": "named by the server" if names_stops else "cut here: the server does not name them",
        "top_k": "followed" if top_k else "not followed",
        "seeds": "kept" if kept and told_apart else "not kept" if not kept else "without effect",
    }


def _common(one: list[tuple[int, str]], other: list[tuple[int, str]]) -> list[tuple[int, str]]:
    alike = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False))
    return [token for token, _ in alike]


def _shown(tokens: tuple[tuple[int, str], ...]) -> str:
    return " ".join(repr(text) for _, text in tokens) or "nothing"
