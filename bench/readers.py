"""What readers cost the run that they look at: `python bench/readers.py [BLOCKS]`.

A pilot of two on the embedded model fills a store. The process that owns it then has the same model judge texts of one
length by the pipeline's own door, which commits what it is told, and twice in each block it commits a sample, what was
judged of it and an event. Blocks of some seconds come in pairs, one of which nobody reads; which of a pair comes first
alternates. In the other block five processes read the store over its socket, 1,000 reads in all blocks together, evenly
spread: as often as if 1,000 were made while a pilot of a hundred works, six minutes. A read is one question of the
program's own, in turn: a run's row, its gates, a page of samples, the last events, how many samples there are; one in
ten is the whole status.

Told are `throughput`, the seconds of the blocks alone over those with readers (the sum over all blocks, with a 95 %
interval by a bootstrap over pairs, and the median of the pairs), what the reads took of the owner's processor in
milliseconds each (`owner_ms`, the difference between the blocks), and over all reads errors, median and 95th percentile
in milliseconds. One JSON line.
"""

from __future__ import annotations

import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from common import MODEL, pilot_of, report

READERS, READS = 5, 1_000
OVER_S = 345.0  # a pilot of a hundred
WORDS = 60  # of a text that is judged
FIRST = 64  # texts that tell how many fill a block
WRITES = 2  # commits of samples, judgements and events in a block
RESAMPLES = 2_000


def read(store: Path) -> None:
    """For each line `N SECONDS` that comes: so many reads, evenly spread, and a line of how long each took."""
    from store.db import reading
    from store.errors import CaiError

    done = 0
    with reading(store) as attached, attached.reader() as reader:
        run_id = str(reader.latest_run_id())
        asked = (
            lambda: reader.run(run_id), lambda: reader.gates(run_id), lambda: reader.samples(run_id, limit=50),
            lambda: reader.events(run_id), lambda: reader.count_samples(run_id),
        )  # fmt: skip
        kinds = (*asked, *asked[:4], lambda: reader.status(run_id))
        print(json.dumps({"attached": type(attached).__name__}), flush=True)
        for line in sys.stdin:
            wanted, over_s = int(line.split()[0]), float(line.split()[1])
            times, errors, began = [], [], time.monotonic()
            for number in range(wanted):
                time.sleep(max(0.0, began + (number + random.random()) * over_s / wanted - time.monotonic()))
                at = time.perf_counter()
                try:
                    kinds[done % len(kinds)]()
                except CaiError as error:
                    errors.append(error.title)
                done += 1
                times.append(time.perf_counter() - at)
            print(json.dumps({"times": times, "errors": errors}), flush=True)


def texts(answers: Any, n: int, numbers: Iterator[int]) -> float:
    """Have `n` texts judged that nobody asked about before; returns the seconds."""
    from engine.models.requests import Score

    drawn = random.Random(0)
    words = " ".join(drawn.choice(["river", "paper", "evening", "window", "market", "garden"]) for _ in range(WORDS))
    head = "Is the text below clear? "
    began = time.perf_counter()
    asked = [Score(f"{head}{next(numbers):08d} {words}\nAnswer:", (" yes", " no"), len(head)) for _ in range(n)]
    answered = sum(1 for _ in answers.score(asked))
    assert answered == n, "a text was not judged"
    return time.perf_counter() - began


def worked(store: Any, answers: Any, n: int, numbers: Iterator[int]) -> float:
    """A part of a block: texts are judged and what is judged is committed; returns the seconds."""
    rows = rows_of(store, numbers)
    began = time.perf_counter()
    texts(answers, n, numbers)
    for table in rows:
        store.append({table: rows[table]})
    return time.perf_counter() - began


