"""What readers cost the run that they look at: `python bench/readers.py [PILOT] [PAIRS]`.

A first pilot of the small spec on the embedded model warms the file cache and tells how long one takes. Then pairs of
them, each pilot in a process of its own: one alone, and one of which five other processes make 1,000 reads, from when
its model is loaded and spread over 0.8 of the first pilot's time; which of the two comes first alternates. A read is
one question of the program's own, in turn: a run's row, its gates, a page of samples, the last events, how many samples
there are; one in ten is the whole status, some twenty SELECTs. Told are `throughput`, the seconds alone over those with
readers, each pair and their median; the same of the processor's time of the run's process, which other work on the
machine disturbs less; and over all reads errors, median and 95th percentile in milliseconds. One JSON line. A reader
that finds no run to read ends the benchmark.
"""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from common import MODEL, pilot_of, report

READERS, READS = 5, 1_000
LATEST_S = 120.0  # in which the run has to be there and its model loaded
PART = 0.8  # of the first pilot's time, over which the reads are spread


def work(store: Path, pilot: int) -> dict[str, float]:
    """A pilot: its seconds and its processor's, loading excluded from the first."""
    model, seconds, outcome = pilot_of(pilot, store)
    model.inner.close()
    used = resource.getrusage(resource.RUSAGE_SELF)
    state = outcome.state if outcome else "none"
    return {"seconds": seconds, "cpu_s": used.ru_utime + used.ru_stime, "done": float(state in ("done", "gate_failed"))}


def read(store: Path, number: int, over_s: float) -> dict[str, Any]:
    """The reads of one process, evenly spread over `over_s` seconds: how long each took, and what failed."""
    from store.db import reading
    from store.errors import CaiError
    from store.serving.attached import Attached

    times, errors, late = [], [], time.monotonic() + LATEST_S
    while time.monotonic() < late:
        try:
            with reading(store) as looked, looked.reader() as first:
                if isinstance(looked, Attached) and first.query("SELECT 1 FROM events WHERE kind = 'ModelLoaded'"):
                    break
        except CaiError:
            pass  # the run has not opened its store yet
        time.sleep(0.2)
    else:
        raise SystemExit(f"no run with a loaded model was there to be read within {LATEST_S:g} s")
    with reading(store) as attached, attached.reader() as reader:
        run_id = str(reader.latest_run_id())
        asked = (
            lambda: reader.run(run_id), lambda: reader.gates(run_id), lambda: reader.samples(run_id, limit=50),
            lambda: reader.events(run_id), lambda: reader.count_samples(run_id),
        )  # fmt: skip
        kinds = (*asked, *asked[:4], lambda: reader.status(run_id))
        began = time.monotonic()
        for done in range(READS // READERS):
            time.sleep(max(0.0, began + (done + number / READERS) * over_s * READERS / READS - time.monotonic()))
            at = time.perf_counter()
            try:
                kinds[(done + number) % len(kinds)]()
            except CaiError as error:
                errors.append(error.title)
            times.append(time.perf_counter() - at)
        return {"times": times, "errors": errors, "attached": isinstance(attached, Attached)}


def child(*arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, __file__, *map(str, arguments)], text=True, stdout=subprocess.PIPE)


def answer(process: subprocess.Popen[str]) -> dict[str, Any]:
    told, _ = process.communicate()
    if process.returncode:
        raise SystemExit(f"a process ended with status {process.returncode}")
    found: dict[str, Any] = json.loads(told.splitlines()[-1])
    return found


def one(pilot: int, over_s: float | None) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A pilot, and what those who read it meanwhile tell; nobody reads where `over_s` is None."""
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "a.duckdb"
        run = child("--work", store, pilot)
        readers = [] if over_s is None else [child("--read", store, number, over_s) for number in range(READERS)]
        return answer(run), [answer(reader) for reader in readers]


def main() -> None:
    match sys.argv[1:]:
        case ["--work", store, pilot]:
            print(json.dumps(work(Path(store), int(pilot))))
            return
        case ["--read", store, number, over_s]:
            print(json.dumps(read(Path(store), int(number), float(over_s))))
            return
    pilot, pairs = (int(text) for text in (sys.argv[1:] + ["2", "3"][len(sys.argv) - 1 :]))
    over_s = PART * one(pilot, None)[0]["seconds"]
    throughput, cpu, reads = [], [], []
    for number in range(pairs):
        if number % 2:
            read_, told = one(pilot, over_s)
            alone, _ = one(pilot, None)
        else:
            alone, _ = one(pilot, None)
            read_, told = one(pilot, over_s)
        assert alone["done"] and read_["done"], "a run did not end by itself"
        throughput.append(alone["seconds"] / read_["seconds"])
        cpu.append(alone["cpu_s"] / read_["cpu_s"])
        reads += told
    times = sorted(1_000 * one_read for told in reads for one_read in told["times"])
    report(
        benchmark="readers", model=MODEL, pilot=pilot, seconds_alone=round(over_s / PART, 1), processes=READERS,
        reads=len(times), errors=sum(len(told["errors"]) for told in reads),
        first_error=next((error for told in reads for error in told["errors"]), ""),
        over_the_socket=all(told["attached"] for told in reads), median_ms=round(statistics.median(times), 1),
        p95_ms=round(times[int(0.95 * len(times))], 1), throughput=round(statistics.median(throughput), 4),
        throughput_pairs=[round(ratio, 4) for ratio in throughput], cpu=round(statistics.median(cpu), 4),
        cpu_pairs=[round(ratio, 4) for ratio in cpu],
    )  # fmt: skip


if __name__ == "__main__":
    main()
