"""The ray backend: one model on each node of a cluster, asked as one.

Requests are pulled here, in the order and with the ids that a run on one machine has, and go to the worker that is the
least busy. A worker that dies is started again, and what it had not answered is asked of the others; whatever it may
have computed is never read then, so that each request has one answer.
"""

from __future__ import annotations

import itertools
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError

from engine.core.errors import ModelError, first_line
from engine.models.files.source import Source, local_folder
from engine.models.ray.nodes import STALLED_S, ClusterNodes, ClusterWorker, raised
from engine.models.ray.worker import Failed
from engine.models.requests import (
    Completion,
    Encoding,
    Generate,
    HiddenStates,
    LabelScores,
    LoraFiles,
    Model,
    Read,
    Score,
    adapter_fingerprint,
)

AHEAD = 2  # requests with a worker for each that its model works on, so that none waits for this process
CALLS = 2  # a worker has at once: it works on the second while the answers of the first are looked at
WAIT_S = 1.0
GIVE_UP_S = 300.0  # without any worker

_END = object()  # of requests

_Numbered = tuple[int, str, Any]  # a request: the stream that asks, the kind, and what is asked


def _warn(text: str) -> None:
    warnings.warn(text, RuntimeWarning, stacklevel=3)


class RayModel:
    """A base model in several processes of a cluster behind the streams. Streams may be read in turns."""

    def __init__(self, source: Source, nodes: ClusterNodes, about: dict[str, Any]) -> None:
        self.name = source.name
        self.fingerprint = self._base_fingerprint = about["fingerprint"]
        self.layers = about["layers"]
        self.in_use: LoraFiles | None = None
        self.adaptable = source.name if source.embedded else str(local_folder(source) or "") or None
        self._nodes = nodes
        self._numbers = itertools.count(1)
        self._asked: dict[int, _Numbered] = {}  # by number, and not answered
        self._queue: deque[int] = deque()  # of these, what no worker has
        self._mail: dict[int, deque[tuple[int, Any]]] = {}  # by stream: answers, and errors
        self._hurried = False
        self._alone_since: float | None = None  # when there was no worker any more
        self._worked_at = time.monotonic()  # when workers were listened to last
        hosts = [worker.host for worker in nodes.workers]
        devices = [str(worker.about["facts"].get("device")) for worker in nodes.workers]
        self.facts: dict[str, Any] = about["facts"] | {
            "ray": ray.__version__,
            "workers": hosts,
            "device": _together(devices),
            "batch_size": self.batch_size,
            "context": min((one.about["facts"].get("context") or 0 for one in nodes.workers), default=0) or None,
        }

    @classmethod
    def load(cls, source: Source, address: str, load: Callable[[], Model]) -> RayModel:
        """Have each node of the cluster at `address` load the model by `load`. Raises ModelError."""
        nodes = ClusterNodes(address, load)
        nodes.tell = _warn
        try:
            return cls(source, nodes, nodes.begin())
        except BaseException:
            nodes.end()
            raise

    @property
    def batch_size(self) -> int:
        """How many requests all workers together work on at once."""
        return sum(worker.about["batch_size"] for worker in self._nodes.workers) or 1

    def tell(self, told: Callable[[str], None]) -> None:
        """Have what happens to workers told to a run instead of warned of."""
        self._nodes.tell = told

    def generate(self, requests: Iterable[Generate]) -> Iterator[Completion]:
        """Continue each prompt; see engine.models.requests.Model.

        Raises PromptTooLong, and ModelError where no worker is left.
        """
        return self._stream("generate", requests)

    def score(self, requests: Iterable[Score]) -> Iterator[LabelScores]:
        """Log-probabilities of labels as continuations; raises as `generate` does."""
        return self._stream("score", requests)

    def hidden(self, requests: Iterable[Read]) -> Iterator[HiddenStates]:
        """Hidden states of texts, where the workers' backend shows them; raises as `generate` does."""
        return self._stream("hidden", requests)

    def together(self, requests: Iterable[Generate | Score | None]) -> Iterator[Completion | LabelScores | None]:
        """Both in one stream; see engine.models.requests.Beside. Raises as `generate` does."""
        return self._stream(None, requests)

    def encoding(self, text: str) -> Encoding:
        """What the model is fed for a text."""
        found: Encoding = self._of_one("encoding", text)
        return found

    def chat(self, history: Sequence[tuple[str, str]], prompt: str) -> str | None:
        """A conversation as the model's own chat template writes it, with the answer left open and without its BOS."""
        found: str | None = self._of_one("chat", list(history), prompt)
        return found

    def use(self, adapter: Path | None, sha256: str = "") -> None:
        """Answer with an adapter that all nodes see under this path, or with the base weights alone.

        What was asked before is answered first. Raises ModelError where one node does not have it.
        """
        while self._asked:
            self._work()
            answers = (answer for mail in self._mail.values() for _, answer in mail)
            if (failed := next((one for one in answers if isinstance(one, Failed)), None)) is not None:
                raise raised(failed)  # what was asked with it is never answered
        before = self.in_use, self.fingerprint
        self.in_use, self.fingerprint = None, self._base_fingerprint
        if adapter is not None:
            self.in_use = LoraFiles(adapter, sha256)
            self.fingerprint = adapter_fingerprint(self._base_fingerprint, sha256)
        try:
            for worker in list(self._nodes.workers):
                self._use_on(worker)
        except BaseException:
            self.in_use, self.fingerprint = before
            for worker in list(self._nodes.workers):
                self._use_on(worker)
            raise

    def hurry(self) -> None:
        """Wait no longer for a time in which there is no worker: the program is to stop."""
        self._hurried = True

    def close(self) -> None:
        """End the workers and leave the cluster, which goes on."""
        self._nodes.end()

    def _stream(self, kind: str | None, requests: Iterable[Any]) -> Iterator[Any]:
        """The answers to requests of one kind; without it to both kinds, with None rather than a long wait."""
        stream = next(self._numbers)
        mail = self._mail[stream] = deque()
        waiting, mine = iter(requests), set[int]()
        exhausted = False
        try:
            while True:
                while not exhausted and len(mine) < AHEAD * self.batch_size:
                    request: Any = next(waiting, _END)
                    exhausted = request is _END
                    if request is _END or request is None:
                        break
                    number = next(self._numbers)
                    self._asked[number] = stream, kind or _kind(request), request
                    self._queue.append(number)
                    mine.add(number)
                if not mine and exhausted:
                    return
                if mine and not mail:
                    self._work()
                if not mail and kind is None:
                    yield None
                while mail:
                    number, answer = mail.popleft()
                    if isinstance(answer, Failed):
                        raise raised(answer)
                    mine.discard(number)
                    yield answer
        finally:
            del self._mail[stream]
            for number in mine:
                self._asked.pop(number, None)
            if mine:
                self._queue = deque(number for number in self._queue if number not in mine)
                for worker in self._nodes.workers:
                    if worker.has & mine:
                        worker.has -= mine
                        worker.basket = [number for number in worker.basket if number not in mine]
                        worker.closed.append(stream)

    def _work(self) -> None:
        """Give workers what waits, and take what the next of them has finished."""
        now = time.monotonic()
        for worker in self._nodes.workers:  # no silence of theirs while nobody listened: the run was paused, or wrote
            worker.since = min(worker.since + now - self._worked_at, now)
        try:
            self._listen()
        finally:
            self._worked_at = time.monotonic()

    def _listen(self) -> None:
        if (workers := self._workers()) is None:
            return
        while self._queue:
            worker = min(workers, key=lambda one: one.load)
            number = self._queue.popleft()
            worker.has.add(number)
            worker.basket.append(number)
        for worker in workers:
            while len(worker.calls) < CALLS and (worker.basket or worker.closed or worker.has):
                self._call(worker)
        calls = {worker.calls[0]: worker for worker in workers if worker.calls}
        if not calls:
            return
        ray.wait(list(calls), timeout=WAIT_S)
        ready, _ = ray.wait(list(calls), num_returns=len(calls), timeout=0)  # all of them, where several are
        for call in ready:
            self._take(calls[call])
        for worker in list(workers):
            if worker.has and time.monotonic() - worker.since > STALLED_S:
                self._lose(worker, f"no answer in {STALLED_S:.0f} s")

    def _call(self, worker: ClusterWorker) -> None:
        by_stream: dict[tuple[int, str], list[tuple[int, Any]]] = {}
        for number in worker.basket:
            stream, kind, request = self._asked[number]
            by_stream.setdefault((stream, kind), []).append((number, request))
        if len(worker.basket) == len(worker.has):  # it had nothing to do until now
            worker.since = time.monotonic()
        asked = [(stream, kind, requests) for (stream, kind), requests in by_stream.items()]
        worker.calls.append(worker.actor.step.remote(asked, worker.closed))
        worker.basket, worker.closed = [], []

    def _take(self, worker: ClusterWorker) -> None:
        try:
            answers, failures = ray.get(worker.calls.popleft())
        except RayError as error:
            self._lose(worker, first_line(error))
            return
        for number, answer in answers:
            worker.has.discard(number)
            if (asked := self._asked.pop(number, None)) is not None:  # else of a stream that was closed
                self._mail[asked[0]].append((number, answer))
        if answers:
            self._nodes.answered(worker)
        for failed in failures:
            if failed.stream in self._mail:
                self._mail[failed.stream].append((0, failed))

    def _lose(self, worker: ClusterWorker, why: str) -> None:
        has = self._nodes.lose(worker, why)
        self._queue.extendleft(sorted((number for number in has if number in self._asked), reverse=True))

    def _workers(self) -> list[ClusterWorker] | None:
        """All that can be asked; after a short wait None where there is none. Raises ModelError where none comes."""
        for worker in self._nodes.look():
            if self.in_use is not None:
                self._use_on(worker)
        if self._nodes.workers:
            self._alone_since = None
            return self._nodes.workers
        now = time.monotonic()
        self._alone_since = self._alone_since or now
        if self._hurried or (not self._nodes.more_to_come and now - self._alone_since > GIVE_UP_S):
            raise self._nodes.none_left()
        time.sleep(WAIT_S)
        return None

    def _use_on(self, worker: ClusterWorker) -> None:
        """Have a worker answer with the adapter that is in use. Raises ModelError where it has another."""
        adapter = self.in_use
        try:
            told = ray.get(worker.actor.use.remote(*((adapter.folder, adapter.sha256) if adapter else (None, ""))))
        except RayError as error:
            self._lose(worker, first_line(error))
            return
        if isinstance(told, Failed):
            raise raised(told)
        if told != self.fingerprint:
            raise ModelError(
                f"the worker on {worker.host} answers as {told} with the adapter in use, which is {self.fingerprint}",
                "Give all nodes the same installation. What was committed is safe.",
            )

    def _of_one(self, method: str, *arguments: Any) -> Any:
        """What one worker says, whichever that is. Raises ModelError where its model fails."""
        while True:
            if (workers := self._workers()) is None:
                continue
            worker = workers[0]
            try:
                told = ray.get(getattr(worker.actor, method).remote(*arguments))
            except RayError as error:
                self._lose(worker, first_line(error))
                continue
            if isinstance(told, Failed):
                raise raised(told)
            return told


def _kind(request: Generate | Score) -> str:
    return "generate" if isinstance(request, Generate) else "score"


def _together(devices: list[str]) -> str:
    """Devices of several workers as one: "8 x NVIDIA H100" twice is sixteen of them."""
    counted: dict[str, int] = {}
    for device in devices:
        several, times, name = device.partition(" x ")
        n, name = (int(several), name) if times and several.isdigit() else (1, device)
        counted[name] = counted.get(name, 0) + n
    return ", ".join(name if n == 1 or name == "cpu" else f"{n} x {name}" for name, n in counted.items())