def rows_of(store: Any, numbers: Iterator[int]) -> dict[str, list[dict[str, Any]]]:
    """One more sample of the run, its verdict, its judgement and an event, each like one that is there."""
    with store.reader() as reader:
        run_id, number = str(reader.latest_run_id()), next(numbers)
        name = f"bench-{number:08d}"
        judged = "SELECT subject_id FROM judgements WHERE run_id = $1 AND subject_kind = 'sample'"
        sample = reader.query(
            f"SELECT * FROM samples WHERE run_id = $1 AND sample_id IN ({judged}) ORDER BY ordinal LIMIT 1", [run_id]
        )[0]
        event = reader.query('SELECT * FROM events WHERE run_id = ? ORDER BY "at" DESC LIMIT 1', [run_id])[0]
        said = {
            table: [row | {"subject_id": name} for row in reader.query(
                f"SELECT * FROM {table} WHERE run_id = ? AND subject_kind = 'sample' AND subject_id = ?",
                [run_id, sample["sample_id"]],
            )]
            for table in ("verdicts", "judgements")
        }  # fmt: skip
    assert all(said.values()), "the sample has no verdict, or no judgement"
    new = {"sample_id": name, "ordinal": 10**6 + number}
    return {"samples": [sample | new], **said, "events": [event | {"seq": 10**6 + number}]}


def main() -> None:
    if sys.argv[1:2] == ["--read"]:
        read(Path(sys.argv[2]))
        return
    import engine.models.registry
    from engine.core.control import Control
    from engine.models.answers import Answers
    from engine.run.engine import MEMORY
    from store.db import Store

    blocks = int(sys.argv[1]) if sys.argv[1:] else 100
    each, block_s = READS // READERS // blocks, OVER_S / blocks
    load = engine.models.registry.load
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "a.duckdb"
        first, _, outcome = pilot_of(2, file)
        assert outcome is not None and outcome.state in ("done", "gate_failed"), "the pilot did not end by itself"
        first.inner.close()
        model, numbers = load(None), iter(range(10**8))
        with Store.open(file, memory=MEMORY) as store:
            answers = Answers(model, store, "bench", Control())
            texts(answers, FIRST, numbers)  # warm
            n = FIRST
            for _ in range(3):  # more texts at once take less each
                n = max(1, round(n * block_s / WRITES / texts(answers, n, numbers)))
            readers = [
                subprocess.Popen([sys.executable, __file__, "--read", file], text=True, stdin=-1, stdout=-1)
                for _ in range(READERS)
            ]
            told = [json.loads(reader.stdout.readline()) for reader in readers]  # type: ignore[union-attr]
            seconds: dict[bool, list[float]] = {True: [], False: []}
            cpu: dict[bool, list[float]] = {True: [], False: []}
            reads: list[dict[str, Any]] = []
            for number in range(blocks):
                for with_readers in (number % 2 == 0, number % 2 == 1):
                    before = time.process_time()
                    if with_readers:
                        for reader in readers:
                            print(each, 0.9 * block_s, file=reader.stdin, flush=True)
                    seconds[with_readers].append(sum(worked(store, answers, n, numbers) for _ in range(WRITES)))
                    if with_readers:
                        reads += [json.loads(reader.stdout.readline()) for reader in readers]  # type: ignore[union-attr]
                    cpu[with_readers].append(time.process_time() - before)
            for reader in readers:
                reader.communicate()
    pairs = list(zip(seconds[False], seconds[True], strict=True))
    drawn = random.Random(0)
    again = sorted(_ratio(drawn.choices(pairs, k=blocks)) for _ in range(RESAMPLES))
    times = sorted(1_000 * one for answer in reads for one in answer["times"])
    errors = [error for answer in reads for error in answer["errors"]]
    report(
        benchmark="readers", model=MODEL, blocks=blocks, block_s=round(statistics.median(seconds[False]), 2),
        processes=READERS, reads=len(times), errors=len(errors), first_error=(errors or [""])[0],
        over_the_socket=all(one["attached"] == "Attached" for one in told),
        median_ms=round(statistics.median(times), 1), p95_ms=round(times[int(0.95 * len(times))], 1),
        throughput=round(_ratio(pairs), 4),
        throughput_95=[round(again[int(share * RESAMPLES)], 4) for share in (0.025, 0.975)],
        throughput_median=round(statistics.median(alone / read_ for alone, read_ in pairs), 4),
        owner_ms=round(1_000 * (sum(cpu[True]) - sum(cpu[False])) / len(times), 2),
    )  # fmt: skip


def _ratio(pairs: list[tuple[float, float]]) -> float:
    return sum(alone for alone, _ in pairs) / sum(read_ for _, read_ in pairs)


if __name__ == "__main__":
    main()
