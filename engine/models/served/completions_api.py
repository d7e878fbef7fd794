"""The wire of /v1/completions: what is sent, and how what comes back is read.

Raw completions only: nothing here knows a chat. Everything that decides which token is chosen is sent with each
request, because a server takes what is not sent from the model's own generation_config.
"""

from __future__ import annotations

import itertools
import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from engine.core.errors import ModelError, PromptTooLong
from engine.core.http_status import Refused
from engine.core.text import flat
from engine.models.requests import Completion, Decoding, Generate

UNKNOWN_ID = -1  # a token whose id the server does not tell
ROUNDING = 1e-3  # nats above 0 that arithmetic may leave
# What vLLM and SGLang take beyond OpenAI's own fields.
_EXTENSIONS: dict[str, Any] = {
    "top_k": -1,
    "min_p": 0.0,
    "repetition_penalty": 1.0,
    "skip_special_tokens": False,
    "spaces_between_special_tokens": False,
    "return_token_ids": True,
}
_TOO_LONG = ("context length", "context window", "maximum model length", "max_model_len", "too long", "maximum input")


class NoAnswer(Exception):
    """A body that is none of the forms, or says that the server broke off."""


class NoLogProbability(NoAnswer):
    """What stands in the place of a log-probability is none."""


@dataclass(frozen=True, slots=True)
class Wire:
    """What a server takes and tells, as the checks at its start found it.

    `top` is how many of the next token's alternatives it tells with texts that can be told apart, 0 for none that
    serve. `exact`: it tells the log-probability of a given token at any rank. `names_stops`: it says which stop
    sequence ended an answer; where it does not, answers are cut here. `front` is what it puts in front of a prompt.
    """

    model: str
    extensions: bool
    ids: bool
    top: int = 0
    exact: bool = False
    names_stops: bool = True
    top_k: bool = True
    front: tuple[tuple[int, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Fed:
    """A prompt as the server read it; a log-probability is None where nothing stands before the token."""

    ids: tuple[int, ...]
    texts: tuple[str, ...]
    logprobs: tuple[float | None, ...]


def unknown_id(text: str) -> int:
    """A negative number in place of the id of a token of which only the text is known."""
    return -1 - zlib.crc32(text.encode("utf-8", "surrogatepass")) % (1 << 30)


def generate_body(wire: Wire, request: Generate) -> dict[str, Any]:
    """What is sent for a text to be continued. Raises ModelError for a decoding that the server does not follow."""
    decoding = request.decoding
    if decoding.top_k and decoding.temperature and not wire.top_k:
        raise ModelError(
            "this server does not follow top_k, which the spec asks for",
            "Use a server that does (vLLM, SGLang), or set top_k to 0 in the spec. What was committed is safe.",
        )
    body = _body(wire, request.prompt, decoding, request.seed)
    if decoding.stop and wire.names_stops:
        body["stop"] = list(decoding.stop)
    elif decoding.stop:
        body["logprobs"] = 1  # its tokens show where to cut
    return body


def fed_body(wire: Wire, text: str) -> dict[str, Any]:
    """What is sent to have a text scored as a prompt; one token more is written, as not every server takes none."""
    return _body(wire, text, Decoding(1, 1.0), 0) | {"echo": True, "logprobs": 1}


def next_body(wire: Wire, text: str, ids: Sequence[int] = ()) -> dict[str, Any]:
    """What is sent to have the next token's alternatives, or the tokens `ids`, with their log-probabilities.

    Temperature 1 without a filter: what a server computes before and after its sampler is then the same.
    """
    body = _body(wire, text, Decoding(1, 1.0), 0) | {"logprobs": 1 if ids else wire.top}
    if ids:
        body |= {"logprob_token_ids": list(ids), "return_tokens_as_token_ids": True}
    return body


def _body(wire: Wire, prompt: str, decoding: Decoding, seed: int) -> dict[str, Any]:
    body = {
        "model": wire.model,
        "prompt": prompt,
        "max_tokens": decoding.max_tokens,
        "temperature": decoding.temperature,
        "top_p": decoding.top_p,
        "seed": (seed ^ (seed >> 31)) & 0x7FFFFFFF,  # the 31 bits that every server takes, from 63
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
        "n": 1,
        "stream": False,
    }
    return body | _EXTENSIONS | {"top_k": decoding.top_k or -1} if wire.extensions else body


def read_fed(found: dict[str, Any]) -> Fed:
    """The prompt's tokens. Raises NoAnswer."""
    choice, logprobs = _choice(found), _logprobs(found)
    n = _count(found, "prompt_tokens")
    texts, values = logprobs.get("tokens") or [], logprobs.get("token_logprobs") or []
    if not 0 < n <= len(texts) or len(texts) != len(values):
        raise NoAnswer("it does not score the tokens of a prompt (echo with logprobs)")
    told = choice.get("prompt_token_ids")
    ids = tuple(told) if isinstance(told, list) and len(told) == n else tuple(map(unknown_id, texts[:n]))
    first = None if values[0] is None else log_probability(values[0])
    return Fed(ids, tuple(texts[:n]), (first, *map(log_probability, values[1:n])))


def log_probability(value: Any) -> float:
    """A number of nats, finite and at most 0. Raises NoLogProbability with what was told instead."""
    try:
        number = float(value) if isinstance(value, int | float) else math.nan
    except OverflowError:
        number = math.inf
    if not math.isfinite(number) or number > ROUNDING:
        raise NoLogProbability(f"{flat(repr(value), 60)} is no log-probability, which is finite and at most 0")
    return min(number, 0.0)


def tells_ids(found: dict[str, Any]) -> bool:
    """Whether an answer has the ids of its prompt's and its own tokens."""
    choice = _choice(found)
    return bool(choice.get("prompt_token_ids")) and isinstance(choice.get("token_ids"), list)


def read_next(found: dict[str, Any]) -> dict[str, float]:
    """The next token's alternatives: log-probability by text, or by `token_id:` and id where that was asked.

    Raises NoLogProbability.
    """
    top = _logprobs(found).get("top_logprobs") or [None]
    if not isinstance(top[0], dict):
        return {}
    return {str(text): log_probability(value) for text, value in top[0].items()}


def read_completion(wire: Wire, request: Generate, found: dict[str, Any]) -> Completion:
    """An answer in the terms of engine.models. Raises NoAnswer, and PromptTooLong where the context ran out."""
    choice = _choice(found)
    text, finish, n = choice.get("text"), choice.get("finish_reason"), _count(found, "completion_tokens")
    if not isinstance(text, str) or finish not in ("stop", "length", "eos_token", "stop_sequence"):
        raise NoAnswer(f"an answer ended by {finish!r}")
    told = choice.get("token_ids")
    ids = tuple(told) if isinstance(told, list) and (told or not n) else (UNKNOWN_ID,) * n
    stops, prompt_tokens = request.decoding.stop, _count(found, "prompt_tokens")
    if not wire.names_stops:
        seen = [(text.find(stop), stop) for stop in stops if stop in text]
        if seen:
            cut, stop = min(seen)
            kept = _tokens_up_to(_logprobs(found).get("tokens") or [], cut + len(stop))
            return Completion(request, text[:cut], ids[: kept or len(ids)], prompt_tokens, "stop", stop)
    else:
        named = choice.get("stop_reason", choice.get("matched_stop"))
        if finish != "length" and isinstance(named, str) and named in stops:
            # The first one in the text counts, whichever the server looked for first.
            cut, stop = min((f"{text}{named}".find(one), one) for one in stops if one in f"{text}{named}")
            return Completion(request, text[:cut], ids, prompt_tokens, "stop", stop)
    if finish == "length" and n < request.decoding.max_tokens:
        raise too_long(f"after {n} of {request.decoding.max_tokens} tokens the context was full")
    return Completion(request, text, ids, prompt_tokens, "length" if finish == "length" else "eos", None)


def too_long(said: str) -> PromptTooLong:
    """The error for what does not fit into the model's context."""
    return PromptTooLong(
        f"a prompt and its answer exceed the model's context: {said}",
        "Lower the token limit or the number of examples in the spec, or start the server with a longer context "
        "(vLLM: --max-model-len). What was committed is safe.",
    )


def refusal(refused: Refused) -> ModelError:
    """What a server refused, as an error that says what to do."""
    if refused.status in (400, 413, 422) and any(words in refused.said.lower() for words in _TOO_LONG):
        return too_long(refused.said)
    if refused.status in (401, 403):
        return ModelError(
            f"the model's server wants another key ({refused})",
            "Put its key into the environment variable CAI_MODEL_KEY. What was committed is safe.",
        )
    return ModelError(
        f"the model's server refused a request ({refused})",
        "What was committed is safe. Look at the server's own log, then `cai resume` goes on.",
    )


def _tokens_up_to(texts: Sequence[str], n: int) -> int:
    """How many tokens hold the first n characters; 0 where their texts do not tell."""
    lengths = itertools.accumulate(map(len, texts))
    return next((count for count, length in enumerate(lengths, 1) if length >= n), 0)


def _choice(found: dict[str, Any]) -> dict[str, Any]:
    choices = found.get("choices")
    if not isinstance(choices, list) or len(choices) != 1 or not isinstance(choices[0], dict):
        raise NoAnswer("it has not the one choice that is wanted")
    return choices[0]


def _logprobs(found: dict[str, Any]) -> dict[str, Any]:
    logprobs = _choice(found).get("logprobs")
    return logprobs if isinstance(logprobs, dict) else {}


def _count(found: dict[str, Any], name: str) -> int:
    count = (found.get("usage") or {}).get(name)
    if not isinstance(count, int):
        raise NoAnswer(f"it does not say its {name}")
    return count
