"""What the process that owns a store tells those who follow its work, and what they ask of it."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from store.connect import suspended
from store.errors import StoreError
from store.serving import wire

KEPT = 400  # messages that a follower is told who comes later, beside the newest of each slot
BEHIND = 4_000  # messages that may wait for one follower
BACK_S = 5.0  # within which a follower that was let go is back
_LOOK_S = 0.25

Message = dict[str, Any]
Act = Callable[[Mapping[str, Any], int], bool]


class Channel:
    """The channel of one store, which knows nothing of what goes over it.

    Whoever tells something never waits for those who follow: one that falls behind is told so, and let go.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._followers: set[Follower] = set()
        self._about: Callable[[], Message] = dict
        self._act: Act | None = None
        self._slots: dict[str, tuple[int, Message]] = {}
        self._kept: deque[tuple[int, Message]] = deque(maxlen=KEPT)
        self._count = 0
        self._left_at = float("-inf")
        self._closed = False

    def serve(self, about: Callable[[], Message], act: Act) -> None:
        """Say what is worked on by `about`, and do what a follower asks by `act(what, its process)`.

        `act` returns whether it could still be done, and raises CaiError; both are called in threads of the service.
        Those who follow by now were told that it is nothing: they are let go, to come back and be told anew.
        """
        with self._lock:
            self._about, self._act = about, act
            for follower in self._followers:
                follower.let_go()

    def tell(self, message: Message, slot: str | None = "") -> None:
        """Tell all who follow, and at once.

        Of each `slot` the newest is kept for those who come later, of messages without one the last 400; nothing is
        kept where it is None.
        """
        with self._lock:
            self._count += 1
            if slot:
                self._slots[slot] = self._count, message
            elif slot is not None:
                self._kept.append((self._count, message))
            for follower in self._followers:
                follower.put(message)

    def followed(self) -> bool:
        """Whether somebody follows, or did a moment ago and may be on the way back."""
        with self._lock:
            return bool(self._followers) or self._back_soon()

    def watched(self) -> bool:
        """Whether somebody can answer: the same, without those whose process is suspended."""
        with self._lock:
            processes = {follower.process for follower in self._followers}
            back_soon = self._back_soon()
        return back_soon or not all(map(suspended, processes))

    def _back_soon(self) -> bool:
        return self._clock() - self._left_at < BACK_S

    def act(self, asked: Mapping[str, Any], process: int) -> bool:
        """Do what a follower asks for. Raises StoreError where nothing is worked on, and what the work raises."""
        if self._act is None:
            raise StoreError("the process that has the store works on no run", "Nothing was changed.")
        return self._act(asked, process)

    def follow(self, send: Callable[[Message], None], gone: Callable[[], str], process: int) -> None:
        """Tell one follower all that is kept and then all that comes, until it is gone or let go.

        `process` is its process, 0 where that is not known.
        """
        follower = Follower(process)
        with self._lock:
            about = self._about
            told = sorted([*self._kept, *self._slots.values()], key=lambda one: one[0])
            if not self._closed:
                self._followers.add(follower)
        try:
            send({"about": about(), "told": [message for _, message in told]})
            while not gone():
                message = follower.next(_LOOK_S)
                if message is not None:
                    send(message)
                elif follower.behind:
                    send(wire.told(StoreError("this screen fell behind what it follows", "Nothing was changed.")))
                    return
                elif self._closed or follower.over:
                    return
        finally:
            with self._lock:
                self._followers.discard(follower)
                self._left_at = self._clock()

    def close(self, seconds: float) -> None:
        """Tell nothing more. Those who follow have so many seconds to take what waits for them."""
        with self._lock:
            self._closed = True
            followers = list(self._followers)
            for follower in followers:
                follower.wake()
        until = time.monotonic() + seconds
        while self._followers and time.monotonic() < until:
            time.sleep(0.01)


class Follower:
    """The messages that wait for one follower, which is let go once it is `over`. Any thread puts, one takes."""

    def __init__(self, process: int) -> None:
        self.process = process
        self.behind = self.over = False
        self._waiting: deque[Message] = deque()
        self._ready = threading.Condition()

    def put(self, message: Message) -> None:
        with self._ready:
            if self.behind or self.over:
                return
            if len(self._waiting) >= BEHIND:
                self.behind = True
                self._waiting.clear()
            else:
                self._waiting.append(message)
            self._ready.notify()

    def next(self, seconds: float) -> Message | None:
        """The oldest that waits, else the next one within so many seconds; None without one."""
        with self._ready:
            if not (self._waiting or self.behind or self.over):
                self._ready.wait(seconds)
            return self._waiting.popleft() if self._waiting else None

    def let_go(self) -> None:
        """Put nothing more: what waits is taken, and that is the end."""
        with self._ready:
            self.over = True
            self._ready.notify()

    def wake(self) -> None:
        with self._ready:
            self._ready.notify()
