"""Log-probabilities of labels from a server: the next token's own, or those of a prompt that ends with the label."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from engine.core.errors import ModelError
from engine.core.text import flat
from engine.models.requests import LabelScores, Score
from engine.models.served.completions_api import (
    Fed,
    NoAnswer,
    NoLogProbability,
    Wire,
    fed_body,
    next_body,
    read_fed,
    read_next,
)

Post = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]

CLAMPED = -9999.0  # what vLLM writes in place of minus infinity
FAR = -20.0  # a number without decimals below it that all labels have is no coincidence
_TAIL = 16  # last characters of a prompt, on which the tokens of a label behind it may depend


class Labels:
    """Scores labels on the way that a server offers; remembers what tokens a label is behind what end of a prompt."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._known: dict[tuple[str, str], tuple[int, ...]] = {}

    async def score(self, post: Post, request: Score) -> LabelScores:
        """All labels of a request: one request for those of one token, another one for each that is longer.

        Raises NoAnswer, NoLogProbability for values that stand for others, and ModelError where a label does not begin
        with a token of its own.
        """
        tail = request.prompt[-_TAIL:]
        known = {label: self._known.get((tail, label)) for label in request.labels}
        found: dict[str, tuple[float, int]] = {}
        if self._wire.exact:
            ids = {label: tokens[0] for label, tokens in known.items() if tokens is not None and len(tokens) == 1}
            if ids:
                told = read_next(await post(next_body(self._wire, request.prompt, tuple(dict.fromkeys(ids.values())))))
                found = {label: (told[f"token_id:{one}"], 1) for label, one in ids.items() if f"token_id:{one}" in told}
        elif self._wire.top and any(tokens is None or len(tokens) == 1 for tokens in known.values()):
            told = read_next(await post(next_body(self._wire, request.prompt)))
            found = {label: (told[label], 1) for label in request.labels if label in told}
        for label in known:
            if label not in found:
                value, tokens = await by_prompt(self._wire, post, request.prompt, label)
                self._known[tail, label] = tokens
                found[label] = value, len(tokens)
        _require_measured({label: value for label, (value, n) in found.items() if n == 1})
        return LabelScores(
            request,
            tuple(found[label][0] for label in request.labels),
            tuple(found[label][1] for label in request.labels),
        )


def _require_measured(values: Mapping[str, float]) -> None:
    """Raise NoLogProbability where one number is told of all that is too low to be told; `values` are of one token."""
    low = [key for key, value in values.items() if value <= CLAMPED]
    alike = len(values) > 1 and len(set(values.values())) == 1
    if alike and all(value <= FAR and value.is_integer() for value in values.values()):
        low = list(values)
    if low:
        raise NoLogProbability(f"{values[low[0]]} for {', '.join(map(repr, low))} stands for minus infinity")


async def fed(wire: Wire, post: Post, text: str) -> Fed:
    """What the server is fed for a text."""
    return read_fed(await post(fed_body(wire, text)))


async def by_prompt(wire: Wire, post: Post, prompt: str, label: str) -> tuple[float, tuple[int, ...]]:
    """A label's log-probability behind a prompt, summed over its tokens, and their ids."""
    whole = await fed(wire, post, prompt + label)
    n = _tokens_at_end(whole.texts, label)
    if n == 0:  # tokens that are parts of a character, or whose blanks are not shown
        before = await fed(wire, post, prompt)
        n = len(whole.ids) - len(before.ids)
        if n <= 0 or whole.ids[: len(before.ids)] != before.ids:
            raise ModelError(
                f"the label {label!r} does not begin with a token of its own behind the prompt's end "
                f"{prompt[-_TAIL:]!r}",
                "Let the label begin with a blank and the prompt end without one. What was committed is safe.",
            )
    values = [value for value in whole.logprobs[-n:] if value is not None]
    if len(values) < n:
        raise NoAnswer("nothing stands before the label: an empty prompt, and this server feeds no BOS")
    if min(values) <= CLAMPED:
        raise NoLogProbability(f"{min(values)} for a token of the label {flat(label, 40)!r} stands for minus infinity")
    return sum(values), whole.ids[-n:]


def _tokens_at_end(texts: tuple[str, ...], label: str) -> int:
    """How many last tokens are exactly the label; 0 where their texts do not tell."""
    text = ""
    for n, token in enumerate(reversed(texts), 1):
        text = token + text
        if text == label:
            return n
        if len(text) >= len(label):
            break
    return 0
