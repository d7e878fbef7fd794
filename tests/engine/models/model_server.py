"""A server on loopback that speaks /v1/completions for a toy model whose every number is known.

In a thread (`serving`), where a script may spoil answers, or as a process (`spawned`) that can be killed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import random
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import urllib.request
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.engine.review.review_server import Sending

BOS, EOS = "<bos>", "<eos>"
_NAMES = (
    "Paris Rome good bad Yes No river bridge castle engine garden harbour island kitchen lantern market the a of and "
    "is was near under old new red blue seven nine"
)
WORDS = (*(f" {word}" for word in re.findall(r"\w+", _NAMES)), ".", ",", "\n", EOS)
CONTEXT = 4096
TOKEN = re.compile(rf"{BOS}|{EOS}| ?\w+|.", re.DOTALL)
_OPENAI_FIELDS = (
    "model prompt max_tokens temperature top_p seed presence_penalty frequency_penalty n stream stop echo logprobs"
)
PLAIN_FIELDS = frozenset(re.findall(r"\w+", _OPENAI_FIELDS))

Behaviour = Callable[["Handler"], None]


def tokens_of(text: str) -> list[str]:
    return TOKEN.findall(text)


_TEXTS: dict[int, str] = {}


def id_of(token: str) -> int:
    found = {BOS: 2, EOS: 1}.get(token, 10 + zlib.crc32(token.encode()) % 200_000)
    _TEXTS[found] = token
    return found


def text_of(number: int) -> str:
    """The token that `id_of` numbered so."""
    return _TEXTS[number]


def next_logprobs(before: str) -> dict[str, float]:
    """The distribution of the next token: depends on the last 12 characters before it."""
    logits = {word: (zlib.crc32(f"{before[-12:]}|{word}".encode()) % 400) / 100 for word in WORDS}
    logits[EOS] -= 3
    normaliser = math.log(sum(math.exp(value) for value in logits.values()))
    return {word: value - normaliser for word, value in logits.items()}


def logprob(before: str, token: str) -> float:
    known = next_logprobs(before)
    return known[token] if token in known else -12.0 - zlib.crc32(token.encode()) % 100 / 50


def label_logprob(prompt: str, label: str) -> float:
    """What the toy model says of a label, by hand."""
    total, before = 0.0, prompt
    for token in tokens_of(label):
        total += logprob(before, token)
        before += token
    return total


def written(prompt: str, body: dict[str, Any]) -> Iterator[str]:
    """The toy model's tokens after a prompt: by its seed, its temperature and top_k."""
    rng = random.Random(f"{body.get('seed')} {prompt}")
    while True:
        ranked = sorted(next_logprobs(prompt).items(), key=lambda item: -item[1])
        temperature = body.get("temperature", 1.0)
        if temperature == 0:
            token = ranked[0][0]
        else:
            ranked = ranked[: body["top_k"]] if body.get("top_k", -1) > 0 else ranked
            token = rng.choices([t for t, _ in ranked], [math.exp(v / temperature) for _, v in ranked])[0]
        yield token
        prompt += token


@dataclass
class Ways:
    """How the server differs from vLLM as it comes."""

    name: str = "toy"
    root: str = "/models/toy"
    extensions: bool = True  # knows vLLM's fields; without them a request that has one is refused
    echo: bool = True
    top: int = 20
    bos: int = 1
    shift: float = 0.0  # added to what it tells of the next token
    weights: float = 0.0  # added to what it tells of a prompt: another model under the same name
    names_stops: bool = True
    adapters: bool = True
    delay_s: float = 0.0
    tokenizer_info: dict[str, Any] | None = None


