"""What the tests of the openai backend share: models that lose patience soon, requests, and a count of answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from engine.models.files.source import resolve
from engine.models.requests import Completion, Decoding, Generate
from engine.models.served.backend import OpenAIModel
from engine.models.served.servers import Patience
from tests.engine.models.model_server import Server, serving

FAST = Patience(
    connect_s=2.0, answer_s=30.0, look_every_s=0.05, look_s=0.3, missed_looks=2, first_wait_s=0.02,
    longest_wait_s=0.1, give_up_s=1.5, tries=5,
)  # fmt: skip
SHA = "ab" * 32


@pytest.fixture
def opened() -> Iterator[Callable[..., OpenAIModel]]:
    with ExitStack() as stack:

        def open_(*servers: Any, batch: int = 8, patience: Patience = FAST, name: str = "") -> OpenAIModel:
            source = resolve(",".join(server.url for server in servers) + name)
            model = OpenAIModel.load(source, batch_size=batch, patience=patience)
            stack.callback(model.close)
            return model

        yield open_


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as found:
        yield found


def asked(n: int, **decoding: Any) -> list[Generate]:
    return [
        Generate("a river is", Decoding(**{"max_tokens": 6, "temperature": 1.0} | decoding), seed) for seed in range(n)
    ]


def once_each(found: list[Completion], n: int) -> None:
    assert Counter(answer.request.seed for answer in found) == Counter(range(n))
