"""A model that is not here: what a run would ask it next is written into a file, for another machine to answer.

It has the run's fingerprint and the model's tokenizer, and no weights. `cai answer` computes the file where the weights
are, `cai import` takes the answers in, and the run goes on as if they had been computed here.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from engine.core.errors import AnsweredElsewhere, ModelError
from engine.models.answer_lines import REQUESTS, FileHead, request_line, write
from engine.models.files.source import Source
from engine.models.files.tokenizer import Text
from engine.models.files.weights import files_of, fingerprint_of
from engine.models.requests import (
    Completion,
    Encoding,
    Generate,
    HiddenStates,
    LabelScores,
    LoraFiles,
    Read,
    Score,
    Scored,
)

TOGETHER = 4096  # requests that a phase may ask for at once
TYPES = ("torch.bfloat16", "torch.float32")  # that weights are computed in, on a GPU and on a CPU


class WritingModel:
    """The requests of a run that its store cannot answer, in a file."""

    batch_size = TOGETHER
    layers = 1  # a run whose critics read hidden states is refused when it reads them, and not given others
    adaptable: str | None = None
    in_use: LoraFiles | None = None

    def __init__(self, source: Source, out: Path, fingerprint: str) -> None:
        self.name = source.name
        self.fingerprint = fingerprint
        self.facts: dict[str, Any] = {}
        self._source = source
        self._out = out

    @classmethod
    def load(cls, source: Source, out: Path, fingerprint: str | None, *, chat: bool = False) -> WritingModel:
        """The model of a run that was begun where the model is, and so has a fingerprint.

        Raises ModelError for a new run, for servers, for a file that is there and for weights that are others.
        """
        if chat or source.servers or fingerprint is None:
            raise ModelError(
                "only the requests of a run that was begun with its model can be written down",
                "Begin it where the model's files and devices are (cai run --until guard), then: cai resume --on "
                f"{out.name}. Nothing was asked.",
            )
        if out.exists():
            raise ModelError(
                f"{out} is there already",
                "Have it answered (cai answer), take the answers in (cai import), then remove it. Nothing was asked.",
            )
        path = files_of(source)
        if fingerprint not in {fingerprint_of(path, dtype) for dtype in TYPES}:
            raise ModelError(
                f"the files of {source.name} are not those that the run began with (fingerprint {fingerprint})",
                "Name the same files; adapters of an earlier stage are not asked elsewhere. Nothing was asked.",
            )
        return cls(source, out, fingerprint)

    def write(self, requests: Iterable[Generate | Scored]) -> Iterator[Any]:
        """Write all requests down and give no answer. Raises AnsweredElsewhere where there were any."""
        n = write(self._out, FileHead(REQUESTS, self.name, self.fingerprint, {}), map(self._line, requests))
        if n:
            raise AnsweredElsewhere(
                f"{n:,} requests were written to {self._out}",
                "Compute them where the model is (cai answer), take the answers in (cai import), then: cai resume",
            )
        return iter(())

    def generate(self, requests: Iterable[Generate]) -> Iterator[Completion]:
        """Not here. Raises AnsweredElsewhere: what is asked past the store has to be computed with it."""
        raise _needed("a part of the run is computed again beside its gate")

    def score(self, requests: Iterable[Score]) -> Iterator[LabelScores]:
        """Not here; see `generate`."""
        raise _needed("a part of the run is computed again beside its gate")

    def hidden(self, requests: Iterable[Read]) -> Iterator[HiddenStates]:
        """Not here. Raises ModelError."""
        raise _probe()

    def encoding(self, text: str) -> Encoding:
        """What the model is fed for a text."""
        return self._text.encoding(text)

    def use(self, adapter: Path | None, sha256: str = "") -> None:
        """The base alone. Raises ModelError for an adapter."""
        if adapter is not None:
            raise ModelError(
                "what an adapter answers can't be computed elsewhere",
                "Go on where the model is: cai resume. Nothing was lost.",
            )

    def chat(self, history: Sequence[tuple[str, str]], prompt: str) -> str | None:
        """None: a base model."""
        return None

    def close(self) -> None:
        """Nothing is held."""

    @functools.cached_property
    def _text(self) -> Text:
        return Text.of(files_of(self._source))

    def _line(self, request: Generate | Scored) -> dict[str, Any]:
        if not isinstance(request, Generate | Score):
            raise _probe()
        return request_line(self.fingerprint, request)


def _needed(what: str) -> AnsweredElsewhere:
    return AnsweredElsewhere(
        f"{what}: the model is needed, a file for cai answer is not enough",
        "Go on where it is: cai resume --until gate. What was committed is safe.",
    )


def _probe() -> ModelError:
    return ModelError(
        "a critic of this run reads hidden states or has an adapter, which can't be asked elsewhere",
        "Go on where the model is: cai resume; or begin a run with critics of labels (--set critics.sample=grade). "
        "Nothing was lost.",
    )
