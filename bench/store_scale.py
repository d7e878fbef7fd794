"""How fast a person can look at a million samples: `python bench/store_scale.py [SAMPLES]` prints JSON.

Rows are made by DuckDB, not by a model. Times are milliseconds, the median and the slowest of several tries.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import psutil

from store import Choice, Store

PAGE = 100
TRIES = 7
RUN = "bench"


def fill(path: Path, n: int) -> None:
    """A store with `n` samples of one run, each with a verdict and one critic's score."""
    with Store.open(path):
        pass
    with duckdb.connect(str(path)) as connection:
        connection.execute(
            f"INSERT INTO instructions SELECT '{RUN}', 'i' || n, n, 'q' || n, 0, ['s'], "
            "'Explain number ' || n || ' and what ' || (n * 7919) % 100003 || ' has to do with it.', 'explain', "
            "'science', 'distinct', NULL, NULL, 'c' || n, CASE WHEN n % 20 = 0 THEN 'test' ELSE 'train' END "
            "FROM range(?) r(n)",
            [n],
        )
        connection.execute(
            f"INSERT INTO samples SELECT '{RUN}', 's' || n, n, 'i' || n, 'r' || n, ' It is so.', "
            "'It is so because ' || (n * 104729) % 1000003 || ' is larger.', '[]', 'stop', 10 + n % 80 "
            "FROM range(?) r(n)",
            [n],
        )
        connection.execute(
            f"INSERT INTO verdicts SELECT '{RUN}', 'sample', 's' || n, CASE n % 3 WHEN 0 THEN 'rejected' "
            "ELSE 'accepted' END, 'rules', CASE n % 9 WHEN 0 THEN ['repetition'] ELSE [] END, '' FROM range(?) r(n)",
            [n],
        )
        connection.execute(
            f"INSERT INTO judgements SELECT '{RUN}', 'sample', 's' || n, 'grade', sin(n) * 3, sin(n) * 3, false, '[]' "
            "FROM range(?) r(n)",
            [n],
        )


def timed(work: Callable[[int], Any]) -> dict[str, float]:
    """Milliseconds over TRIES calls; each is told its number."""
    took = []
    for number in range(TRIES):
        began = time.perf_counter()
        work(number)
        took.append(1000 * (time.perf_counter() - began))
    return {"median_ms": round(statistics.median(took), 1), "slowest_ms": round(max(took), 1)}


def main(n: int) -> dict[str, Any]:
    """Fill a store and time what the Samples screen asks of it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "scale.duckdb"
        fill(path, n)
        with Store.open(path, read_only=True) as store:
            reader = store.reader()
            listing = reader.listing(RUN, Choice())
            figures = {
                "first_page": timed(lambda _: reader.listing(RUN, Choice()).page(0, PAGE)),
                "next_page": timed(lambda k: listing.page((k + 1) * n // (TRIES + 2), PAGE)),
                "margin_range_sorted": timed(
                    lambda k: reader.listing(
                        RUN, Choice(critic="grade", lowest=-1 + k / 10, highest=1.0, order="score", descending=True)
                    ).page(0, PAGE)
                ),
                "text_search": timed(lambda k: reader.listing(RUN, Choice(text=f"number {k}")).page(0, PAGE)),
                "typed_where": timed(
                    lambda k: reader.listing(RUN, Choice(where=f"n_tokens > {40 + k} AND verdict = 'accepted'")).page(
                        0, PAGE
                    )
                ),
            }
            rss = psutil.Process().memory_info().rss / 2**20
    return {
        "samples": n,
        "page": PAGE,
        "duckdb": duckdb.__version__,
        "cores": psutil.cpu_count(),
        "memory_mib": round(rss),
        **figures,
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000), indent=2) + "\n")
