"""What the engine adds to its model: `python bench/overhead.py [PILOT]`.

A pilot of the small spec, its store on disk, every call recorded; then the bare backend, in a process of its own and as
cold as the pilot's was, given the same calls in the same groups and order. `ratio` is the pipeline's wall time, loading
excluded, over the backend's. `ratio_within` is free of the noise between two runs: the same wall time over what the
backend took of it, from the first request of each call to its last answer, the engine's work in between left out.
"""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from common import MODEL, pilot_of, report

import engine.models.registry


def raw(file: Path) -> float:
    """Seconds that the bare backend takes for recorded calls."""
    calls = pickle.loads(file.read_bytes())
    model = engine.models.registry.load(None)
    began = time.perf_counter()
    for kind, requests in calls:
        for _ in getattr(model, kind)(requests):
            pass
    return time.perf_counter() - began


def main() -> None:
    if sys.argv[1:2] == ["--raw"]:
        print(json.dumps(raw(Path(sys.argv[2]))))
        return
    pilot = int(sys.argv[1]) if sys.argv[1:] else 1
    model, pipeline_s, outcome = pilot_of(pilot)
    model.inner.close()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "calls"
        file.write_bytes(pickle.dumps([(call.kind, call.requests) for call in model.calls]))
        done = subprocess.run([sys.executable, __file__, "--raw", file], capture_output=True, text=True, check=True)
    raw_s = float(done.stdout.splitlines()[-1])
    within = sum(call.seconds for call in model.calls)
    report(
        benchmark="overhead", model=MODEL, pilot=pilot, state=outcome.state if outcome else None,
        requests=sum(len(call.requests) for call in model.calls), pipeline_s=round(pipeline_s, 2),
        raw_s=round(raw_s, 2), ratio=round(pipeline_s / raw_s, 4), ratio_within=round(pipeline_s / within, 4),
    )  # fmt: skip


if __name__ == "__main__":
    main()
