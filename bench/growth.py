"""How cost grows with the number of samples: `python bench/growth.py [SIZES]`.

Whole runs of the small spec with a fake model that answers after a fixed time, each size in a process of its own. Told
are seconds, microseconds a sample and the process's largest memory; `time_exponent` is the slope of log time over log
samples (1 is linear), `memory_ratio` the memory of the largest run over that of the smallest, `duckdb_mb` what DuckDB
holds of it at the end, which is a cache up to its limit. Prints one JSON line.
"""

from __future__ import annotations

import itertools
import json
import math
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from common import report

LATENCY_S = 0.0002  # for a batch
BATCH = 64
SIZES = (667, 6_667, 66_667)  # pilots, which become half as many samples again: 1,000, 10,000 and 100,000
LOOSE = {
    "gate.runaway_below": "1.0", "gate.token_limit_below": "1.0", "gate.median_tokens_below": "400",
    "gate.instruction_acceptance_at_least": "0.0", "gate.pair_acceptance_at_least": "0.0",
}  # fmt: skip


def fake(vocabulary: int, latency_s: float = LATENCY_S, batch_size: int = BATCH, *, zipf: bool = False) -> Any:
    """A model that lists instructions of random words and answers with a sentence.

    With `zipf` the n-th word is drawn 1/n times as often as the first, as in real text, where new words become rare.
    """
    from engine.models.requests import Completion, Encoding, Generate, LabelScores, Score

    words = ["".join(random.Random(n).choices("abcdefghijklmnoprstuvw", k=7)) for n in range(vocabulary)]
    often = list(itertools.accumulate(1 / n if zipf else 1.0 for n in range(1, vocabulary + 1)))

    class Fake:
        name, fingerprint, facts = "fake", "fa" * 8, {"backend": "fake"}
        layers, adaptable, in_use = 0, None, None  # no hidden states: critics are those of labels

        def __init__(self) -> None:
            self.batch_size = batch_size

        def _batches(self, requests: Iterable[Any]) -> Iterator[Any]:
            waiting = iter(requests)
            while batch := [request for _, request in zip(range(batch_size), waiting, strict=False)]:
                time.sleep(latency_s)
                yield from batch

        def generate(self, requests: Iterable[Generate]) -> Iterator[Completion]:
            for request in self._batches(requests):
                rng = random.Random(request.seed)
                if "numbered list" in request.prompt:
                    drawn = [" ".join(rng.choices(words, cum_weights=often, k=6)) for _ in range(11, 19)]
                    lines = [
                        f"{'' if n == 11 else f'{n}. '}Explain how {some} work." for n, some in enumerate(drawn, 11)
                    ]
                    yield Completion(request, " " + "\n".join(lines), tuple(range(64)), 5, "eos", None)
                else:
                    text = f" The {rng.choice(words)} is older than a {rng.choice(words)} by some years."
                    yield Completion(request, text, tuple(range(12)), 5, "stop", "\n###")

        def score(self, requests: Iterable[Score]) -> Iterator[LabelScores]:
            for request in self._batches(requests):
                logprobs = tuple(-0.5 if not n else -1.5 for n in range(len(request.labels)))
                yield LabelScores(request, logprobs, tuple(1 for _ in request.labels))

        def encoding(self, text: str) -> Encoding:
            return Encoding((2, *range(10, 10 + len(text))), ("<bos>", *text), 2, frozenset({99}))

        def use(self, adapter: object, sha256: str = "") -> None: ...

        def chat(self, history: object, prompt: str) -> None: ...

        def close(self) -> None: ...

    return Fake()


def one(size: int) -> dict[str, Any]:
    import engine.models.registry
    from engine.run.engine import open_engine
    from engine.run.orders import NewRun

    engine.models.registry.load = lambda *_, **__: fake(20_000)  # type: ignore[assignment]
    with tempfile.TemporaryDirectory() as folder:
        order = NewRun(Path(folder) / "a.duckdb", pilot=size, overrides=LOOSE)
        opened = open_engine(order, lambda event: None)
        began = time.perf_counter()
        opened.start()
        opened.join()
        seconds = time.perf_counter() - began
        outcome = opened.outcome
        held = opened.store.reader().query("SELECT sum(memory_usage_bytes) AS n FROM duckdb_memory()")[0]["n"]
        opened.close()
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    assert outcome is not None
    return {
        "samples": outcome.accepted, "state": outcome.state, "seconds": round(seconds, 2),
        "us_per_sample": round(1e6 * seconds / max(outcome.accepted, 1)), "memory_mb": round(memory),
        "duckdb_mb": round(float(held) / 2**20),
    }  # fmt: skip


def main() -> None:
    if sys.argv[1:2] == ["--one"]:
        print(json.dumps(one(int(sys.argv[2]))))
        return
    sizes = [int(word) for word in sys.argv[1].split(",")] if sys.argv[1:] else SIZES
    found = []
    for size in sizes:
        done = subprocess.run(
            [sys.executable, __file__, "--one", str(size)], capture_output=True, text=True, check=True
        )
        found.append(json.loads(done.stdout.splitlines()[-1]))
    first, last = found[0], found[-1]
    exponent = None
    if len(found) > 1:
        exponent = round(math.log(last["seconds"] / first["seconds"]) / math.log(last["samples"] / first["samples"]), 3)
    report(
        benchmark="growth", latency_s=LATENCY_S, batch=BATCH, runs=found, time_exponent=exponent,
        memory_ratio=round(last["memory_mb"] / first["memory_mb"], 2),
    )  # fmt: skip


if __name__ == "__main__":
    main()
