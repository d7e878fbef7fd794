"""How fast a person can look at a million samples: `python bench/store_scale.py [SAMPLES]` prints JSON.

Rows are made by DuckDB, not by a model. Times are milliseconds, the median and the slowest of several tries; a choice
is timed with its first page. What is under `screen` is measured with the installed `cai` in a pseudo-terminal, from the
key to the rows on the screen, and the memory is the most that its process held after any of them.
"""

from __future__ import annotations

import json
import math
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import psutil
from tui_latency import CAI, Screen

from store.db import Store
from store.listing import Selection
from tui.reads.library import MEMORY

PAGE = 100
TRIES = 7
RUN = "bench"
HOME, END = "\x1b[H", "\x1b[F"


def fill(path: Path, n: int) -> None:
    """A store with `n` samples of one run, each judged as its instruction is; ids are hashes."""
    now = datetime.now(UTC)
    with Store.open(path) as store:
        run: dict[str, Any] = dict.fromkeys(("spec", "spec_sha256", "model", "reason"), "bench")
        run |= {key: {} for key in ("settings", "manifest", "overrides")} | {"seed": 1, "pilot": n, "target": n}
        run |= {"run_id": RUN, "created_at": now, "updated_at": now, "state": "done", "elapsed_s": 1.0}
        store.append({"runs": [run]})
    with duckdb.connect(str(path)) as connection:
        instruction, sample = ("'i-' || substr(md5('i' || n), 1, 12)", "'s-' || substr(md5('s' || n), 1, 12)")
        connection.execute(
            f"INSERT INTO instructions SELECT '{RUN}', {instruction}, n, md5('q' || n), 0, ['s'], "
            "'Explain number ' || n || ' and what ' || (n * 7919) % 100003 || ' has to do with it.', 'explain', "
            "'science', 'distinct', NULL, NULL, 'c' || n, CASE WHEN n % 20 = 0 THEN 'test' ELSE 'train' END "
            "FROM range(?) r(n)",
            [n],
        )
        connection.execute(
            f"INSERT INTO samples SELECT '{RUN}', {sample}, n, {instruction}, md5('r' || n), "
            "' It is so because ' || (n * 104729) % 1000003 || ' is larger.', "
            "'It is so because ' || (n * 104729) % 1000003 || ' is larger.', '[]', 'stop', 10 + n % 80 "
            "FROM range(?) r(n)",
            [n],
        )
        for kind, name in (("instruction", instruction), ("sample", sample)):
            connection.execute(
                f"INSERT INTO verdicts SELECT '{RUN}', '{kind}', {name}, CASE n % 3 WHEN 0 THEN 'rejected' "
                "ELSE 'accepted' END, 'rules', CASE n % 9 WHEN 0 THEN ['repetition'] ELSE [] END, '' "
                "FROM range(?) r(n)",
                [n],
            )
            connection.execute(
                f"INSERT INTO judgements SELECT '{RUN}', '{kind}', {name}, 'grade', sin(n) * 3, sin(n) * 3, false, "
                "'[]' FROM range(?) r(n)",
                [n],
            )


def timed(work: Callable[[int], Any], tries: int = TRIES) -> dict[str, float]:
    """Milliseconds over so many calls; each is told its number."""
    took = []
    for number in range(tries):
        began = time.perf_counter()
        work(number)
        took.append(1000 * (time.perf_counter() - began))
    return {"median_ms": round(statistics.median(took), 1), "slowest_ms": round(max(took), 1)}


def on_screen(path: Path, n: int) -> dict[str, Any]:
    """The same asked for by keys; each time ends with the first row of the answer."""
    screen = Screen([str(CAI), "--no-tmux", "--store", str(path)])
    try:
        screen.wait_for("done", 30)
        for _ in range(10):  # a person reads the first screen before the first key
            screen.settle()
        figures: dict[str, float] = {}
        memory = 0
        steps = (
            ("first_page", "2", "Explain"),
            ("last_page", END, f"number {n - 1}"),
            ("first_page_again", HOME, "number 0"),
            ("rejected", "r", f"{(n + 2) // 3:,}"),
            ("every_verdict", "e", f"{n:,}"),
            ("sorted_by_verdict", "o", "number 1 "),
            ("sorted_by_margin", "o", f"number {max(range(n), key=math.sin)}"),
            ("the_other_way_round", "O", f"number {min(range(n), key=math.sin)}"),
        )
        for name, key, expected in steps:
            figures[f"{name}_ms"] = round(screen.press(key, expected.encode()), 1)
            for _ in range(8):
                screen.settle()
            memory = max(memory, psutil.Process(screen.pid).memory_info().rss)
        return {**figures, "most_memory_mb": round(memory / 1e6)}
    finally:
        screen.end()


def main(n: int) -> dict[str, Any]:
    """Fill a store and time what the Samples screen asks of it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "scale.duckdb"
        fill(path, n)
        with Store.open(path, read_only=True, memory=MEMORY) as store:
            reader = store.reader()

            def listed(**chosen: Any) -> None:
                reader.page(reader.listing(RUN, Selection(**chosen)), 0, PAGE)

            cold = timed(lambda _: listed(), tries=1)["median_ms"]
            listing = reader.listing(RUN, Selection())
            in_range = {"critic": "grade", "highest": 1.0, "order": "score", "descending": True}
            figures = {
                "first_page_after_opening": {"ms": cold},
                "first_page": timed(lambda _: listed()),
                "next_page": timed(lambda k: reader.page(listing, (k + 1) * n // (TRIES + 2), PAGE)),
                "margin_range_sorted": timed(lambda k: listed(lowest=-1 + k / 10, **in_range)),
                "rejected": timed(lambda _: listed(verdict="rejected")),
                "text_search": timed(lambda k: listed(text=f"number {k}")),
                "typed_where": timed(lambda k: listed(where=f"n_tokens > {40 + k} AND verdict = 'accepted'")),
                "position": timed(lambda _: listing.position("s-nowhere")),
            }
        screen = on_screen(path, n)
    return {
        "samples": n,
        "page": PAGE,
        "duckdb": duckdb.__version__,
        "cores": psutil.cpu_count(),
        **figures,
        "screen": screen,
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000), indent=2) + "\n")
