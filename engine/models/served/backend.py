"""The openai backend: a model behind one or many OpenAI-compatible servers, asked for raw completions.

Prompts go as text and the server's own tokenizer reads them, so that text which spells a special token is one to it:
`facts` lists those that were seen to be. A seed goes in 31 of its 63 bits. What the weights are is what the servers
say; only that all servers agree is checked.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import hashlib
import json
import os
import resource
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import Any, TypeVar

from engine.core.errors import ModelError, ModelUnknown, ReviewError
from engine.core.http_status import Again, Refused
from engine.core.key import Key, find_key
from engine.models import addresses
from engine.models.files.source import Source, local_folder, resolve
from engine.models.requests import (
    Completion,
    Encoding,
    Generate,
    LabelScores,
    LoraFiles,
    Score,
    WithoutStates,
    adapter_fingerprint,
)
from engine.models.served.checks import Checked, agree, bos_verdict, check
from engine.models.served.completions_api import NoAnswer, Wire, generate_body, read_completion, refusal
from engine.models.served.label_scores import Labels, Post, fed
from engine.models.served.servers import Patience, Server, Servers

KEY, KEY_FILE = "CAI_MODEL_KEY", "CAI_MODEL_KEY_FILE"
IN_FLIGHT = 256  # requests a server: vLLM runs so many at once as it comes
SPARE_FILES = 256  # of the process's open files, kept for all else
TRIES_AT_START = 3
NO_SUCH_WAY = (404, 405)  # a server without the path; one that has it refuses an adapter without a name by 400
UNUSABLE_AT_MOST = 4  # bodies for one request, such as those of a server that breaks off while it is shut down
_Answer = TypeVar("_Answer")
_ANSWERED: ContextVar[str] = ContextVar("answered", default="")  # the server that a task had its last answer from
_IDENTITY = ("id", "root", "owned_by", "max_model_len")  # `created` is the time of asking on some servers
_MERGE = (
    "Merge the adapter into the weights (`cai merge`) and serve those, or start vLLM with --enable-lora and "
    "VLLM_ALLOW_RUNTIME_LORA_UPDATING=True on a file system that has the adapter's folder. Nothing was lost."
)


class OpenAIModel(WithoutStates):
    """A served base model behind its streams. Answers come as servers finish them, each request's once."""

    def __init__(self, source: Source, in_flight: int | None, patience: Patience) -> None:
        urls, self._wanted = addresses.parse(source.name)
        key = _key(urls)
        wanted = in_flight or IN_FLIGHT
        room = min(wanted, max(1, _files_free(wanted * len(urls)) // len(urls)))
        self.name = source.name
        self.batch_size = room
        self._patience = patience
        self._card: dict[str, Any] = {}
        self._adapter: tuple[Path, str] | None = None
        self._used: frozenset[tuple[Path, str]] = frozenset()  # adapters that requests under way may name
        self._checked: Checked | None = None
        self._tokenizer_info: dict[str, Any] = {}
        self._servers = Servers(urls, key, room, patience, self._verify)
        try:
            away = self._servers.run(self._begin())
            bos = bos_verdict(self._found.wire, self._tokenizer_info, self._card.get("root"))
        except BaseException:
            self._servers.close()
            raise
        self._servers.watch()
        checked = self._found
        self._labels = Labels(checked.wire)
        self._model = self._card["id"]
        self.fingerprint = self._base_fingerprint = _fingerprint(self._card, checked.wire)
        self.facts: dict[str, Any] = {
            "backend": "openai",
            "servers": list(urls),
            "away_at_start": away,
            "served": {name: self._card.get(name) for name in _IDENTITY},
            "weights": "not verified: the fingerprint is of what the servers say of the model",
            "context": self._card.get("max_model_len"),
            "batch_size": room,
            **({} if room == wanted else {"batch_size_wanted": wanted}),  # this process may not open more files
            "license": source.license,
            "base_fingerprint": self.fingerprint,
            **checked.facts,
            "bos_check": bos,
        }

    @classmethod
    def load(
        cls, source: Source, *, batch_size: int | None = None, chat: bool = False, patience: Patience | None = None
    ) -> OpenAIModel:
        """Find the servers and check what they feed and tell; `batch_size` is how many requests a server has at once.

        Raises ModelError with what to start a server with.
        """
        if chat:
            raise ModelError(
                "a reference with its chat template is loaded from its files, not from a server",
                "Name a folder or a Hugging Face name. Nothing was lost.",
            )
        return cls(source, batch_size, patience or Patience())

    def generate(self, requests: Iterable[Generate]) -> Iterator[Completion]:
        """Continue each prompt; see engine.models.requests.Model.

        Raises PromptTooLong, and ModelError where no server answers any more.
        """
        return self._servers.stream(requests, self._answer)

    def score(self, requests: Iterable[Score]) -> Iterator[LabelScores]:
        """Log-probabilities of labels as continuations; raises as `generate` does."""
        return self._servers.stream(requests, self._answer)

    def together(self, requests: Iterable[Generate | Score | None]) -> Iterator[Completion | LabelScores | None]:
        """Both in one stream; see engine.models.requests.Beside. Raises as `generate` does."""
        return self._servers.stream(requests, self._answer, waits=False)

    def _answer(self, request: Generate | Score) -> Coroutine[Any, Any, Any]:
        """Asked of the adapter that is in use now, whatever is when its turn comes."""
        if isinstance(request, Generate):
            return self._complete(request, self._model)
        return self._score(request, self._model)

    def encoding(self, text: str) -> Encoding:
        """What the servers are fed for a text; ids are negative where they do not tell them."""
        found = self._servers.run(self._told(lambda: fed(self._found.wire, self._post, text)))
        bos = self._found.wire.front[0][0] if self._found.wire.front else None
        return Encoding(found.ids, found.texts, bos, self._found.chat_ids)

    def use(self, adapter: Path | None, sha256: str = "") -> None:
        """Answer with an adapter that the servers have or can load, or with the base alone.

        They have it where a model of theirs is named by the first 16 characters of its hash or lies in its folder; that
        its files are the same there is not verified. Raises ModelError where one of them has it not.
        """
        if adapter is None:
            self._adapter, self._model, self.fingerprint = None, self._card["id"], self._base_fingerprint
            return
        before, self._used = self._used, self._used | {(adapter, sha256)}  # one that comes back now has it, too
        try:
            self._model = self._servers.run(self._adapter_everywhere(adapter, sha256))
        except BaseException:
            self._used = before
            raise
        self._adapter = adapter, sha256
        self.fingerprint = adapter_fingerprint(self._base_fingerprint, sha256)

    @property
    def in_use(self) -> LoraFiles | None:
        """The adapter that answers now."""
        return self._adapter and LoraFiles(*self._adapter)

    @functools.cached_property
    def adaptable(self) -> str | None:
        """The files that the servers say they serve, where those are on this machine and every server loads adapters.

        That they are the files which are served is not verified. None where no model library is installed, too.
        """
        root = self._card.get("root")
        try:
            if not root or local_folder(resolve(root)) is None:
                return None
        except (ModelUnknown, ImportError):  # of a library that only a name on the hub needs
            return None
        return root if self._servers.run(self._loads_adapters()) else None

    def chat(self, history: Sequence[tuple[str, str]], prompt: str) -> str | None:
        """None: a served model is asked for completions only."""
        return None

    def hurry(self) -> None:
        """Raise at once where no server answers, instead of waiting for one: called when a run is to stop."""
        self._servers.hurry()

    def close(self) -> None:
        """End all connections; the servers go on."""
        self._servers.close()

    @property
    def _found(self) -> Checked:
        assert self._checked is not None
        return self._checked

    # Below is run in the thread of the connections.

    async def _complete(self, request: Generate, model: str) -> Completion:
        wire = self._found.wire

        async def ask() -> Completion:
            return read_completion(wire, request, await self._post(generate_body(wire, request) | {"model": model}))

        return await self._told(ask, UNUSABLE_AT_MOST)

    async def _score(self, request: Score, model: str) -> LabelScores:
        async def post(body: dict[str, Any]) -> dict[str, Any]:
            return await self._post(body | {"model": model})

        return await self._told(lambda: self._labels.score(post, request), UNUSABLE_AT_MOST)

    async def _told(self, ask: Callable[[], Awaitable[_Answer]], tries: int = 1) -> _Answer:
        """What the servers tell, their refusals as ModelError; asked again where a body was unusable."""
        tried = 0
        while True:
            tried += 1
            try:
                return await ask()
            except Refused as refused:
                raise refusal(refused) from None
            except NoAnswer as answer:
                if tried < tries:
                    await asyncio.sleep(0.5 * tried)
                    continue
                whose = f"{_ANSWERED.get()}: its" if _ANSWERED.get() else "a server's"
                raise ModelError(
                    f"{whose} answer can't be used: {answer}",
                    "What was committed is safe. Look at the server's own log, then `cai resume` goes on.",
                ) from None

    async def _post(self, body: dict[str, Any]) -> dict[str, Any]:
        server, found = await self._servers.post("/completions", body)
        _ANSWERED.set(server.url)
        return found

    def _post_to(self, server: Server) -> Post:
        """How one server is asked when it is met, in a time in which a sound one answers."""

        async def post(body: dict[str, Any]) -> dict[str, Any]:
            return await self._servers.call(server, "/completions", body, self._patience.check_s)

        return post

    async def _begin(self) -> list[str]:
        """Check the servers. Returns the addresses of those that are not there yet, at least one being there."""
        away: list[str] = []
        for server in self._servers.servers:
            try:
                await self._told(functools.partial(self._patiently, server))
            except Again as failed:
                server.up, server.said = False, failed.said
                away.append(f"{server.url}: {failed.said}")
            except ModelError as error:
                raise type(error)(f"{server.url}: {error.title}", error.hint) from None
        if self._checked is None:
            raise ModelError(
                f"{'; '.join(away)}; no server of the model answers",
                "Start it and name its address up to /v1, such as http://host:8000/v1. Nothing was lost.",
            )
        return away

    async def _patiently(self, server: Server) -> None:
        for tried in range(TRIES_AT_START):
            try:
                return await self._meet(server)
            except Again as failed:
                if tried + 1 == TRIES_AT_START:
                    raise
                await asyncio.sleep(min(failed.wait_s if failed.wait_s is not None else 0.3 * (tried + 1), 10.0))
        return None

    async def _meet(self, server: Server) -> None:
        """Learn what the first server is; make sure that another one, or one that came back, is the same."""
        card = _card_of(await self._cards(server), self._wanted)
        if self._checked is None:
            self._checked = await check(self._post_to(server), card["id"])
            self._card = card
            with contextlib.suppress(Refused):  # vLLM tells it with --enable-tokenizer-info-endpoint
                self._tokenizer_info = await self._servers.look(f"{server.root}/tokenizer_info")
            return
        if any(card.get(name) != self._card.get(name) for name in _IDENTITY):
            raise ModelError(
                f"it serves {_said(card)}, and the first one {_said(self._card)}",
                "All servers of a run must serve the same model under the same name. What was committed is safe.",
            )
        await agree(self._post_to(server), self._checked)

    async def _verify(self, server: Server) -> None:
        try:
            await self._meet(server)
            for adapter in self._used:
                await self._adapter_on(server, *adapter)
        except NoAnswer as answer:
            raise ModelError(str(answer)) from None

    async def _cards(self, server: Server) -> list[dict[str, Any]]:
        found = (await self._servers.look(f"{server.url}/models")).get("data")
        return [one for one in found if isinstance(one, dict) and one.get("id")] if isinstance(found, list) else []

    async def _loads_adapters(self) -> bool:
        """Whether all servers that are there know the way to load an adapter; none is loaded by asking."""
        for server in [one for one in self._servers.servers if one.up]:
            try:
                await self._servers.call(server, "/load_lora_adapter", {"lora_name": "", "lora_path": ""})
            except Refused as refused:
                if refused.status in NO_SUCH_WAY:
                    return False
            except Again:
                return False
        return True

    async def _adapter_everywhere(self, adapter: Path, sha256: str) -> str:
        names, said = set(), ["none of them is there"]
        for server in [one for one in self._servers.servers if one.up]:
            try:
                names.add(await self._adapter_on(server, adapter, sha256))
            except Again as failed:
                server.up, server.said = False, failed.said
                server.lost.set()
                said.append(f"{server.url}: {failed.said}")
        if len(names) != 1:
            found = " and ".join(sorted(names)) if names else said[-1]
            raise ModelError(f"the servers do not have the adapter in {adapter} under one name: {found}", _MERGE)
        return names.pop()

    async def _adapter_on(self, server: Server, adapter: Path, sha256: str) -> str:
        """The name under which a server has an adapter, loaded now where it may be. Raises ModelError."""
        name = sha256[:16] or adapter.name
        for card in await self._cards(server):
            if card["id"] != self._card["id"] and (card["id"] == name or card.get("root") == str(adapter)):
                return str(card["id"])
        try:
            body = {"lora_name": name, "lora_path": str(adapter)}
            await self._servers.call(server, "/load_lora_adapter", body)
            if any(card["id"] == name for card in await self._cards(server)):
                return name
            said = "it does not list it after loading"
        except Refused as refused:
            said = str(refused)
        raise ModelError(f"the server {server.url} does not have the adapter in {adapter} ({said})", _MERGE)


def _files_free(wanted: int) -> int:
    """How many connections may be open at once; where fewer than wanted, the limit is raised as far as it goes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return wanted
    if soft < wanted + SPARE_FILES:
        more = wanted + SPARE_FILES if hard == resource.RLIM_INFINITY else min(wanted + SPARE_FILES, hard)
        with contextlib.suppress(ValueError, OSError):  # a system may hold less than it says
            resource.setrlimit(resource.RLIMIT_NOFILE, (more, hard))
            soft = more
    return soft - SPARE_FILES


def _card_of(cards: list[dict[str, Any]], wanted: str) -> dict[str, Any]:
    """What a server says of the wanted model, or of the one base model that it has."""
    base = [card for card in cards if (card["id"] == wanted if wanted else not card.get("parent"))]
    if len(base) == 1:
        return base[0]
    names = ", ".join(str(card["id"]) for card in cards[:10]) or "nothing"
    raise ModelError(
        f"no model {wanted!r} is served" if wanted else "it is not clear which model is meant",
        f"Name it behind the address: http://host:8000/v1#name. Served: {names}. Nothing was lost.",
    )


def _fingerprint(card: dict[str, Any], wire: Wire) -> str:
    """A hash of what the servers say of the model and of what they feed in front; no weights were read for it."""
    identity = {name: card.get(name) for name in _IDENTITY} | {"front": [text for _, text in wire.front]}
    return hashlib.sha256(json.dumps(["openai", identity], sort_keys=True).encode()).hexdigest()[:16]


def _said(card: dict[str, Any]) -> str:
    return ", ".join(f"{name} {card.get(name)}" for name in _IDENTITY)


def _key(urls: Sequence[str]) -> Key | None:
    """The key of the model's servers; the reviewer's is never sent to them. Raises ModelError."""
    given, file = os.environ.get(KEY, ""), os.environ.get(KEY_FILE, "")
    try:
        key = Key(given, f"the environment variable {KEY}") if given.strip() else None
        if key is None and file:
            key = find_key(Path(file), {})
            if key is None:
                raise ModelError(
                    f"there is no key file {file}, which {KEY_FILE} names", "Write it, or unset that. Nothing was sent."
                )
    except ReviewError as error:
        raise ModelError(error.title, error.hint) from None
    if key is None:
        return None
    if any(url.startswith("http:") and not addresses.is_local(url) for url in urls):
        raise ModelError(
            "the key of the model's servers would travel to another machine in clear text",
            "Use https, a tunnel to this machine, or servers without a key in a closed network. Nothing was sent.",
        )
    key.watch_logs()
    return key
