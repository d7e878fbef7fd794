"""The servers of one model: who gets the next request, and what happens to requests whose server goes away.

One thread runs an event loop with all connections; the engine's thread pulls requests and takes answers. A request goes
to the server with the fewest in flight. What a lost server had in flight is sent to the others; an answer that comes
after that is never read, so that each request has one answer.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import itertools
import queue
import random
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar

import httpx2

from engine.core.errors import ModelError
from engine.core.http_status import Again, Refused, read_body
from engine.core.key import Key
from engine.models.addresses import is_local

MOMENT_S = 0.02  # how long a stream that does not wait looks out for an answer
KEPT_ALIVE_S = 4.0  # below the 5 s after which uvicorn closes an idle connection

_Answer = TypeVar("_Answer")
_END: Any = object()


@dataclass(frozen=True, slots=True)
class Patience:
    """How long what is waited for, in seconds; `tries` is of one request that a server took and did not answer."""

    connect_s: float = 10.0
    answer_s: float = 900.0
    check_s: float = 60.0  # of a question that is put when a server is met
    look_every_s: float = 5.0
    look_s: float = 15.0
    missed_looks: int = 3
    first_wait_s: float = 0.5
    longest_wait_s: float = 30.0
    give_up_s: float = 300.0
    tries: int = 8


@dataclass(eq=False, slots=True)
class Server:
    """One server as it is known now."""

    url: str
    order: int
    outstanding: int = 0
    answered: int = 0
    up: bool = True
    failures: int = 0  # in a row
    missed: int = 0  # health checks in a row
    not_before: float = 0.0
    said: str = ""  # why it is left alone
    calls: set[asyncio.Task[dict[str, Any]]] = field(default_factory=set)
    lost: asyncio.Event = field(default_factory=asyncio.Event)  # wakes who looks after it

    @property
    def root(self) -> str:
        """The address without /v1."""
        return self.url.removesuffix("/v1")


class Servers:
    """A pool of servers. Its methods that are no coroutines belong to the caller's thread.

    `verify` is awaited with a server that came back before it is used again, and raises ModelError where it is not the
    same any more.
    """

    def __init__(
        self,
        urls: Sequence[str],
        key: Key | None,
        in_flight: int,
        patience: Patience,
        verify: Callable[[Server], Awaitable[None]],
    ) -> None:
        self.servers = [Server(url, order) for order, url in enumerate(urls)]
        self.in_flight = in_flight
        self._key = key
        self._patience = patience
        self._verify = verify
        self._rng = random.Random()
        self._turn = itertools.count(len(urls))
        self._hurried = False
        self._trouble_since: float | None = None  # when a request found no server to go to, and none answered since
        self._loop = asyncio.new_event_loop()
        self._news = asyncio.Event()
        self._watchers: list[asyncio.Task[None]] = []
        self._thread = threading.Thread(target=self._loop.run_forever, name="model-servers", daemon=True)
        self._thread.start()
        # What goes to this machine goes there, whatever proxy the environment names for the rest.
        here = {f"all://{httpx2.URL(url).host}": None for url in urls if is_local(url)}
        headers = {} if key is None else {"Authorization": f"Bearer {key.reveal()}"}
        self._client = httpx2.AsyncClient(
            headers=headers,
            mounts=here,
            follow_redirects=False,  # which could lead the key elsewhere
            timeout=httpx2.Timeout(patience.answer_s, connect=patience.connect_s),
            limits=httpx2.Limits(max_connections=None, max_keepalive_connections=None, keepalive_expiry=KEPT_ALIVE_S),
        )

    # The caller's thread

    def run(self, work: Coroutine[Any, Any, _Answer]) -> _Answer:
        """The result of one coroutine."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def watch(self) -> None:
        """Look after the servers' health from now on."""

        async def begin() -> None:
            self._watchers = [asyncio.ensure_future(self._watch(server)) for server in self.servers]

        self.run(begin())

    def stream(
        self, requests: Iterable[Any], answer: Callable[[Any], Coroutine[Any, Any, Any]], waits: bool = True
    ) -> Iterator[Any]:
        """Answers as they come, each once; requests are pulled as there is room. Closing it drops what is in flight.

        One that does not wait takes None for a request that is not there yet, and gives None where no answer came for
        a moment.
        """
        waiting = iter(requests)
        done: queue.SimpleQueue[concurrent.futures.Future[Any]] = queue.SimpleQueue()
        pending: set[concurrent.futures.Future[Any]] = set()
        more = True
        try:
            while True:
                while more and len(pending) < self._room():
                    request = next(waiting, _END)
                    more = request is not _END
                    if request is _END or request is None:
                        break
                    future = asyncio.run_coroutine_threadsafe(answer(request), self._loop)
                    pending.add(future)
                    future.add_done_callback(done.put)
                if not pending and not more:
                    return
                try:
                    future = done.get(timeout=None if waits else MOMENT_S if pending else 0.0)
                except queue.Empty:
                    yield None
                    continue
                pending.discard(future)
                if (error := future.exception()) is not None:
                    yield from _answers_that_came(done)
                    raise error
                yield future.result()
        finally:
            for future in pending:
                future.cancel()
            if pending and not self._loop.is_closed() and threading.current_thread() is not self._thread:
                self.run(asyncio.sleep(0))  # the connections are being closed by then

    def hurry(self) -> None:
        """Wait no longer for a time in which no server answers: the program is to stop."""
        self._hurried = True

    def close(self) -> None:
        """End all connections."""
        if self._loop.is_closed():
            return

        async def end() -> None:
            mine = asyncio.current_task()
            others = [task for task in asyncio.all_tasks() if task is not mine]
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)
            await self._client.aclose()

        with contextlib.suppress(concurrent.futures.TimeoutError):
            asyncio.run_coroutine_threadsafe(end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        if not self._thread.is_alive():
            self._loop.close()

    def _room(self) -> int:
        return self.in_flight * max(1, sum(server.up for server in self.servers))

    # The event loop's thread

    async def post(self, path: str, body: dict[str, Any]) -> tuple[Server, dict[str, Any]]:
        """The least busy server and what it answers, whichever that is.

        Raises Refused for what no server would take, and ModelError where none answers for too long.
        """
        tried = 0
        while True:
            server = await self._free()
            call = asyncio.ensure_future(self.call(server, path, body))
            server.calls.add(call)
            try:
                found = await call
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if task is None or task.cancelling():
                    raise
                tried += 1  # its server was given up
            except Again as failed:
                self._failed(server, failed)
                tried += not failed.busy
            except Refused as refused:
                if refused.status != 404:
                    raise
                # It had the model and its adapter when it was looked at: it was started anew, and is looked at again.
                self._failed(server, Again(str(refused)))
                tried += 1
            else:
                self._worked(server)
                return server, found
            finally:
                server.calls.discard(call)
                server.outstanding -= 1
                self._tell()
            if tried >= self._patience.tries:
                raise ModelError(
                    f"{server.url}: {server.said}; a request got no answer in {tried} tries",
                    "What was committed is safe. Look at the server's own log, then `cai resume` goes on.",
                )

    async def call(
        self, server: Server, path: str, body: dict[str, Any], at_most_s: float | None = None
    ) -> dict[str, Any]:
        """One request to one server. Raises Again where another try may bring more, else Refused."""
        return await self._ask("POST", server.url + path, body, at_most_s or self._patience.answer_s)

    async def look(self, url: str) -> dict[str, Any]:
        """What a server says at an address, in a short time; raises as `call` does."""
        return await self._ask("GET", url, None, self._patience.look_s)

    async def _ask(self, method: str, url: str, body: dict[str, Any] | None, at_most_s: float) -> dict[str, Any]:
        timeout = httpx2.Timeout(at_most_s, connect=min(at_most_s, self._patience.connect_s))
        try:
            response = await self._client.request(method, url, json=body, timeout=timeout)
        except httpx2.TimeoutException:
            raise Again(f"no answer within {at_most_s:g} s") from None
        except (httpx2.HTTPError, OSError) as error:
            raise Again(f"the connection failed ({type(error).__name__})") from None
        return read_body(response.status_code, response.headers, response.text, self._key, datetime.now(UTC))

    async def _free(self) -> Server:
        """The server with the fewest requests in flight, one of them taken; waits until there is one."""
        while True:
            now = time.monotonic()
            usable = [server for server in self.servers if server.up and server.not_before <= now]
            free = [server for server in usable if server.outstanding < self.in_flight]
            if free:
                server = min(free, key=lambda one: (one.outstanding, one.order))
                server.outstanding += 1
                server.order = next(self._turn)
                return server
            if not usable:
                self._require_patience(now)
            wait = min((s.not_before - now for s in self.servers if s.up and s.not_before > now), default=1.0)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), min(max(wait, 0.005), 1.0, self._patience.give_up_s))

    def _require_patience(self, now: float) -> None:
        if self._trouble_since is None:
            self._trouble_since = now
        since = self._trouble_since
        if self._hurried or now - since > self._patience.give_up_s:
            causes: dict[str, list[str]] = {}
            for server in self.servers:
                causes.setdefault(server.said or "no answer", []).append(server.url)
            said = "; ".join(f"{', '.join(urls)}: {cause}" for cause, urls in causes.items())
            raise ModelError(
                f"{said}; no server of the model answered for {now - since:.0f} s",
                "What was committed is safe. Set right what the servers say, then `cai resume` goes on.",
            )

    def _worked(self, server: Server) -> None:
        server.answered += 1
        server.failures = 0
        self._trouble_since = None

    def _failed(self, server: Server, failed: Again) -> None:
        now = time.monotonic()
        server.said = failed.said
        if self._trouble_since is None:
            self._trouble_since = now
        if server.up and server.not_before <= now:  # of requests that fail together the first one counts
            server.failures += 1
        if failed.gone:
            server.up = False
            server.lost.set()
        else:  # a server that says 0 is still not asked again at once
            server.not_before = max(server.not_before, now + max(failed.wait_s or 0.0, self._backoff(server)))

    def _backoff(self, server: Server) -> float:
        top = min(self._patience.longest_wait_s, self._patience.first_wait_s * 2.0 ** min(server.failures - 1, 10))
        return self._rng.uniform(0.0, top)

    def _tell(self) -> None:
        self._news.set()
        self._news = asyncio.Event()

    async def _watch(self, server: Server) -> None:
        """Take a server out that does not answer any more, and in again when it does."""
        while True:
            if server.up:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(server.lost.wait(), self._patience.look_every_s)
                if server.up and not server.outstanding:
                    continue
            if not server.up:
                await asyncio.sleep(self._backoff(server))
            alive, said = True, ""
            try:
                with contextlib.suppress(Refused):  # it has no such path, and answers
                    await self.look(f"{server.root}/health")
            except Again as failed:
                alive, said = failed.status == 429, failed.said
            if server.up:
                server.missed = 0 if alive else server.missed + 1
                if server.missed >= self._patience.missed_looks:
                    self._lose(server, f"it missed {server.missed} health checks: {said}")
            elif alive and await self._same(server):
                server.up, server.missed, server.failures, server.not_before = True, 0, 0, 0.0
                server.lost.clear()
                self._trouble_since = None
                self._tell()
            else:
                server.failures += 1

    async def _same(self, server: Server) -> bool:
        try:
            await self._verify(server)
        except ModelError as error:
            server.said = error.title
            return False
        except (Again, Refused) as error:
            server.said = error.said
            return False
        return True

    def _lose(self, server: Server, said: str) -> None:
        self._failed(server, Again(said))
        for call in server.calls:
            call.cancel()


def _answers_that_came(done: queue.SimpleQueue[concurrent.futures.Future[_Answer]]) -> Iterator[_Answer]:
    """Answers beside a failure: they were computed, so they are kept."""
    with contextlib.suppress(queue.Empty):
        while True:
            future = done.get_nowait()
            if not future.cancelled() and future.exception() is None:
                yield future.result()
