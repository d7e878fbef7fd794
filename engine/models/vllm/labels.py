"""Labels of one or more tokens, weighed by questions about the next token, or as the end of a prompt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

MOST_LABELS = 128  # token ids that vLLM takes in one request (sampling_params.py, MAX_LOGPROB_TOKEN_IDS)
AGAIN = 16  # tokens that a question computes though all before it is in the cache, which is kept in blocks
Tokens = tuple[int, ...]


def as_prompts(labels: Sequence[Tokens], prompt: int, shared: int) -> bool:
    """Whether to weigh each label by one prefill of the prompt and itself instead of by what to ask at each place.

    It is where that makes fewer requests and computes no more tokens, and each label has a token. `prompt` is the
    number of the prompt's tokens, of which the first `shared` lie in the prefix cache; a prefill whose own tokens are
    weighed reads nothing there.
    """
    places, each = places_of(labels), set(labels)
    prefills = sum(prompt + len(label) for label in each)
    return all(each) and len(each) < len(places) and prefills <= prompt - shared + AGAIN * len(places)


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
            found[f"{start}:{name_of(before)}"] = before, every[start : start + MOST_LABELS]
    return found


def sums(labels: Sequence[Tokens], found: Mapping[str, Mapping[int, float]]) -> tuple[float, ...]:
    """Each label's log-probability: the sum over its tokens of what was found after those before them, by name."""
    known: dict[str, dict[int, float]] = {}
    for name, logprobs in found.items():
        known.setdefault(name.partition(":")[2], {}).update(logprobs)
    return tuple(
        sum((known[name_of(label[:at])][token] for at, token in enumerate(label)), start=0.0) for label in labels
    )


def name_of(tokens: Tokens) -> str:
    """How tokens are named within a request."""
    return ",".join(map(str, tokens))
