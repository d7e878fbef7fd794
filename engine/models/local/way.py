"""What the two ways of running a transformers model have in common: rows that are written, and texts that are fed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from engine.models.files.tokenizer import Text
from engine.models.local.sampling import choose, uniforms
from engine.models.requests import Completion, Generate, HiddenStates, LabelScores, Read, Score

LONGEST_STOP_TOKENS = 24  # how many last tokens are decoded to look for a stop sequence


@dataclass
class WrittenRow:
    """A text that is being written."""

    request: Generate
    prompt: tuple[int, ...]
    uniforms: NDArray[np.float64]
    written: list[int] = field(default_factory=list)

    @property
    def length(self) -> int:
        """Tokens that lie in the cache: all but the one just chosen."""
        return len(self.prompt) + max(len(self.written) - 1, 0)


@dataclass(frozen=True)
class FedText:
    """Tokens that are fed to score one label of a request, or all of them where each is one token."""

    request: int  # its place in the window
    beginning: tuple[int, ...]
    text: list[int]  # what follows the beginning
    asked: list[tuple[int, int, int]]  # place in text, token whose log-probability there counts, label


class Unsuited(Exception):
    """A path that does not give what the model's own pass gives; the text says why, or by how much."""


class Way:
    """A way to run a model. `text` is its tokenizer, `ends` are the tokens that end an answer."""

    name: str

    def __init__(self, model: Any, text: Text, ends: frozenset[int], batch_size: int) -> None:
        self.batch_size = batch_size
        self._model = model
        self._decoder = model.get_decoder()
        self._text = text
        self._ends = ends
        self._device = model.device
        self._context = context_of(model)
        self.layers = len(getattr(self._decoder, "layers", ()))

    def generate(self, requests: Iterable[Generate]) -> Iterator[Completion]:
        """Continue each prompt; see engine.models.requests.Model. Raises PromptTooLong."""
        raise NotImplementedError

    def score(self, requests: Iterable[Score]) -> Iterator[LabelScores]:
        """Log-probabilities of labels as continuations; see engine.models.requests.Model. Raises PromptTooLong."""
        raise NotImplementedError

    def hidden(self, requests: Iterable[Read]) -> Iterator[HiddenStates]:
        """Hidden states of texts; see engine.models.requests.Model. Raises PromptTooLong."""
        raise NotImplementedError

    def forget(self) -> None:
        """Let go of what was computed with weights that are others from now on."""

    def _row(self, request: Generate) -> WrittenRow:
        prompt = self._text.fitting(request.prompt, request.decoding.max_tokens, self._context)
        return WrittenRow(request, prompt, uniforms(request.seed, request.decoding.max_tokens))

    def _choose(self, rows: list[WrittenRow], logits: NDArray[np.float32], ids: NDArray[np.int64]) -> None:
        """Let each row go on with one of its candidates ([rows, candidates])."""
        for index, row in enumerate(rows):
            uniform = row.uniforms[len(row.written)]
            row.written.append(choose(logits[index], ids[index], row.request.decoding, uniform))

    def _ended(self, row: WrittenRow) -> Completion | None:
        decoding, written = row.request.decoding, row.written
        tail = self._text.decode(written[-LONGEST_STOP_TOKENS:])
        reason, stop, text = "", None, ""
        if written[-1] in self._ends:
            reason, text = "eos", self._text.decode(written[:-1])
        elif any(stop in tail for stop in decoding.stop):
            whole = self._text.decode(written)
            cut, stop = min((whole.find(stop), stop) for stop in decoding.stop if stop in whole)
            reason, text = "stop", whole[:cut]
        elif len(written) >= decoding.max_tokens:
            reason, text = "length", self._text.decode(written)
        if not reason:
            return None
        return Completion(row.request, text, tuple(written), len(row.prompt), reason, stop)


def context_of(model: Any) -> int:
    """The most tokens that a model takes, prompt and answer together."""
    return int(getattr(model.config.get_text_config(), "max_position_embeddings", 2048))


def wanted_candidates(rows: list[WrittenRow]) -> int | None:
    """How many of the likeliest tokens any of the rows can choose among; None where it is all of them."""
    decodings = [row.request.decoding for row in rows]
    if any(decoding.temperature > 0 and not decoding.top_k for decoding in decodings):
        return None
    return max(decoding.top_k or 1 for decoding in decodings)


def fed(at: int, beginning: tuple[int, ...], text: list[int], labels: list[list[int]]) -> list[FedText]:
    """What to feed for the request `at`: one text where its labels are of one token, else one for each label."""
    last = len(text) - 1
    if all(len(label) == 1 for label in labels):
        return [FedText(at, beginning, text, [(last, label[0], number) for number, label in enumerate(labels)])]
    return [
        FedText(at, beginning, text + label[:-1], [(last + k, token, number) for k, token in enumerate(label)])
        for number, label in enumerate(labels)
    ]


def summed(state: torch.Tensor) -> torch.Tensor:
    """What is kept of one layer's states of a text ([tokens, size]): the last token's, and the mean, [2, size].

    The first token is the BOS where the model has one, and attends to itself alone: no mean holds it.
    """
    return torch.stack([state[-1], state[1 if len(state) > 1 else 0 :].mean(0)])
