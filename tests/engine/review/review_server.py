"""A server on loopback that speaks the Responses API and chat completions, and answers as a script says."""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

FIELDS = {
    "recommendation": "Scale to the target.",
    "reasoning": "The runaway share is 2 % and its interval ends below the threshold. The critics agree.",
    "risks": "The sample is small.",
    "approval": "Yes",
}

Behaviour = Callable[["Handler"], None]


def fields(**changed: Any) -> str:
    """An answer as JSON; a value of None leaves a field out."""
    return json.dumps({name: value for name, value in (FIELDS | changed).items() if value is not None})


class Sending(BaseHTTPRequestHandler):
    """A whole answer at once, and no word on the terminal."""

    def send(
        self, status: int, body: str, headers: dict[str, str] | None = None, kind: str = "application/json"
    ) -> None:
        data = body.encode()
        with contextlib.suppress(OSError):
            self.send_response(status)
            for name, value in ({"Content-Type": kind, "Content-Length": str(len(data))} | (headers or {})).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        pass


class Handler(Sending):
    """One request: its `body` and headers are kept by the server, and the next behaviour of its script answers it."""

    protocol_version = "HTTP/1.1"
    server: Server
    body: dict[str, Any]

    def do_POST(self) -> None:
        self.body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.requests.append(
            {
                "path": self.path,
                "body": self.body,
                "headers": {name.lower(): value for name, value in self.headers.items()},
            }
        )
        self.server.next()(self)

    def envelope(self, text: str, **changed: Any) -> str:
        """What either API wraps around a text."""
        return json.dumps(wrapped(self.path, text, **changed))


def wrapped(path: str, text: str, **changed: Any) -> dict[str, Any]:
    if path.endswith("/responses"):
        part = {"type": "output_text", "text": text, "annotations": []}
        message = {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": [part]}
        body: dict[str, Any] = {
            "id": "resp_1", "object": "response", "created_at": 1, "model": "gpt-5-2025-08-07", "status": "completed",
            "output": [{"type": "reasoning", "id": "rs_1", "summary": []}, message], "error": None,
            "incomplete_details": None, "parallel_tool_calls": True, "tool_choice": "auto", "tools": [],
            "usage": {"input_tokens": 100, "output_tokens": 50, "total_tokens": 150},
        }  # fmt: skip
    else:
        message = {"role": "assistant", "content": text, "refusal": None}
        body = {
            "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "gpt-5-2025-08-07",
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 100, "completion_tokens": 50, "total_tokens": 150},
        }  # fmt: skip
    return body | changed


def good(**changed: Any) -> Behaviour:
    """An answer in form."""
    return lambda handler: handler.send(200, handler.envelope(fields(**changed)))


def says(text: str) -> Behaviour:
    """An answer whose text is this."""
    return lambda handler: handler.send(200, handler.envelope(text))


def status(code: int, message: str = "no", **headers: str) -> Behaviour:
    """An error; header names with _ for -."""
    body = json.dumps({"error": {"message": message, "type": "error", "param": None, "code": None}})
    return lambda handler: handler.send(code, body, {name.replace("_", "-"): value for name, value in headers.items()})


def refused(handler: Handler) -> None:
    """The model declines."""
    body = wrapped(handler.path, "")
    if handler.path.endswith("/responses"):
        body["output"][-1]["content"] = [{"type": "refusal", "refusal": "I can't help with that."}]
    else:
        body["choices"][0]["message"] |= {"content": None, "refusal": "I can't help with that."}
    handler.send(200, json.dumps(body))


def cut_off(handler: Handler) -> None:
    """An answer in form that says it ended at the limit of tokens."""
    body = wrapped(handler.path, fields())
    if handler.path.endswith("/responses"):
        body |= {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}
    else:
        body["choices"][0]["finish_reason"] = "length"
    handler.send(200, json.dumps(body))


def dropped(handler: Handler) -> None:
    """The connection is reset before a byte comes back."""
    handler.close_connection = True
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.connection.close()


def truncated(handler: Handler) -> None:
    """A body that ends before its length."""
    data = handler.envelope(fields()).encode()
    with contextlib.suppress(OSError):
        handler.send_response(200)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data[: len(data) // 2])
        handler.wfile.flush()
    handler.close_connection = True


def truncated_stream(handler: Handler) -> None:
    """A chunked body that ends without its last chunk, in the middle of the answer."""
    data = handler.envelope(fields()).encode()[:200]
    with contextlib.suppress(OSError):
        handler.send_response(200)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        handler.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        handler.wfile.flush()
    handler.close_connection = True


def cut_json(handler: Handler) -> None:
    """A whole body whose JSON is cut."""
    handler.send(200, handler.envelope(fields())[:-40])


def echoes_key(code: int) -> Behaviour:
    """An error that shows the Authorization header, in its body and in a header."""

    def behave(handler: Handler) -> None:
        shown = handler.headers["Authorization"]
        body = json.dumps({"error": {"message": f"bad header {shown!r}", "code": None}, "headers": {"auth": shown}})
        handler.send(code, body, {"X-Echo": shown})

    return behave


def slow(seconds: float) -> Behaviour:
    """A good answer that takes its time, or until the server closes."""

    def behave(handler: Handler) -> None:
        handler.server.closing.wait(seconds)
        good()(handler)

    return behave


def dripping(seconds: float) -> Behaviour:
    """A good answer that comes byte by byte, each well within a read's time limit."""

    def behave(handler: Handler) -> None:
        data = handler.envelope(fields()).encode()
        with contextlib.suppress(OSError):
            handler.send_response(200)
            handler.send_header("Content-Type", "application/json")
            handler.send_header("Content-Length", str(len(data)))
            handler.end_headers()
            began = time.monotonic()
            for n in range(len(data)):
                if handler.server.closing.wait(0.02) or time.monotonic() - began > seconds:
                    break
                handler.wfile.write(data[n : n + 1])
                handler.wfile.flush()
        handler.close_connection = True

    return behave


class Server(ThreadingHTTPServer):
    """Answers each request by the next behaviour of `script`, and by `otherwise` when it is at its end."""

    daemon_threads = True

    def __init__(self, *script: Behaviour, otherwise: Behaviour | None = None) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests: list[dict[str, Any]] = []
        self.script = list(script)
        self.otherwise = otherwise or status(503)
        self.closing = threading.Event()
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def next(self) -> Behaviour:
        with self._lock:
            return self.script.pop(0) if self.script else self.otherwise

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass


@contextlib.contextmanager
def serving(*script: Behaviour, otherwise: Behaviour | None = None) -> Iterator[Server]:
    server = Server(*script, otherwise=otherwise)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.closing.set()
        server.shutdown()
        server.server_close()
        thread.join(5)
