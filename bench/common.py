"""What every benchmark says beside its figures: versions, the machine, and how busy it was."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))
MODEL = "gemma-3-270m"
AUDIT_ITEMS = "8"


def report(**figures: Any) -> None:
    """Print one JSON line with the figures and where they come from."""
    print(json.dumps({**figures, "versions": versions(), "machine": machine()}))


def versions(*names: str) -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in names or ("torch", "transformers", "duckdb"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "absent"
    return found


def machine() -> dict[str, Any]:
    return {
        "processor": platform.machine(),
        "cores": psutil.cpu_count(logical=True),
        "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
        "load_before": round(os.getloadavg()[0], 2),
    }


class Recording:
    """A model, and every stream of requests as it was asked for, in `calls`."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner
        self.calls: list[Call] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def _record(self, kind: str, requests: Iterable[Any]) -> Iterator[Any]:
        call = Call(kind)
        self.calls.append(call)

        def asked() -> Iterator[Any]:
            waiting = iter(requests)
            while True:
                call.seconds -= time.perf_counter()  # what is done to make the request is not the model's time
                request = next(waiting, None)
                call.seconds += time.perf_counter()
                if request is None:
                    return
                call.requests.append(request)
                yield request

        answers = iter(getattr(self.inner, kind)(asked()))
        while True:
            began = time.perf_counter()
            answer = next(answers, None)
            call.seconds += time.perf_counter() - began
            if answer is None:
                return
            yield answer

    def generate(self, requests: Iterable[Any]) -> Iterator[Any]:
        return self._record("generate", requests)

    def score(self, requests: Iterable[Any]) -> Iterator[Any]:
        return self._record("score", requests)

    def close(self) -> None:
        """It is used on afterwards."""


@dataclass
class Call:
    """One stream: `kind` is generate or score, `seconds` what the model itself took of it."""

    kind: str
    requests: list[Any] = field(default_factory=list)
    seconds: float = 0.0


def pilot_of(n: int, store: Path | None = None) -> tuple[Recording, float, Any]:
    """A pilot of the small spec on the embedded model: the model, seconds without loading, the end.

    Its store is the file `store`, or one on disk that is removed at the end.

    Critics are audited on fewer planted pairs than the spec says, for all of them would be most of the time. The model
    is loaded where the engine loads it: where two threads have used OpenMP, libgomp's workers no longer spin at their
    barriers, which costs the model 5 to 9 % on two cores.
    """
    import engine.models.registry
    from engine.run.engine import open_engine
    from engine.run.orders import NewRun

    real = engine.models.registry.load
    loaded: list[Recording] = []
    loading_s = 0.0

    def load(*args: Any, **options: Any) -> Recording:
        nonlocal loading_s
        began = time.perf_counter()
        loaded.append(Recording(real(None)))
        loading_s = time.perf_counter() - began
        return loaded[0]

    engine.models.registry.load = load  # type: ignore[assignment]
    with tempfile.TemporaryDirectory() as folder:
        order = NewRun(store or Path(folder) / "a.duckdb", pilot=n, overrides={"critics.audit_items": AUDIT_ITEMS})
        opened = open_engine(order, lambda event: None)
        began = time.perf_counter()
        opened.start()
        opened.join()
        seconds = time.perf_counter() - began - loading_s
        outcome = opened.outcome
        opened.close()
    return loaded[0], seconds, outcome


def apart(name: str, words: Sequence[str], seconds: float) -> dict[str, Any]:
    """What a part of a benchmark prints as its last JSON line, run by Python in a process of its own.

    `error` says why where there is none. Whatever it started ends with it: what is left would keep a GPU's memory.
    """
    pipe = subprocess.PIPE
    running = subprocess.Popen(
        [sys.executable, *words], stdout=pipe, stderr=pipe, text=True, cwd=ROOT, start_new_session=True
    )
    elsewhere: list[psutil.Process] = []  # a training process has a session of its own
    try:
        out, said = running.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(psutil.Error):
            elsewhere = psutil.Process(running.pid).children(recursive=True)
        return {"part": name, "error": f"not done after {seconds:g} s"}
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(running.pid, signal.SIGKILL)
        for process in elsewhere:
            with contextlib.suppress(psutil.Error):
                process.kill()
    lines = [line for line in out.splitlines() if line.startswith("{")]
    if running.returncode or not lines:
        return {"part": name, "error": (said.strip().splitlines() or ["no output"])[-1][:300]}
    found: dict[str, Any] = json.loads(lines[-1])
    return found
