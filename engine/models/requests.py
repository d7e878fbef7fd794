"""What a model is asked and what it answers, and the identity of a request."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from engine.core.errors import ModelError


@dataclass(frozen=True, slots=True)
class Decoding:
    """How tokens are chosen. Temperature 0 is greedy; top_k 0 and top_p 1 switch that filter off.

    The order is temperature, top-k, top-p, so that nothing ever sorts the whole vocabulary.
    """

    max_tokens: int
    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    stop: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Generate:
    """A text to be continued. `shared` says how many first characters many requests have in common.

    `shared` is a hint for speed and no part of the identity.
    """

    prompt: str
    decoding: Decoding
    seed: int
    shared: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Completion:
    """What came back: text without the stop sequence, all its token ids (those of the stop sequence included)."""

    request: Generate
    text: str
    token_ids: tuple[int, ...]
    n_prompt_tokens: int
    stop_reason: str  # stop, eos or length
    stop_text: str | None


@dataclass(frozen=True, slots=True)
class Score:
    """A prompt and the labels whose log-probabilities as its continuation are asked for."""

    prompt: str
    labels: tuple[str, ...]
    shared: int = field(default=0, compare=False)


class Readout(Protocol):
    """What is read off one layer's hidden states of a text: log-odds, in nats, that the text is good.

    `sha256` is the hash of all that they follow from, beside the model and the text.
    """

    @property
    def layer(self) -> int: ...

    @property
    def sha256(self) -> str: ...

    def log_odds(self, state: NDArray[np.float32]) -> float: ...


@dataclass(frozen=True, slots=True)
class Probed:
    """A text whose log-odds under a readout are asked for; its answer has them as log-probabilities of two labels."""

    prompt: str
    readout: Readout
    labels: tuple[str, ...] = ("good", "bad")
    shared: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class LoraFiles:
    """An adapter's folder, and the hash of its files, by which alone it is told from others."""

    folder: Path = field(compare=False)
    sha256: str


@dataclass(frozen=True, slots=True)
class Adapted:
    """A prompt whose labels are scored with an adapter in front of the base weights, whatever answers else."""

    prompt: str
    adapter: LoraFiles
    labels: tuple[str, ...]
    shared: int = field(default=0, compare=False)


Scored = Score | Probed | Adapted  # what is answered by log-probabilities of labels


@dataclass(frozen=True, slots=True)
class LabelScores:
    """Log-probability in nats of each label (summed over its tokens) and the number of its tokens."""

    request: Scored
    logprobs: tuple[float, ...]
    n_tokens: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Read:
    """A text whose hidden states are asked for, at the outputs of `layers` (1 is the first), in rising order."""

    prompt: str
    layers: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class HiddenStates:
    """What a text leaves in a model, [layers, 2, size] in float32: the last token's state, and the mean over tokens.

    The mean leaves the first token out, which is the BOS where a model has one.
    """

    request: Read
    states: NDArray[np.float32]


class Model(Protocol):
    """A loaded language model. Requests are pulled as there is room; answers come in the order they are finished.

    `use` puts an adapter's folder in front of the base weights, or takes it away (None): the `fingerprint` follows, and
    `in_use` says which one it is. `adaptable` names the files that an adapter for it can be trained on; None where they
    are not on this machine, or where it takes no adapter.
    `layers` says of how many layers the outputs can be read by `hidden`; 0 where they cannot.
    `chat` is a conversation as the model's own template writes it; None of a model that was not loaded for chat.
    """

    name: str
    fingerprint: str
    facts: dict[str, Any]
    layers: int

    @property
    def in_use(self) -> LoraFiles | None: ...

    @property
    def adaptable(self) -> str | None: ...

    def generate(self, requests: Iterable[Generate]) -> Iterator[Completion]: ...

    def score(self, requests: Iterable[Score]) -> Iterator[LabelScores]: ...

    def hidden(self, requests: Iterable[Read]) -> Iterator[HiddenStates]: ...

    def encoding(self, text: str) -> Encoding: ...

    def use(self, adapter: Path | None, sha256: str = "") -> None: ...

    def chat(self, history: Sequence[tuple[str, str]], prompt: str) -> str | None: ...

    def close(self) -> None: ...


@runtime_checkable
class Beside(Protocol):
    """A model that computes in another process, and so goes on while nobody waits for it.

    `together` takes requests of both kinds, pulled as there is room. One that is None says that there is none now: the
    model then gives None rather than wait for long, and asks again.
    """

    def together(self, requests: Iterable[Generate | Score | None]) -> Iterator[Completion | LabelScores | None]: ...


class WithoutStates:
    """The part of a model that shows no hidden states, as an engine or a server does that gives text alone."""

    layers = 0

    def hidden(self, requests: Iterable[Read]) -> Iterator[HiddenStates]:
        """None. Raises ModelError."""
        raise ModelError(
            "this backend shows no hidden states",
            "A probe critic needs the backend transformers (CAI_BACKEND=transformers). Nothing was changed.",
        )


@dataclass(frozen=True, slots=True)
class Encoding:
    """What a model is really fed for a text: for the contamination guard and for tests."""

    token_ids: tuple[int, ...]
    tokens: tuple[str, ...]
    declared_bos: int | None
    chat_ids: frozenset[int]  # special tokens that only a chat format uses


def request_id(fingerprint: str, request: Generate | Scored) -> str:
    """The hash of all that determines the answer to a request."""
    identity: dict[str, Any] = {"model": fingerprint, "prompt": request.prompt}
    if isinstance(request, Generate):
        identity |= {"decoding": asdict(request.decoding), "seed": request.seed}
    elif isinstance(request, Probed):
        identity |= {"readout": request.readout.sha256}
    else:
        identity |= {"labels": request.labels}
        if isinstance(request, Adapted):
            identity |= {"adapter": request.adapter.sha256}
    text = json.dumps(identity, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def adapter_fingerprint(base: str, sha256: str) -> str:
    """The fingerprint of base weights with an adapter, whose files have the hash `sha256`, in front of them."""
    return hashlib.sha256(f"{base} {sha256}".encode()).hexdigest()[:16]
