"""Models that workers of a cluster load in tests: the fake one, slow enough to be killed in the middle."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from engine.core.errors import ModelError, PromptTooLong
from engine.models.requests import Completion, Encoding, Generate, LabelScores, Score
from tests.engine.fakes import FakeModel

SECONDS = 0.01  # for an answer


class SlowModel(FakeModel):
    """Takes its time, and writes into a folder which process answers what."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder
        self.facts |= {"device": "cpu", "context": 2048}
        (folder / f"{os.getpid()}.pid").write_text(os.environ["CAI_ON"])

    def generate(self, requests: Iterable[Generate]) -> Iterator[Completion]:
        for answer in super().generate(map(self._fitting, requests)):
            time.sleep(SECONDS)
            with (self._folder / f"{os.getpid()}.answers").open("a") as file:
                file.write("x")
            yield answer

    def score(self, requests: Iterable[Score]) -> Iterator[LabelScores]:
        for answer in super().score(requests):
            time.sleep(SECONDS)
            yield answer

    def encoding(self, text: str) -> Encoding:
        if text == "broken":
            raise ModelError("the tokenizer fails", "Look at its files.")
        time.sleep(SECONDS)
        return super().encoding(text)

    def _fitting(self, request: Generate) -> Generate:
        if request.decoding.max_tokens > 2048:
            raise PromptTooLong("a prompt is too long", "What was committed is safe.")
        return request


class Differing(SlowModel):
    """Has other weights in each process."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.fingerprint = f"{os.getpid():016d}"


class Shallow(SlowModel):
    """Shows hidden states of another number of layers in each process."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.layers = os.getpid()


def broken() -> FakeModel:
    raise ModelError("the model could not be loaded: no memory", "Free some. Nothing was lost.")
