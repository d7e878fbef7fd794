"""Whether memory stays as it is while a run goes on: `python bench/endurance.py [MINUTES] [WARM]`.

One run of the small spec with a fake model that answers some 8 requests a second, over MINUTES (60), with a pilot that
passes and a target that is never reached, so that phases, waves, gates, merges of the log and new rows go on all the
time. Its events go through the bridge into the state of a screen, as they do under `cai run`, and another process reads
the store over its socket once a second, by a new connection each time: a run's row, its events and samples, and every
tenth time the whole status. The process's resident memory is looked at 360 times: what is its own, and beside it the
pages of files, mostly of libraries, that the system takes back and reads again as others need memory. Told of its own
are `mb_warm`, the median over the last tenth of the first WARM (10) minutes, `mb_most` and `mb_last`, the largest after
that and the median of the last tenth, `growth`, the last over the first less one, `slope_mb_per_hour`, the straight
line through all after WARM, and what DuckDB holds of it at both times, which is a cache up to its limit; and
`growth_with_files`, that of all that is resident. One JSON line.
"""

from __future__ import annotations

import json
import os
import select
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

from common import report
from growth import LOOSE, fake

MINUTES, WARM = 60.0, 10.0
LOOKS = 360
BATCH, LATENCY_S = 2, 0.25
DRAINED_S = 0.2  # between two repaints
PAGE_MB = os.sysconf("SC_PAGE_SIZE") / 2**20


class Look(NamedTuple):
    """What is resident at a time, in seconds from the beginning and MB; what DuckDB holds is part of its own."""

    at: float
    own: float
    files: float
    duckdb: float


def resident_mb() -> tuple[float, float]:
    """What this process has in memory now: its own, and the pages of files."""
    resident, files = (int(n) * PAGE_MB for n in Path("/proc/self/statm").read_text().split()[1:3])
    return resident - files, files


def duckdb_mb(store: Any) -> float:
    """What DuckDB holds of it."""
    with store.reader() as reader:
        [row] = reader.query("SELECT sum(memory_usage_bytes) AS n FROM duckdb_memory()")
    return float(row["n"]) / 2**20


def read(path: Path) -> None:
    """Read the store once a second until the input ends; prints one JSON object: reads, and errors by their title."""
    from store.db import reading
    from store.errors import CaiError

    reads, errors = 0, []
    while not select.select([sys.stdin], [], [], 1.0)[0]:
        try:
            with reading(path) as store, store.reader() as reader:
                run_id = str(reader.latest_run_id())
                reader.run(run_id)
                reader.events(run_id)
                reader.samples(run_id, limit=50)
                if reads % 10 == 0:
                    reader.status(run_id)
                reads += 1
        except CaiError as error:
            errors.append(error.title)
    print(json.dumps({"reads": reads, "errors": errors}))


def watched(opened: Any, bridge: Any, state: Any, seconds: float) -> list[Look]:
    """Let the run work for so long, painting nothing, and look now and then."""
    looks: list[Look] = []
    began = time.monotonic()
    while (passed := time.monotonic() - began) < seconds and not opened.join(DRAINED_S):
        for event in bridge.drain():
            state.apply(event)
        if passed >= len(looks) * seconds / LOOKS:
            looks.append(Look(passed, *resident_mb(), duckdb_mb(opened.store)))
    return looks


def figures(looks: list[Look], seconds: float, warm_s: float) -> dict[str, float]:
    """What the looks say about growth, as the module's text has it."""
    after = [look for look in looks if look.at >= warm_s]
    warm = [look for look in looks if 0.9 * warm_s <= look.at < warm_s]
    last = [look for look in looks if look.at >= warm_s + 0.9 * (seconds - warm_s)]
    slope = statistics.linear_regression([look.at for look in after], [look.own for look in after]).slope
    mb_warm, mb_last = (statistics.median(look.own for look in some) for some in (warm, last))
    files_warm, files_last = (statistics.median(look.files for look in some) for some in (warm, last))
    return {
        "mb_first": round(looks[0].own, 1), "mb_warm": round(mb_warm, 1),
        "mb_most": round(max(look.own for look in after), 1), "mb_last": round(mb_last, 1),
        "growth": round(mb_last / mb_warm - 1, 4), "slope_mb_per_hour": round(3600 * slope, 2),
        "duckdb_mb_warm": round(warm[-1].duckdb, 1), "duckdb_mb_last": round(last[-1].duckdb, 1),
        "files_mb_warm": round(files_warm, 1), "files_mb_last": round(files_last, 1),
        "growth_with_files": round((mb_last + files_last) / (mb_warm + files_warm) - 1, 4),
    }  # fmt: skip


def main() -> None:
    if sys.argv[1:2] == ["--read"]:
        read(Path(sys.argv[2]))
        return
    import engine.models.registry
    from engine.run.engine import open_engine
    from engine.run.orders import NewRun
    from tui.live.bridge import Bridge
    from tui.live.state import RunState

    seconds, warm_s = (60 * float(n) for n in (sys.argv[1:] + [str(MINUTES), str(WARM)][len(sys.argv) - 1 :]))
    engine.models.registry.load = lambda *_, **__: fake(20_000, LATENCY_S, BATCH, zipf=True)  # type: ignore[assignment]
    bridge, state = Bridge(lambda event: None), RunState()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.duckdb"
        opened = open_engine(NewRun(path, pilot=20, target=1_000_000, overrides=LOOSE), bridge.emit)
        opened.start()
        argv = [sys.executable, __file__, "--read", str(path)]
        reader = subprocess.Popen(argv, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        looks = watched(opened, bridge, state, seconds)
        ended = opened.outcome
        with opened.store.reader() as rows:
            tables = "completions", "scores", "samples", "events", "ledger"
            counted = {name: rows.query(f"SELECT count(*) AS n FROM {name}")[0]["n"] for name in tables}
        told, _ = reader.communicate(timeout=60)
        opened.close()
    if ended is not None:
        raise SystemExit(f"the run ended by itself: {ended.state}, {ended.reason}")
    read_ = json.loads(told.splitlines()[-1])
    report(
        benchmark="endurance", minutes=round(seconds / 60, 2), warm_minutes=round(warm_s / 60, 2),
        **figures(looks, seconds, warm_s), rows=counted, accepted=state.accepted, reads=read_["reads"],
        read_errors=len(read_["errors"]), first_error=next(iter(read_["errors"]), ""),
    )  # fmt: skip


if __name__ == "__main__":
    main()
