"""The engine of another process, as a screen uses one: what it tells, and what is asked of it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from engine.core.events import Event, Noted, RunFinished, restored
from store.errors import OwnerGone, StoreError
from store.serving.following import Following
from tui.live.state import RunState, beside

if TYPE_CHECKING:
    from engine.core.events import Emit
    from store.serving.attached import Attached


class FarEngine:
    """Follows one owner of a store until it lets go of it, which `over` is called for, from a thread.

    `process` is the owner; `run_id` is empty where it works on no run.
    """

    def __init__(self, following: Following, store: Attached, emit: Emit, over: Callable[[FarEngine], object]) -> None:
        self.store = store
        self.process = following.owner
        self.run_id = str(following.about.get("run", ""))
        self.outcome: RunFinished | None = None
        self._following = following
        self._emit = emit
        self._over = over
        self._closed = False
        self._thread = threading.Thread(target=self._follow, name="following", daemon=True)

    @classmethod
    def of(cls, store: Attached, emit: Emit, over: Callable[[FarEngine], object]) -> FarEngine:
        """Follow the owner of an attached store. Raises OwnerGone, StoreLocked and StoreError."""
        following = Following.to(store.path)
        if following is None:
            raise OwnerGone(f"nobody has the store {store.path} any more", "Nothing was changed.")
        return cls(following, store, emit, over)

    def state(self) -> RunState:
        """The run as its own screen shows it, from what was told before; `start` goes on from there."""
        about = self._following.about
        state = beside(self.run_id, about.get("aside") or (), about.get("changed") or {})
        state.suites = tuple(about.get("suites") or ())
        state.owner = self.process
        for message in self._following.told:
            event = _event(message)
            if event is not None:
                state.apply(event, float(message["at"]))
        if state.active:
            state.worked.set(float(about["elapsed_s"]))
        return state

    def start(self) -> None:
        """Begin to hand on what the owner tells; returns at once."""
        self._thread.start()

    def pause(self) -> None:
        """Have the owner hold at its next commit."""
        self._act("pause")

    def resume(self) -> None:
        """Have the owner go on after a pause."""
        self._act("resume")

    def stop(self) -> None:
        """Have the owner end the run at its next commit."""
        self._act("stop")

    def answer(self, question_id: str, answer: str, reason: str) -> bool:
        """Answer an open question of the run; False where it has its answer."""
        return self._act("answer", question=question_id, answer=answer, reason=reason)

    def join(self, timeout: float | None = None) -> bool:
        """Wait until the owner has let go of the store; True where it has."""
        if self._thread.ident is not None:
            self._thread.join(timeout)
        return not self._thread.is_alive()

    def close(self) -> None:
        """Follow no more; the owner goes on."""
        self._closed = True
        self._following.close()
        self.store.close()

    def _act(self, what: str, **fields: str) -> bool:
        return self._following.act(what, run=self.run_id, **fields)

    def _follow(self) -> None:
        try:
            for message in self._following.messages(self._sleeps):
                event = _event(message)
                if isinstance(event, RunFinished):
                    self.outcome = event
                if event is not None:
                    self._emit(event)
        except StoreError:  # too slow to follow: whoever is told attaches again, and is told all anew
            pass
        if not self._closed:
            self._over(self)

    def _sleeps(self, asleep: bool) -> None:
        told = "is suspended: type fg in the terminal that it is in" if asleep else "goes on"
        level = "warning" if asleep else "info"
        self._emit(Noted(self.run_id, level, f"Process {self.process} {told}"))


def _event(message: Mapping[str, Any]) -> Event | None:
    return restored(str(message.get("event")), str(message.get("run")), message.get("payload") or {})