class Handler(Sending, BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server
    body: dict[str, Any]

    def setup(self) -> None:
        super().setup()
        self.server.sockets.add(self.connection)

    def do_GET(self) -> None:
        ways = self.server.ways
        if self.path == "/health":
            if self.server.sick.is_set():
                self.server.closing.wait(30)
                return
            self.send(200, "")
        elif self.path == "/v1/models":
            base = {
                "id": ways.name, "object": "model", "created": int(time.time() * 1000), "owned_by": "toys",
                "root": ways.root, "parent": None, "max_model_len": CONTEXT,
            }  # fmt: skip
            cards = [base] + [
                {**base, "id": name, "root": root, "parent": ways.name} for name, root in self.server.adapters.items()
            ]
            self.send(200, json.dumps({"object": "list", "data": cards}))
        elif self.path == "/tokenizer_info" and ways.tokenizer_info is not None:
            self.send(200, json.dumps(ways.tokenizer_info))
        else:
            self.send(404, json.dumps({"detail": "Not Found"}))

    def do_POST(self) -> None:
        self.body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.note({"path": self.path, "body": self.body, "headers": headers})
        if self.path == "/v1/load_lora_adapter" and self.server.ways.adapters:
            if not self.body["lora_name"]:
                self.send(400, json.dumps({"error": {"message": "lora_name and lora_path must be provided"}}))
                return
            self.server.adapters[self.body["lora_name"]] = self.body["lora_path"]
            self.send(200, "Success", kind="text/plain")
        elif self.path != "/v1/completions":
            self.send(404, json.dumps({"detail": "Not Found"}))
        else:
            (self.server.next_behaviour() or good)(self)


def good(handler: Handler) -> None:
    """What the toy model answers."""
    server, body = handler.server, handler.body
    server.closing.wait(server.ways.delay_s)
    status, found = answer(server.ways, body, server.adapters)
    handler.send(status, json.dumps(found))


def answer(ways: Ways, body: dict[str, Any], adapters: dict[str, str]) -> tuple[int, dict[str, Any]]:
    """The status and the object for a body."""
    unknown = set(body) - PLAIN_FIELDS
    if unknown and not ways.extensions:
        return 422, {"detail": f"unsupported fields: {sorted(unknown)}"}
    if body.get("echo") and not ways.echo:
        return 400, {"error": {"message": "only no echo is supported"}}
    if body["model"] not in (ways.name, *adapters):
        return 404, {"error": {"message": f"the model {body['model']!r} does not exist"}}
    prompt, limit, echo, top = body["prompt"], body["max_tokens"], body.get("echo"), body.get("logprobs")
    fed = [BOS] * ways.bos + tokens_of(prompt)
    if len(fed) + limit > CONTEXT:
        return 400, {"error": {"message": f"This model's maximum context length is {CONTEXT} tokens."}}
    if top is not None and top > ways.top:
        return 400, {"error": {"message": f"at most {ways.top} logprobs"}}
    before = prompt if body["model"] == ways.name else f"{body['model']} {prompt}"
    out: list[str] = []
    text, finish, reason = "", "length", None
    for token in written(before, body):
        out.append(token)
        if token == EOS:
            finish = "stop"
            break
        text += token
        stops = [(text.find(stop), stop) for stop in body.get("stop") or [] if stop in text]
        if stops:
            cut, reason = min(stops)
            text, finish = text[:cut], "stop"
            break
        if len(out) == limit:
            break
    choice: dict[str, Any] = {"index": 0, "text": text, "finish_reason": finish, "logprobs": None}
    if ways.names_stops:
        choice["stop_reason"] = reason
    if body.get("return_token_ids"):
        choice |= {"token_ids": list(map(id_of, out)), "prompt_token_ids": list(map(id_of, fed))}
    if top is not None:
        rows: list[tuple[str, float | None, dict[str, float] | None]] = []
        if echo:
            so_far = ""
            for index, token in enumerate(fed):
                value = None if index == 0 else logprob(so_far, token) + ways.weights
                rows.append((token, value, None if value is None else {token: value}))
                so_far += "" if token == BOS else token
        for token in out:
            values = {word: value + ways.shift + ways.weights for word, value in next_logprobs(before).items()}
            wanted = body.get("logprob_token_ids")
            if wanted:
                told = {f"token_id:{one}": logprob(before, text_of(one)) + ways.shift + ways.weights for one in wanted}
            else:
                told = dict(sorted(values.items(), key=lambda item: -item[1])[:top])
            rows.append((token, values[token], told))
            before += token
        names = ("tokens", "token_logprobs", "top_logprobs")
        choice["logprobs"] = {name: [row[i] for row in rows] for i, name in enumerate(names)}
    usage = {"prompt_tokens": len(fed), "completion_tokens": len(out), "total_tokens": len(fed) + len(out)}
    return 200, {"id": "cmpl-1", "object": "text_completion", "model": ways.name, "choices": [choice], "usage": usage}


def status(code: int, message: str = "no", **headers: str) -> Behaviour:
    """An error; header names with _ for -."""
    body = json.dumps({"error": {"message": message, "type": "error"}})
    return lambda handler: handler.send(code, body, {name.replace("_", "-"): value for name, value in headers.items()})


def dropped(handler: Handler) -> None:
    """The connection is reset before a byte comes back."""
    handler.close_connection = True
    reset(handler.connection)


def cut_off(handler: Handler) -> None:
    """A whole body whose JSON is cut."""
    handler.send(200, json.dumps(answer(handler.server.ways, handler.body, {})[1])[:-40])


def aborted(handler: Handler) -> None:
    """What vLLM answers for what it had in flight when it is shut down."""
    found = answer(handler.server.ways, handler.body, {})[1]
    found["choices"][0] |= {"finish_reason": "abort", "text": ""}
    handler.send(200, json.dumps(found))


def hanging(handler: Handler) -> None:
    """No answer until the server closes."""
    handler.server.closing.wait(60)
    dropped(handler)


def reset(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.shutdown(socket.SHUT_RDWR)  # its files keep it open beyond a close
        connection.close()


class Server(ThreadingHTTPServer):
    """Answers completions by the behaviours of `script`, one each, then by `always`; well where there is neither."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(self, ways: Ways | None = None, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.ways = ways or Ways()
        self.requests: list[dict[str, Any]] = []
        self.script: list[Behaviour] = []
        self.always: Behaviour | None = None
        self.adapters: dict[str, str] = {}
        self.sockets: set[socket.socket] = set()
        self.closing, self.sick = threading.Event(), threading.Event()
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def note(self, request: dict[str, Any]) -> None:
        with self._lock:
            self.requests.append(request)

    def next_behaviour(self) -> Behaviour | None:
        with self._lock:
            return self.script.pop(0) if self.script else self.always

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass


@contextlib.contextmanager
def serving(ways: Ways | None = None, port: int = 0) -> Iterator[Server]:
    server = Server(ways, port)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.closing.set()
        server.shutdown()
        server.server_close()
        for connection in list(server.sockets):
            reset(connection)
        thread.join(5)


class Spawned:
    """A server as a process of its own; `log` has a line for each request that it answered."""

    def __init__(self, log: Path, *arguments: str, port: int = 0) -> None:
        if not port:
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                port = probe.getsockname()[1]
        self.port, self.log, self._arguments = port, log, arguments
        self.url = f"http://127.0.0.1:{port}/v1"
        self.start()

    def start(self) -> None:
        module = "tests.engine.models.model_server"
        command = [sys.executable, "-m", module, "--port", str(self.port), "--log", str(self.log)]
        self.process = subprocess.Popen([*command, *self._arguments], start_new_session=True)
        for _ in range(400):
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health", timeout=1).read()
                return
            time.sleep(0.05)
        raise AssertionError("the server did not start")

    def kill(self) -> None:
        """kill -9, whatever is in flight."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)

    def answered(self) -> list[str]:
        return self.log.read_text().splitlines() if self.log.exists() else []


@contextlib.contextmanager
def spawned(folder: Path, n: int, *arguments: str) -> Iterator[list[Spawned]]:
    servers = [Spawned(folder / f"server-{i}.log", *arguments) for i in range(n)]
    try:
        yield servers
    finally:
        for server in servers:
            server.kill()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--log", type=Path, required=True)
    parser.add_argument("--delay", type=float, default=0.0)
    given = parser.parse_args()
    with serving(Ways(delay_s=given.delay), given.port) as server, given.log.open("a", buffering=1) as log:

        def noted(handler: Handler) -> None:
            good(handler)
            log.write(f"{handler.body['seed']}\n")

        server.always = noted
        threading.Event().wait()


if __name__ == "__main__":
    main()
