"""What goes over the socket: frames of JSON, or of a stream of Arrow with its length before it.

The owner speaks first, and says which protocol and which schema it has. Each request is one frame of JSON; its answer
is any number of frames of Arrow, each a stream of its own with the schema, and one of JSON, which tells an error or
none. Whoever asks to follow gets one frame of JSON for what was told before and one for each thing that is told after,
and asks for nothing more.
"""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Callable
from datetime import datetime
from typing import Any

from store import errors, schema
from store.errors import CaiError, StoreError

PROTOCOL = 2
JSON, ARROW = b"J", b"A"
MOST = 2**30  # bytes of a frame
_HEAD = struct.Struct("!cI")
_AT = "$at"  # a time among the parameters


def hello(pid: int) -> dict[str, Any]:
    """What the owner says first."""
    return {"cai": PROTOCOL, "schema": schema.VERSION, "pid": pid}


def understood(said: dict[str, Any]) -> bool:
    """Whether the owner is of a version with which this one can speak."""
    return said.get("cai") == PROTOCOL and said.get("schema") == schema.VERSION


def send(connection: socket.socket, kind: bytes, content: bytes) -> None:
    """Raises OSError, and StoreError for what is too large."""
    if len(content) > MOST:
        raise StoreError(f"a part of the result has {len(content):,} bytes", "Ask for fewer rows or columns.")
    connection.sendall(_HEAD.pack(kind, len(content)))
    connection.sendall(content)


def send_json(connection: socket.socket, value: dict[str, Any]) -> None:
    send(connection, JSON, json.dumps(value, default=_plain).encode())


def receive(connection: socket.socket, late: Callable[[], None] | None = None) -> tuple[bytes, bytes]:
    """The kind and the content of the next frame. Raises OSError, also where the other end is gone.

    Whenever the connection's timeout passes without a word, `late` raises or has it waited for again; without one that
    is a TimeoutError.
    """
    kind, size = _HEAD.unpack(_exactly(connection, _HEAD.size, late))
    if kind not in (JSON, ARROW) or size > MOST:
        raise ConnectionError("what came is no frame")
    return kind, _exactly(connection, size, late)


def receive_json(connection: socket.socket) -> dict[str, Any]:
    kind, content = receive(connection)
    if kind != JSON:
        raise ConnectionError("what came is no message")
    return message(content)


def message(content: bytes) -> dict[str, Any]:
    """The content of a frame of JSON. Raises OSError where it is none."""
    try:
        value = json.loads(content, object_hook=_with_times)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise ConnectionError("what came is no message")
    return value


def told(error: CaiError) -> dict[str, str]:
    """An error as JSON."""
    return {"error": type(error).__name__, "title": error.title, "hint": error.hint}


def error_of(message: dict[str, Any]) -> StoreError:
    """The error that a message tells."""
    kind = getattr(errors, str(message["error"]), StoreError)
    wanted = kind if isinstance(kind, type) and issubclass(kind, StoreError) else StoreError
    return wanted(str(message["title"]), str(message["hint"]))


def _exactly(connection: socket.socket, size: int, late: Callable[[], None] | None) -> bytes:
    content = bytearray(size)
    filled, view = 0, memoryview(content)
    while filled < size:
        try:
            n = connection.recv_into(view[filled:])
        except TimeoutError:
            if late is None:
                raise
            late()
            continue
        if not n:
            raise ConnectionResetError("the other end is gone")
        filled += n
    return bytes(content)


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return {_AT: value.isoformat()}
    raise TypeError(f"no parameter can be a {type(value).__name__}")


def _with_times(value: dict[str, Any]) -> Any:
    return datetime.fromisoformat(value[_AT]) if value.keys() == {_AT} else value
