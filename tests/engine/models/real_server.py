"""A real base model behind the wire of /v1/completions, so that the numbers of a test are a model's own.

It stands in for a server because the one in the installed packages, `transformers serve`, tells no log-probabilities:
its /v1/completions refuses `logprobs` and `echo`. One request at a time; the numbers are float32. What it has said of a
token behind the same tokens it says again without computing it: clients send the same beginning with each label.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import torch

from engine.core.errors import ModelError, PromptTooLong
from engine.models.requests import Decoding, Generate

MODELS_AT_MOST = 20  # alternatives, as vLLM's --max-logprobs as it comes


def logprobs_of(model: Any, ids: list[int], last: int) -> torch.Tensor:
    """Log-probabilities [last, vocabulary] of what follows each of the last tokens, by a plain forward pass."""
    with torch.inference_mode():
        logits = model._model(torch.tensor([ids], device=model._model.device), logits_to_keep=last).logits[0]
        found: torch.Tensor = logits.float().log_softmax(-1)
    return found


def reference(model: Any, prompt: str, label: str) -> float:
    """A label's log-probability in float32, by a plain forward pass without a cache."""
    before, tokens = model._text.encode(prompt), model._text.plain(label)
    rows = logprobs_of(model, before + tokens, len(tokens) + 1)
    return sum(float(rows[i, token]) for i, token in enumerate(tokens))


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        if self.path != "/v1/models":
            return self._send(200 if self.path == "/health" else 404, {})
        base = {"id": "base", "object": "model", "owned_by": "tests", "root": self.server.model.name, "parent": None}
        cards = [base] + [{**base, "id": name, "parent": "base"} for name in self.server.adapters]
        return self._send(200, {"object": "list", "data": cards})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/v1/load_lora_adapter":
            self.server.adapters[body["lora_name"]] = Path(body["lora_path"])
            return self._send(200, {})
        name = body["model"]
        with self.server.lock:
            try:
                if name != "base":  # laying one on or taking it off costs more than most answers
                    self.server.model.use(self.server.adapters[name], name)
                return self._send(200, self.server.answer(body))
            except ModelError as error:
                return self._send(400, {"error": {"message": f"maximum context length: {error.title}"}})
            finally:
                if name != "base":
                    self.server.model.use(None)

    def _send(self, status: int, body: dict[str, Any]) -> None:
        data = json.dumps(body).encode()
        with contextlib.suppress(OSError):
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        pass


class Server(ThreadingHTTPServer):
    """`model` is a TransformersModel; `extensions` are vLLM's fields, without which ids are not told."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(self, model: Any, *, extensions: bool) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.model, self.extensions = model, extensions
        self.adapters: dict[str, Path] = {}
        self.lock = threading.Lock()
        self._known: dict[tuple[Any, ...], tuple[float, dict[str, float]]] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def answer(self, body: dict[str, Any]) -> dict[str, Any]:
        fed = self.model._text.encode(body["prompt"])
        scored = body.get("logprobs") is not None
        written, choice = self._scored(body, fed) if scored else self._written(body)
        if self.extensions and body.get("return_token_ids"):
            choice |= {"token_ids": written, "prompt_token_ids": fed}
        usage = {"prompt_tokens": len(fed), "completion_tokens": len(written), "total_tokens": len(fed) + len(written)}
        return {
            "object": "text_completion",
            "model": body["model"],
            "choices": [{"index": 0, **choice}],
            "usage": usage,
        }

    def _written(self, body: dict[str, Any]) -> tuple[list[int], dict[str, Any]]:
        """The tokens that the model writes, and what is told of them."""
        top_k = max(body.get("top_k", -1), 0) if self.extensions else 0
        decoding = Decoding(
            body["max_tokens"], body["temperature"], top_k, body["top_p"], tuple(body.get("stop") or ())
        )
        (found,) = self.model.generate([Generate(body["prompt"], decoding, body["seed"])])
        finish = "length" if found.stop_reason == "length" else "stop"
        told = {"text": found.text, "finish_reason": finish, "stop_reason": found.stop_text, "logprobs": None}
        return list(found.token_ids), told

    def _scored(self, body: dict[str, Any], fed: list[int]) -> tuple[list[int], dict[str, Any]]:
        """The same where scores are wanted: the one token is the likeliest, of the pass that gives the scores."""
        assert body["max_tokens"] == 1 and not body.get("stop"), "nothing but scores is looked at here"
        if len(fed) >= self.model.facts["context"]:
            raise PromptTooLong(f"{len(fed)} tokens", "")
        echoed = range(1, len(fed) if body.get("echo") else 1)
        keys = [(body["model"], body["logprobs"], *fed[: index + 1]) for index in echoed]
        new = next((index for index, key in zip(echoed, keys, strict=True) if key not in self._known), len(fed))
        rows = logprobs_of(self.model, fed, len(fed) - new + 1)
        for index, row in zip(range(new, echoed.stop), rows, strict=False):
            self._known[keys[index - 1]] = float(row[fed[index]]), self._best(row, body["logprobs"])
        told: list[tuple[float | None, dict[str, float] | None]] = [self._known[key] for key in keys]
        if body.get("echo"):
            told.insert(0, (None, None))
        written, wanted = int(rows[-1].argmax()), body.get("logprob_token_ids") if self.extensions else None
        best = {f"token_id:{one}": float(rows[-1, one]) for one in wanted or ()}
        told.append((float(rows[-1, written]), best or self._best(rows[-1], body["logprobs"])))
        tokens = [self.model._text.decode([one]) for one in [*fed, written][-len(told) :]]
        values, top = zip(*told, strict=True)
        logprobs = {"tokens": tokens, "token_logprobs": values, "top_logprobs": top}
        return [written], {"text": tokens[-1], "finish_reason": "length", "stop_reason": None, "logprobs": logprobs}

    def _best(self, row: torch.Tensor, n: int) -> dict[str, float]:
        """The first alternatives by their texts."""
        best = row.topk(min(n, MODELS_AT_MOST))
        told = zip(best.indices.tolist(), best.values.tolist(), strict=True)
        return {self.model._text.decode([one]): value for one, value in told}


@contextlib.contextmanager
def serving(model: Any, *, extensions: bool = True) -> Iterator[Server]:
    server = Server(model, extensions=extensions)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
