"""Several of vLLM's engines behind what one of them offers: a request goes to the one that has the fewest."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from engine.models.vllm.engine import EngineProcess, EngineRequest, LoraAdapter, Produced, Settings

LOOK_EVERY_S = 0.0005  # a step of an engine takes ten milliseconds and more


class EnginePool:
    """Engines side by side, each on devices of its own, asked as EngineProcess is.

    They are started one after another, because a process's environment is this program's while it is started. One that
    dies costs all of them: what any had not answered is asked again by whoever asked, as with one engine.
    """

    def __init__(self, settings: Settings, devices: Iterable[str]) -> None:
        self.settings = settings
        self._where: dict[str, int] = {}  # by request: which engine has it
        self._under_way: list[int] = []
        self._engines: list[EngineProcess] = []
        try:
            for some in devices:
                self._engines.append(EngineProcess(replace(settings, devices=some)))
                self._under_way.append(0)
        except BaseException:
            self.stop()
            raise

    @property
    def lacking_mib(self) -> int:
        """Of a GPU's memory, after the last stop."""
        return max(engine.lacking_mib for engine in self._engines)

    @property
    def max_model_len(self) -> int:
        """Tokens of prompt and answer together that each of them takes."""
        return min(engine.max_model_len for engine in self._engines)

    @property
    def facts(self) -> dict[str, Any]:
        """What one found out about itself, and the tokens that all of them hold."""
        told = [engine.facts for engine in self._engines]
        return told[0] | {"kv_tokens": sum(one["kv_tokens"] or 0 for one in told)}

    def add(self, name: str, ask: EngineRequest) -> None:
        """Put a request to the engine with the fewest under way. Raises as EngineProcess does."""
        which = self._under_way.index(min(self._under_way))
        self._engines[which].add(name, ask)
        self._where[name] = which
        self._under_way[which] += 1

    def step(self) -> list[Produced]:
        """Wait for the next step of any of them and return the requests that were finished, often none."""
        while True:
            ready = [engine for engine in self._engines if engine.ready]
            if ready:
                break
            time.sleep(LOOK_EVERY_S)
        finished = [found for engine in ready for found in engine.step()]
        for found in finished:
            self._left(found.name)
        return finished

    def abort(self, names: Iterable[str]) -> None:
        """Drop requests, wherever they are."""
        for name in names:
            if (which := self._left(name)) is not None:
                self._engines[which].abort([name])

    def admit(self, adapter: LoraAdapter) -> None:
        """Load an adapter in each of them. Raises RuntimeError where it does not fit."""
        for engine in self._engines:
            engine.admit(adapter)

    def restart(self, lora_rank: int | None = None) -> None:
        """End all and start all, ready for adapters of `lora_rank` where one is given."""
        self.stop()
        if lora_rank is not None:
            self.settings = replace(self.settings, lora_rank=lora_rank)
        for engine in self._engines:
            engine.restart(lora_rank)

    def stop(self) -> None:
        """End the processes of all, the last one that was started first: each waits for the memory that it found."""
        self._where.clear()
        self._under_way = [0] * len(self._engines)
        for engine in reversed(self._engines):
            engine.stop()

    def pids(self) -> list[int]:
        """The ids of all engines' processes."""
        return [pid for engine in self._engines for pid in engine.pids()]

    def _left(self, name: str) -> int | None:
        """Which engine had a request that is done with; None where none has it."""
        which = self._where.pop(name, None)
        if which is not None:
            self._under_way[which] -= 1
        return which
