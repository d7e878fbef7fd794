"""The workers of a cluster: one a node, started again where it died, joined by those of nodes that come later."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from engine.core.errors import ModelError, PromptTooLong, first_line
from engine.models.ray.worker import Failed, ModelWorker
from engine.models.requests import Model
from engine.models.where import ON

PASSED_ON = ("CAI_BACKEND", "CAI_PARALLEL")  # what this process was told of models holds for the workers too
SAME = ("backend", "dtype", "quantisation", "transformers", "torch", "vllm")  # facts in which workers may not differ
LOOK_S = 2.0
START_S = 1800.0  # until the first worker has loaded its model
MORE_S = 60.0  # for the others then, and at least as long again as the first took
STALLED_S = 900.0  # without an answer to what a worker has
DEATHS = 3  # in a row on one node, after which it is left alone
PAUSE_S = 10.0  # before a worker is started again, times its deaths: what it held may take as long to be free


@dataclass(eq=False)
class ClusterWorker:
    """One worker as this process knows it."""

    node: str
    host: str
    actor: Any
    begun: Any  # its first answer: what it is
    about: dict[str, Any] = field(default_factory=dict)
    has: set[int] = field(default_factory=set)  # requests that it was given and has not answered
    basket: list[int] = field(default_factory=list)  # of these, what goes with the next call
    closed: list[int] = field(default_factory=list)  # streams that it may leave
    calls: deque[Any] = field(default_factory=deque)
    since: float = field(default_factory=time.monotonic)  # when it said something last

    @property
    def load(self) -> float:
        """How full it is, as a share of what its model works on at once."""
        return len(self.has) / int(self.about["batch_size"])


class ClusterNodes:
    """Workers on the nodes of a running cluster; `tell` is told what happens to them."""

    def __init__(self, address: str, load: Callable[[], Model]) -> None:
        self.tell: Callable[[str], None] = lambda text: None
        self.workers: list[ClusterWorker] = []
        self._load = load
        self._starting: list[ClusterWorker] = []
        self._deaths: Counter[str] = Counter()
        self._why: dict[str, str] = {}
        self._not_before: dict[str, float] = {}
        self._looked = 0.0
        self._at_work = False
        self._first: tuple[dict[str, Any], str] | None = None  # what the first worker's model is, and where
        self._here = not ray.is_initialized()
        if self._here:
            _connect(address)

    def begin(self) -> dict[str, Any]:
        """Load the model on all nodes; returns what the first one says of it. Raises ModelError.

        Whoever is not ready when the others have waited as long again as the first one took joins later.
        """
        began = time.monotonic()
        until = began + START_S
        while True:
            self.look(now=True)
            if self.workers:
                until = min(until, time.monotonic() + max(MORE_S, time.monotonic() - began))
            if self.workers and (not self._starting or time.monotonic() > until):
                self._at_work = True
                return self.workers[0].about
            if not self._starting:
                raise self.none_left()
            if time.monotonic() > until:
                raise ModelError(
                    f"no worker of the cluster had loaded the model after {START_S:.0f} s",
                    "Its nodes may be taken by other work (ray status). Nothing was lost: `cai resume` goes on.",
                )
            ray.wait([worker.begun for worker in self._starting], timeout=LOOK_S)

    def look(self, *, now: bool = False) -> list[ClusterWorker]:
        """Start workers on nodes without one, and let those join that are ready; returns who joined.

        Raises ModelError where a worker has another model than the first one; once the model is in use it stays out.
        """
        if not now and time.monotonic() - self._looked < LOOK_S:
            return []
        self._looked = time.monotonic()
        known = {worker.node for worker in (*self.workers, *self._starting)}
        for node in _useful(ray.nodes()):
            name = node["NodeID"]
            rested = self._looked >= self._not_before.get(name, 0.0)
            if name not in known and self._deaths[name] < DEATHS and rested:
                self._starting.append(self._start(node))
        joined = []
        for worker in list(self._starting):
            if not ray.wait([worker.begun], timeout=0)[0]:
                continue
            self._starting.remove(worker)
            try:
                about = ray.get(worker.begun)
            except RayError as error:
                self._died(worker, first_line(error))
                continue
            if isinstance(about, Failed):
                if not self._at_work:
                    self._deaths[worker.node] = DEATHS  # it would fail again
                self._died(worker, f"{about.title}. {about.hint}")
            elif self._is_same(worker, about):
                worker.about, worker.since = about, time.monotonic()
                self.workers.append(worker)
                joined.append(worker)
        return joined

    def lose(self, worker: ClusterWorker, why: str) -> set[int]:
        """Do without a worker; returns the requests that it had."""
        self.workers.remove(worker)
        self._died(worker, why)
        if worker.has:
            self.tell(f"{len(worker.has)} requests of the worker on {worker.host} are asked again")
        return worker.has

    def answered(self, worker: ClusterWorker) -> None:
        """A worker gave answers: its node is sound."""
        worker.since = time.monotonic()
        self._deaths[worker.node] = 0

    @property
    def more_to_come(self) -> bool:
        """Whether workers are being started."""
        return bool(self._starting)

    def none_left(self) -> ModelError:
        """Why there is no worker."""
        said = "; ".join(dict.fromkeys(self._why.values())) or "it has no node with a CPU or a GPU that is free to use"
        return ModelError(
            f"no worker of the Ray cluster answers: {said}",
            "Look at the cluster (ray status, ray logs). What was committed is safe: `cai resume` goes on.",
        )

    def end(self) -> None:
        """Let the models be closed, end the workers and leave the cluster."""
        workers = [*self.workers, *self._starting]
        try:
            if self.workers:
                ray.wait([one.actor.close.remote() for one in self.workers], num_returns=len(self.workers), timeout=30)
            for worker in workers:
                ray.kill(worker.actor)
        except RayError:
            pass  # the cluster is gone already
        self.workers, self._starting = [], []
        if self._here:
            ray.shutdown()

    def _start(self, node: Mapping[str, Any]) -> ClusterWorker:
        """A worker that has all GPUs of a node, or where there is none all its cores."""
        has = node["Resources"]
        gpus = has.get("GPU", 0.0)
        environment = {ON: "", **{name: os.environ[name] for name in PASSED_ON if name in os.environ}}
        actor = ray.remote(ModelWorker).options(
            num_gpus=gpus,
            num_cpus=min(1.0, has.get("CPU", 0.0)) if gpus else has["CPU"],
            scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False),
        )
        made = actor.remote(self._load, environment)
        return ClusterWorker(node["NodeID"], str(node["NodeManagerHostname"]), made, made.begin.remote())

    def _is_same(self, worker: ClusterWorker, about: dict[str, Any]) -> bool:
        """Whether a worker has the model that the others have. Raises ModelError as `look` does."""
        mine = {name: about[name] for name in ("fingerprint", "layers")}
        mine |= {name: about["facts"].get(name) for name in SAME}
        self._first = self._first or (mine, worker.host)
        theirs, host = self._first
        if mine == theirs:
            return True
        differs = next(name for name in mine if mine[name] != theirs[name])
        said = f"{differs} {mine[differs]} on {worker.host}, {theirs[differs]} on {host}"
        if not self._at_work:
            raise ModelError(
                f"the workers of the cluster have not the same model: {said}",
                "Give all nodes the same files and the same installation. What was committed is safe.",
            )
        self._deaths[worker.node] = DEATHS
        self._away(worker, f"it has not the same model: {said}")
        return False

    def _died(self, worker: ClusterWorker, why: str) -> None:
        self._deaths[worker.node] += 1
        self._not_before[worker.node] = time.monotonic() + PAUSE_S * self._deaths[worker.node]
        self._away(worker, why)

    def _away(self, worker: ClusterWorker, why: str) -> None:
        ray.kill(worker.actor)
        self._why[worker.node] = f"{worker.host}: {why}"
        again = self._deaths[worker.node] < DEATHS
        self.tell(
            f"the worker on {worker.host} is lost ({why}); " + ("it is started again" if again else "it stays out")
        )


def raised(failed: Failed) -> ModelError:
    """The error that a worker told."""
    return (PromptTooLong if failed.too_long else ModelError)(failed.title, failed.hint)


def _useful(nodes: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The nodes that workers are for: those with GPUs, where none has any those with cores."""
    alive = [node for node in nodes if node["Alive"]]
    with_gpus = [node for node in alive if node["Resources"].get("GPU")]
    return with_gpus or [node for node in alive if node["Resources"].get("CPU")]


@contextmanager
def _own_way_to_end() -> Iterator[None]:
    """Keep what this process does on a SIGTERM: Ray puts a handler in front that aborts the process 3 s later."""
    libc, kept = ctypes.CDLL(None), ctypes.create_string_buffer(1024)  # a struct sigaction has less on any system
    libc.sigaction(signal.SIGTERM, None, kept)
    try:
        yield
    finally:
        libc.sigaction(signal.SIGTERM, kept, None)


def _connect(address: str) -> None:
    try:
        with _own_way_to_end():
            ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    except (ConnectionError, RuntimeError, OSError, ValueError, AssertionError) as error:
        raise ModelError(
            f"no Ray cluster was reached at {address}: {first_line(error)}",
            "Start it (ray start --head, and ray start --address=HEAD:6379 on the other nodes), or name its head: "
            "--on ray://HEAD:10001. Nothing was lost.",
        ) from error
