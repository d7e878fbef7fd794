"""Labels of one or more tokens, weighed by questions about the next token alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

MOST_LABELS = 128  # token ids that vLLM takes in one request (sampling_params.py, MAX_LOGPROB_TOKEN_IDS)
Tokens = tuple[int, ...]


def places_of(labels: Sequence[Tokens]) -> dict[str, tuple[Tokens, Tokens]]:
    """What to ask after a prompt to weigh labels, by name: after which of their tokens, which tokens.

    Labels with a common beginning share its questions; one-token labels, at most 128 of them, are one question.
    """
    wanted: dict[Tokens, dict[int, None]] = {}
    for label in labels:
        for at, token in enumerate(label):
            wanted.setdefault(label[:at], {})[token] = None
    found = {}
    for before, tokens in wanted.items():
        every = tuple(tokens)
        for start in range(0, len(every), MOST_LABELS):
            found[f"{start}:{_ids(before)}"] = before, every[start : start + MOST_LABELS]
    return found


def sums(labels: Sequence[Tokens], found: Mapping[str, Mapping[int, float]]) -> tuple[float, ...]:
    """Each label's log-probability: the sum over its tokens of what was found after those before them, by name."""
    known: dict[str, dict[int, float]] = {}
    for name, logprobs in found.items():
        known.setdefault(name.partition(":")[2], {}).update(logprobs)
    return tuple(sum((known[_ids(label[:at])][token] for at, token in enumerate(label)), start=0.0) for label in labels)


def _ids(tokens: Tokens) -> str:
    return ",".join(map(str, tokens))
