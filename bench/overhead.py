"""What the engine adds to its model: `python bench/overhead.py [PILOT]`.

A pilot of the small spec, its store on disk, every call recorded; then the bare backend given the same calls, in the
same groups and order. `ratio` is the pipeline's wall time, loading excluded, over the backend's.
"""

from __future__ import annotations

import sys
import time

from common import MODEL, pilot_of, report


def main() -> None:
    pilot = int(sys.argv[1]) if sys.argv[1:] else 4
    model, pipeline_s, outcome = pilot_of(pilot)
    began = time.perf_counter()
    for call in model.calls:
        for _ in getattr(model.inner, call.kind)(call.requests):
            pass
    raw_s = time.perf_counter() - began
    report(
        benchmark="overhead", model=MODEL, pilot=pilot, state=outcome.state if outcome else None,
        requests=sum(len(call.requests) for call in model.calls), pipeline_s=round(pipeline_s, 2),
        raw_s=round(raw_s, 2), ratio=round(pipeline_s / raw_s, 4),
    )  # fmt: skip


if __name__ == "__main__":
    main()
