"""Long prompts that begin alike: what they cost in space, in memory and in time to commit."""

from __future__ import annotations

import random
import shutil
import time
from pathlib import Path
from typing import Any

import duckdb
import pytest

from store.db import Store
from tests.store import rows

N, BATCH = 12_000, 256


def prompts(n: int) -> list[str]:
    rng = random.Random(5)
    words = ["".join(rng.choices("abcdefghijklmnoprst", k=7)) for _ in range(4_000)]
    beginnings = [" ".join(rng.choices(words, k=1_000)) for _ in range(4)]
    return [f"{rng.choice(beginnings)} {' '.join(rng.choices(words, k=40))}" for _ in range(n)]


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str], float]:
    """A store with scores of long prompts, and the longest commit in seconds."""
    path, texts, slowest = tmp_path_factory.mktemp("long") / "cai.duckdb", prompts(N), 0.0
    with Store.open(path) as store:
        for start in range(0, N, BATCH):
            some = enumerate(texts[start : start + BATCH], start)
            batch = [rows.score(f"q-{number}", prompt=text) for number, text in some]
            began = time.monotonic()
            store.append({"scores": batch})
            slowest = max(slowest, time.monotonic() - began)
    return path, texts, slowest


def test_they_take_less_than_a_tenth_of_their_size_and_come_back_as_they_were(filled: Any) -> None:
    path, texts, _ = filled
    assert path.stat().st_size < sum(map(len, texts)) / 10
    with Store.open(path, read_only=True) as store, store.reader() as reader:
        wanted = [0, 1, BATCH, N // 2, N - 1]
        found = reader.scores([f"q-{number}" for number in wanted])
        assert {name: row["prompt"] for name, row in found.items()} == {f"q-{n}": texts[n] for n in wanted}


def test_no_commit_waits_for_the_whole_table(filled: Any) -> None:
    """Merging the log rewrites what shares a row group with it; with DuckDB's own size that became the whole table."""
    path, _, slowest = filled
    with Store.open(path, read_only=True) as store, store.reader() as reader:
        groups = reader.query("SELECT count(DISTINCT row_group_id) AS n FROM pragma_storage_info('scores')")[0]["n"]
    assert groups >= N // 2_048
    assert slowest < 3  # 0.1 s on a quiet machine, where it was 4 s


def test_a_store_of_large_row_groups_is_gone_on_with(filled: Any, tmp_path: Path) -> None:
    """As earlier versions of the program, and DuckDB itself, write them."""
    path, texts, _ = filled
    old = tmp_path / "old.duckdb"
    shutil.copyfile(path, old)
    with duckdb.connect(str(old)) as plain:
        plain.execute("CREATE OR REPLACE TEMP TABLE kept AS FROM scores")
        plain.execute("DELETE FROM scores; INSERT INTO scores FROM kept ORDER BY request_id; CHECKPOINT")
    for start in (N, N + 3_000):
        with Store.open(old) as store:
            store.append({"scores": [rows.score(f"q-{start + n}", prompt=texts[n]) for n in range(3_000)]})
    with duckdb.connect(str(old), read_only=True) as plain:
        count = "SELECT count(*), count(DISTINCT request_id), sum(length(prompt)) FROM scores"
        lengths = sum(map(len, texts)) + 2 * sum(map(len, texts[:3_000]))
        assert plain.execute(count).fetchall() == [(N + 6_000, N + 6_000, lengths)]
