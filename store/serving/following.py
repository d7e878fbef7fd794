"""The follower's side: what the owner of a store tells of its work, and what is asked of it."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

from store.connect import suspended
from store.serving import wire
from store.serving.attached import GRACE_S, LOOK_S, meet, owner_gone, silent

Message = dict[str, Any]


class Following:
    """One connection over which the owner tells, and one for each thing that is asked of it.

    `about` says what the owner works on, {} where that is nothing; `told` is what it told before, oldest first. `owner`
    is its process.
    """

    def __init__(self, path: Path, connection: socket.socket, process: int, owner: int, first: Message) -> None:
        self.path, self.owner = path, owner
        self._process = process
        self.about: Message = first.get("about") or {}
        self.told: list[Message] = first.get("told") or []
        self._connection = connection
        self._closed = threading.Event()

    @classmethod
    def to(cls, path: Path) -> Self | None:
        """Follow the owner of the store at `path`; None where nobody serves it. Raises StoreLocked and StoreError."""
        met = meet(path)
        if met is None:
            return None
        connection, process, owner = met
        try:
            request = {"do": "follow", "pid": os.getpid()}
            return cls(path, connection, process, owner, _answer(path, connection, process, request))
        except OSError:  # it ends at this moment
            connection.close()
            return None
        except BaseException:
            connection.close()
            raise

    def messages(self, stopped: Callable[[bool], object] = lambda stopped: None) -> Iterator[Message]:
        """What the owner tells, as it comes, until it ends or `close` is called.

        `stopped` is told when the owner is suspended, and when it goes on. Raises StoreError where this process was too
        slow to follow.
        """
        asleep = False

        def look() -> None:
            nonlocal asleep
            if self._closed.is_set():
                raise ConnectionAbortedError("nobody follows any more")
            if suspended(self._process) != asleep:
                asleep = not asleep
                stopped(asleep)

        try:
            self._connection.settimeout(LOOK_S)
            while True:
                _, content = wire.receive(self._connection, look)
                message = wire.message(content)
                if "error" in message:
                    raise wire.error_of(message)
                yield message
        except OSError:
            return
        finally:
            self._connection.close()

    def act(self, what: str, **fields: Any) -> bool:
        """Have the owner do something; whether it could still be done. Raises OwnerGone, StoreLocked and StoreError."""
        met = meet(self.path)
        if met is None or met[2] != self.owner:
            raise owner_gone(self.path, self.owner)
        connection, process, _ = met
        with contextlib.closing(connection):
            try:
                answer = _answer(
                    self.path, connection, process, {"do": "act", "act": what, "pid": os.getpid(), **fields}
                )
            except OSError as error:
                raise owner_gone(self.path, self.owner) from error
        return bool(answer.get("done"))

    def close(self) -> None:
        """End `messages`, from any thread."""
        self._closed.set()
        with contextlib.suppress(OSError):  # it is gone already
            self._connection.shutdown(socket.SHUT_RDWR)


def _answer(path: Path, connection: socket.socket, process: int, request: Message) -> Message:
    """Ask, and wait for the one frame of the answer. Raises OSError, StoreLocked and what the answer tells."""
    looks = int(GRACE_S / LOOK_S)

    def late() -> None:
        nonlocal looks
        looks -= 1
        if looks < 0 or suspended(process):
            raise silent(path, process)

    connection.settimeout(GRACE_S)
    wire.send_json(connection, request)
    connection.settimeout(LOOK_S)
    _, content = wire.receive(connection, late)
    message = wire.message(content)
    if "error" in message:
        raise wire.error_of(message)
    return message
