"""What runs in a process of the cluster: one model, asked in short steps. Nothing of Ray is imported here."""

from __future__ import annotations

import os
import socket
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.core.errors import PromptTooLong, first_line
from engine.models.checkpoints import tree_sha256
from engine.models.requests import Encoding, Model
from store.errors import CaiError

STEP_S = 0.25  # after which a step gives what it has

Numbered = tuple[int, Any]  # a request or an answer, under the number that the asking process gave it


@dataclass(frozen=True, slots=True)
class Failed:
    """An error as it travels: of `stream` where a request was at fault."""

    title: str
    hint: str
    too_long: bool = False
    stream: int = 0


@dataclass
class _Stream:
    """Requests of one kind that were asked together, and the model's stream that answers them."""

    kind: str
    waiting: deque[Numbered] = field(default_factory=deque)
    numbers: dict[Any, deque[int]] = field(default_factory=dict)  # of requests that the model has
    answers: Iterator[Any] | None = None

    def pulled(self) -> Iterator[Any]:
        """What waits; it ends where nothing does, so that the model never waits for this process."""
        while self.waiting:
            number, request = self.waiting.popleft()
            self.numbers.setdefault(request, deque()).append(number)
            yield request

    def next(self, model: Model) -> Numbered | None:
        """The next answer; None where there is none, and what came meanwhile begins another of the model's streams."""
        if self.answers is None:
            if not self.waiting:
                return None
            self.answers = getattr(model, self.kind)(self.pulled())
        answer = next(self.answers, None)
        if answer is None:
            self.answers = None
            return None
        return self.numbers[answer.request].popleft(), answer


class ModelWorker:
    """A model behind methods that are called one after another.

    `load` loads it as on a machine of its own, after `environment` was set.
    """

    def __init__(self, load: Callable[[], Model], environment: Mapping[str, str]) -> None:
        os.environ.update(environment)
        self._load = load
        self._model: Any = None
        self._streams: dict[tuple[int, str], _Stream] = {}  # by number and kind

    def begin(self) -> dict[str, Any] | Failed:
        """Load the model and say what it is, or why it could not be loaded."""
        try:
            self._model = self._load()
        except BaseException as error:
            return _failure(error)
        model = self._model
        return {
            "name": model.name,
            "fingerprint": model.fingerprint,
            "facts": model.facts,
            "layers": model.layers,
            "batch_size": int(getattr(model, "batch_size", 1)),
            "host": socket.gethostname(),
        }

    def step(
        self, asked: list[tuple[int, str, list[Numbered]]], closed: list[int]
    ) -> tuple[list[Numbered], list[Failed]]:
        """Take requests by stream and kind, leave closed streams, work for a short time: answers, and what failed."""
        for stream in closed:
            self._leave(stream)
        for stream, kind, requests in asked:
            self._streams.setdefault((stream, kind), _Stream(kind)).waiting.extend(requests)
        answers: list[Numbered] = []
        failures: list[Failed] = []
        until = time.monotonic() + STEP_S
        while self._streams and time.monotonic() < until:
            for key, stream_ in list(self._streams.items()):
                if key not in self._streams:
                    continue  # its other kind failed
                try:
                    answer = stream_.next(self._model)
                except Exception as error:
                    failures.append(_failure(error, key[0]))
                    self._leave(key[0])
                    continue
                if answer is not None:
                    answers.append(answer)
                elif not stream_.waiting:
                    del self._streams[key]
        return answers, failures

    def encoding(self, text: str) -> Encoding | Failed:
        """What the model is fed for a text."""
        found: Encoding | Failed = _told(lambda: self._model.encoding(text))
        return found

    def chat(self, history: list[tuple[str, str]], prompt: str) -> str | Failed | None:
        """A conversation as the model's own template writes it."""
        found: str | Failed | None = _told(lambda: self._model.chat(history, prompt))
        return found

    def use(self, adapter: Path | None, sha256: str) -> str | Failed:
        """Answer with an adapter that lies under the same path on this node; returns the fingerprint."""
        try:
            if adapter is not None and not adapter.is_dir():
                return Failed(f"there is no {adapter} on {socket.gethostname()}", _SHARE)
            if adapter is not None and sha256 and tree_sha256(adapter) != sha256:
                return Failed(f"the files in {adapter} are others on {socket.gethostname()}", _SHARE)
            self._model.use(adapter, sha256)
        except Exception as error:
            return _failure(error)
        return str(self._model.fingerprint)

    def close(self) -> None:
        """Give the device's memory back."""
        if self._model is not None:
            self._model.close()

    def _leave(self, number: int) -> None:
        for key in [key for key in self._streams if key[0] == number]:
            close = getattr(self._streams.pop(key).answers, "close", None)
            if close is not None:
                close()


def _told(ask: Callable[[], Any]) -> Any:
    """What is asked, or why it failed: an error would look like the worker's death."""
    try:
        return ask()
    except Exception as error:
        return _failure(error)


_SHARE = "Let all nodes see the store's folder under one path (a shared file system). Nothing was lost."


def _failure(error: BaseException, stream: int = 0) -> Failed:
    if isinstance(error, CaiError):
        return Failed(error.title, error.hint, isinstance(error, PromptTooLong), stream)
    traceback.print_exception(error)
    return Failed(
        f"unexpected {type(error).__name__} on {socket.gethostname()}: {first_line(error)}",
        "What was committed is safe. The worker's log has the traceback (ray logs).",
        stream=stream,
    )
