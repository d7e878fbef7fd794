"""The owner's side: threads that answer other processes' SELECTs, each on a cursor of its own, and let them follow."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from store.errors import CaiError, StoreError, StoreLocked
from store.query import OwnCursor
from store.serving import wire
from store.serving.channel import Channel
from store.serving.kept import KeptAnswers, Question
from store.serving.place import listening, peer
from store.serving.turns import ReadingTurns

AT_MOST = 32  # connections
SECONDS = 120.0  # that a SELECT may take, with what it waits for its turn and for who reads it
HELD_SECONDS = 3_600.0  # the same where the whole store is copied
ROWS, BYTES = 5_000_000, 2 * 2**30  # of a result that is not a copy
SEND_S = 30  # that a reader may keep a part of its result waiting
HELD_IDLE_S = 60.0  # that a copy may ask for nothing: what is held at one moment keeps old rows from being let go
FLUSH_S = 1.0  # that those who follow may take for the last that is told, when the store is closed
_AGAIN_S = 0.1


class ReadingService:
    """Serves one store until it is closed. It only reads: one SELECT at a time, bounded in rows, bytes and time.

    What followers are told and what they ask for goes through the store's channel.
    """

    def __init__(
        self,
        listener: socket.socket,
        place: Path,
        new_cursor: Callable[[], OwnCursor],
        channel: Channel,
        kept: KeptAnswers,
    ) -> None:
        self.place = place
        self._kept = kept
        self._listener = listener
        self._new_cursor = new_cursor
        self._channel = channel
        self._turns = ReadingTurns()
        self._lock = threading.Lock()
        self._served: dict[socket.socket, tuple[threading.Thread, OwnCursor | None]] = {}
        self._closed = False
        self._thread = threading.Thread(target=self._take, name="readers of the store", daemon=True)
        self._thread.start()

    @classmethod
    def of(
        cls, store: Path, new_cursor: Callable[[], OwnCursor], channel: Channel, kept: KeptAnswers
    ) -> ReadingService | None:
        """Serve the store that this process owns; None where it does already, or where no socket can be had."""
        found = listening(store)
        return None if found is None else cls(*found, new_cursor, channel, kept)

    def close(self) -> None:
        """Take nobody any more, end what is under way, and remove the socket."""
        with self._lock:
            self._closed = True
            served = dict(self._served)
        self._turns.end()
        with contextlib.suppress(OSError):
            self.place.unlink()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that waits for connections
        self._thread.join()
        self._listener.close()
        self._channel.close(FLUSH_S)
        for connection, (thread, cursor) in served.items():
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            while cursor is not None and thread.is_alive():
                cursor.interrupt()
                thread.join(0.05)
            thread.join()

    def _take(self) -> None:
        while not self._closed:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                if self._closed:
                    return
                time.sleep(_AGAIN_S)  # no descriptor is left, or the caller is gone again
                continue
            with self._lock:
                if self._closed or peer(connection)[1] not in (None, 0, os.getuid()) or self._full(connection):
                    connection.close()
                    continue
                thread = threading.Thread(target=self._serve, args=[connection], name="reader", daemon=True)
                try:
                    thread.start()
                except RuntimeError:  # the system has no thread left
                    connection.close()
                    continue
                self._served[connection] = thread, None  # the lock keeps the thread from its cursor until here

    def _full(self, connection: socket.socket) -> bool:
        """Whether there are too many readers, which is told to the one that comes now."""
        if len(self._served) < AT_MOST:
            return False
        busy = f"process {os.getpid()} is read by {AT_MOST} others at this moment"
        with contextlib.suppress(OSError):
            wire.send_json(connection, wire.told(StoreLocked(busy, "Nothing was changed. Try again in a moment.")))
        return True

    def _serve(self, connection: socket.socket) -> None:
        cursor = None
        try:
            patience = struct.pack("ll", SEND_S, 0)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, patience)
            wire.send_json(connection, wire.hello(os.getpid()))
            cursor = self._new_cursor()
            with self._lock:
                self._served[connection] = threading.current_thread(), cursor
            held = False
            while not self._closed:
                connection.settimeout(HELD_IDLE_S if held else None)
                asked = wire.receive_json(connection)
                connection.settimeout(None)
                process = peer(connection)[0] or int(asked.get("pid") or 0)
                if asked.get("do") == "follow":
                    self._channel.follow(partial(wire.send_json, connection), partial(_gone, connection), process)
                    return
                try:
                    answer: dict[str, Any] = {}
                    if asked.get("do") == "act":
                        answer = {"done": self._channel.act(asked, process)}
                    else:
                        held = self._answer(connection, cursor, asked, held)
                except CaiError as error:
                    answer = wire.told(error)
                wire.send_json(connection, answer)
        except (OSError, CaiError):
            pass  # the reader is gone, or the store
        finally:
            with self._lock:
                self._served.pop(connection, None)
            if cursor is not None:
                cursor.close()
            connection.close()

    def _answer(self, connection: socket.socket, cursor: OwnCursor, asked: dict[str, Any], held: bool) -> bool:
        """Do what was asked; returns whether the store is held as it was at one time."""
        match asked.get("do"):
            case "read":
                typed, sql, params = asked.get("typed"), str(asked["sql"]), asked.get("params")
                question = None
                if typed is None and not held:
                    with self._turns.counted():
                        question = self._kept.ask(cursor, sql, params)
                        known = question.answer()
                        for frame in known or ():
                            wire.send(connection, wire.ARROW, frame)
                    if known is not None:
                        return held
                seconds = HELD_SECONDS if held else SECONDS if typed is None else min(float(typed), SECONDS)
                with cursor.watched(seconds, lambda: _gone(connection)):
                    self._send_rows(connection, cursor.parts(sql, params), question, bounded=not held)
                return held
            case "hold":
                cursor.hold()
                return True
            case "release":
                cursor.release()
                return False
            case other:
                raise StoreError(f"the owner of the store knows no {other!r}", "Nothing was changed.")

    def _send_rows(
        self, connection: socket.socket, found: Iterator[Any], question: Question | None, *, bounded: bool
    ) -> None:
        with self._turns.turn():
            part = next(found)
        rows = size = 0
        while part is not None:
            rows, size = rows + part.num_rows, size + part.nbytes
            if bounded and (rows > ROWS or size > BYTES):
                most = f"{ROWS:,} rows or {BYTES / 2**30:.0f} GiB"
                raise StoreError(
                    f"the result has more than {most}, which one process reads of another's store at most",
                    "Nothing was changed. Ask for a part, or copy the store with: cai export --snapshot FILE",
                )
            sink = pa.BufferOutputStream()
            with pa.ipc.new_stream(sink, part.schema) as stream:
                stream.write_table(part)
            frame = bytes(sink.getvalue())
            wire.send(connection, wire.ARROW, frame)
            if question is not None:
                question.sent(frame)
            with self._turns.turn():
                part = next(found, None)
        if question is not None:
            question.ended()


def _gone(connection: socket.socket) -> str:
    """Why nobody waits at the other end any more, and nothing while somebody does."""
    try:
        left = connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return ""
    except OSError:
        return "the connection broke"
    return "" if left else "nobody waits for it any more"
