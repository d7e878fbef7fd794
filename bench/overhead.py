"""What the engine adds to its model: `python bench/overhead.py [PILOT]`.

A pilot of the small spec, its store on disk, every call recorded; then the bare backend given the same calls, in the
same groups and order. `ratio` is the pipeline's wall time, loading excluded, over the backend's.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from common import MODEL, report

import engine.models
from engine import RunOptions, open_engine

REAL = engine.models.load


class Recording:
    """The model, and every stream of requests as it was asked for."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.calls: list[tuple[str, list[Any]]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def _record(self, kind: str, requests: Iterable[Any]) -> Iterator[Any]:
        asked: list[Any] = []
        self.calls.append((kind, asked))
        for request in requests:
            asked.append(request)
            yield request

    def generate(self, requests: Iterable[Any]) -> Iterator[Any]:
        return self._inner.generate(self._record("generate", requests))

    def score(self, requests: Iterable[Any]) -> Iterator[Any]:
        return self._inner.score(self._record("score", requests))

    def close(self) -> None:
        """It is measured alone afterwards."""


def main() -> None:
    pilot = int(sys.argv[1]) if sys.argv[1:] else 12
    model = Recording(REAL(None))
    engine.models.load = lambda *_, **__: model  # type: ignore[assignment]
    with tempfile.TemporaryDirectory() as folder:
        opened = open_engine(RunOptions(store=Path(folder) / "a.duckdb", pilot=pilot), lambda event: None)
        began = time.perf_counter()
        opened.start()
        opened.join()
        pipeline_s = time.perf_counter() - began
        outcome = opened.outcome
        opened.close()
    began = time.perf_counter()
    for kind, asked in model.calls:
        for _ in getattr(model._inner, kind)(asked):
            pass
    raw_s = time.perf_counter() - began
    report(
        benchmark="overhead", model=MODEL, pilot=pilot, state=outcome.state if outcome else None,
        requests=sum(len(asked) for _, asked in model.calls), pipeline_s=round(pipeline_s, 2), raw_s=round(raw_s, 2),
        ratio=round(pipeline_s / raw_s, 4),
    )  # fmt: skip


if __name__ == "__main__":
    main()
