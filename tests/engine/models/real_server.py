"""A real base model behind the wire of /v1/completions, so that the numbers of a test are a model's own.

It stands in for a server because the one in the installed packages, `transformers serve`, tells no log-probabilities:
its /v1/completions refuses `logprobs` and `echo`. One request at a time; the numbers are float32.
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

from engine.core.errors import ModelError
from engine.models.requests import Decoding, Generate

MODELS_AT_MOST = 20  # alternatives, as vLLM's --max-logprobs as it comes


def logprobs_of(model: Any, ids: list[int]) -> torch.Tensor:
    """Log-probabilities [tokens, vocabulary] of what follows each token, by a plain forward pass."""
    with torch.inference_mode():
        found: torch.Tensor = (
            model._model(torch.tensor([ids], device=model._model.device)).logits[0].float().log_softmax(-1)
        )
    return found


def reference(model: Any, prompt: str, label: str) -> float:
    """A label's log-probability in float32, by a plain forward pass without a cache."""
    before, tokens = model._text.encode(prompt), model._text.plain(label)
    rows = logprobs_of(model, before + tokens)
    return sum(float(rows[len(before) - 1 + i, token]) for i, token in enumerate(tokens))


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
        with self.server.lock:
            try:
                name = body["model"]
                self.server.model.use(self.server.adapters[name] if name != "base" else None, name)
                return self._send(200, self.server.answer(body))
            except ModelError as error:
                return self._send(400, {"error": {"message": f"maximum context length: {error.title}"}})
            finally:
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

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def answer(self, body: dict[str, Any]) -> dict[str, Any]:
        top_k = max(body.get("top_k", -1), 0) if self.extensions else 0
        decoding = Decoding(
            body["max_tokens"], body["temperature"], top_k, body["top_p"], tuple(body.get("stop") or ())
        )
        (found,) = self.model.generate([Generate(body["prompt"], decoding, body["seed"])])
        fed, written = self.model._text.encode(body["prompt"]), list(found.token_ids)
        choice: dict[str, Any] = {
            "index": 0,
            "text": found.text,
            "finish_reason": "length" if found.stop_reason == "length" else "stop",
            "stop_reason": found.stop_text,
            "logprobs": None,
        }
        if self.extensions and body.get("return_token_ids"):
            choice |= {"token_ids": written, "prompt_token_ids": fed}
        if body.get("logprobs") is not None:
            choice["logprobs"] = self._logprobs(body, fed, written)
        usage = {"prompt_tokens": len(fed), "completion_tokens": len(written), "total_tokens": len(fed) + len(written)}
        return {"object": "text_completion", "model": body["model"], "choices": [choice], "usage": usage}

    def _logprobs(self, body: dict[str, Any], fed: list[int], written: list[int]) -> dict[str, Any]:
        rows = logprobs_of(self.model, fed + written)
        wanted = body.get("logprob_token_ids") if self.extensions else None
        tokens: list[str] = []
        values: list[float | None] = []
        top: list[dict[str, float] | None] = []
        for index, token in enumerate(fed + written):
            if index < len(fed) and not body.get("echo"):
                continue
            tokens.append(self.model._text.decode([token]))
            if index == 0:
                values.append(None)
                top.append(None)
                continue
            row = rows[index - 1]
            values.append(float(row[token]))
            if wanted and index >= len(fed):
                top.append({f"token_id:{one}": float(row[one]) for one in wanted})
            else:
                best = row.topk(min(body["logprobs"], MODELS_AT_MOST))
                told = zip(best.indices.tolist(), best.values.tolist(), strict=True)
                top.append({self.model._text.decode([one]): value for one, value in told})
        return {"tokens": tokens, "token_logprobs": values, "top_logprobs": top}


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
