"""What an engine tells goes to all who follow its store from other processes; what they ask for goes to the engine."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from engine.run.orders import Evaluate, Refit, Train
from store.errors import StoreError
from tui.live.bridge import LATEST_ONLY
from tui.live.working import WorkingClock

if TYPE_CHECKING:
    from engine.core.events import Emit, Event
    from engine.run.engine import Engine
    from engine.run.orders import Order
    from engine.run.same import EndedRun

# A run has many waves: of what each of them tells the newest stays known, by phase, gate or training.
_NEWEST = LATEST_ONLY | {
    "RunStarted", "ModelLoading", "ModelLoaded", "PhaseStarted", "PhaseFinished", "GateDecided", "TrainingStarted",
    "TrainingStepped",
}  # fmt: skip
_OF = ("phase", "gate", "training_id")
_NOT_KEPT = ("MarginMeasured",)  # all of them are in the store


class Broadcast:
    """Of one engine: `emit` takes its events, also those that come before it is there, and hands them on."""

    def __init__(
        self, order: Order, emit: Emit, clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:  # fmt: skip
        self._order = order
        self._emit = emit
        self._wall = wall
        self._worked = WorkingClock(clock)
        self._lock = threading.Lock()  # so that all are told in one order
        self._engine: Engine | EndedRun | None = None
        self._early: list[dict[str, Any]] = []

    def emit(self, event: Event) -> None:
        with self._lock:
            match event.kind:
                case "RunStarted" | "RunResumed":
                    self._worked.go()
                case "RunPaused" | "RunFinished":
                    self._worked.halt()
            self._tell(event)
        self._emit(event)

    def serve(self, engine: Engine | EndedRun) -> None:
        """Tell through the channel of this engine's store from now on."""
        with self._lock:
            self._engine = engine
            engine.store.channel.serve(self._about, self._act)
            for message in self._early:
                engine.store.channel.tell(message)

    def _tell(self, event: Event) -> None:
        if event.kind in _NOT_KEPT:
            if self._engine is not None and self._engine.store.channel.followed():
                self._engine.store.channel.tell(self._message(event), None)
        elif self._engine is None:
            self._early.append(self._message(event))
        else:
            about = next(filter(None, (getattr(event, name, "") for name in _OF)), "")
            slot = f"{event.kind} {about}" if event.kind in _NEWEST else ""
            self._engine.store.channel.tell(self._message(event), slot)

    def _message(self, event: Event) -> dict[str, Any]:
        return {"event": event.kind, "run": event.run_id, "at": self._wall(), "payload": event.payload()}

    def _about(self) -> dict[str, Any]:
        engine, order = self._engine, self._order
        assert engine is not None
        with engine.store.reader() as reader:
            before = float(reader.run(engine.run_id)["elapsed_s"])
        changed = dict(order.overrides) if isinstance(order, Train | Evaluate | Refit) else {}
        suites = list(order.suites) if isinstance(order, Evaluate) else []
        return {
            "run": engine.run_id,
            "elapsed_s": before + self._worked.seconds,
            "aside": list(order.aside),
            "changed": changed,
            "suites": suites,
        }

    def _act(self, asked: Mapping[str, Any], process: int) -> bool:
        engine, through = self._engine, f"process {process}"
        assert engine is not None
        if asked.get("run") != engine.run_id:
            raise StoreError(f"process {os.getpid()} works on run {engine.run_id} now", "Nothing was changed.")
        match asked.get("act"):
            case "answer":
                return engine.answer(str(asked["question"]), str(asked["answer"]), str(asked["reason"]), through)
            case "pause":
                engine.pause(through)
            case "resume":
                engine.resume(through)
            case "stop":
                engine.stop(through)
            case other:
                raise StoreError(f"the owner of the store knows no {other!r}", "Nothing was changed.")
        return True
