"""Exports, copies and migrations that are killed: each is there whole or not at all, and the next one finds its way."""

from __future__ import annotations

import hashlib
import lzma
import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from tests.e2e.conftest import cai
from tests.e2e.kills.compared import commits_agree, differences, files_of, left_beside, rows_of
from tests.e2e.kills.process import Started
from tests.e2e.kills.runs import Tally, settle
from tests.e2e.kills.watching import watched
from tests.store.test_before import store_of

EXPORTS = (("sft", "jsonl"), ("pairs", "parquet"), ("samples", "jsonl"), ("judgements", "parquet"), ("pairs", "hf"))
SNAPSHOT = "snapshot"
START_S = 2.0  # about what an export takes
WORK_S = 0.1  # about what it takes from its first file to its last


def cut_exports(folder: Path, store: Path, rng: random.Random, kills: int) -> Tally:
    """Exports and copies of a finished run's store, killed up to three times each and then left to end."""
    tally = Tally()
    own = folder / "cai.duckdb"
    folder.mkdir()
    shutil.copyfile(store, own)
    shutil.copyfile(f"{store}.commits", f"{own}.commits")
    rows = rows_of(own, all_of=True)
    wanted: dict[tuple[str, str], dict[str, str]] = {}
    for number, what in enumerate(_again_and_again(kills, tally)):
        out = folder / f"{number}-out"
        words = _words(what, out, own)
        for _ in range(rng.randint(1, 3)):
            process = Started(words, folder / "printed.txt")
            _moment(process, rng, lambda out=out: bool(list(out.parent.glob(f".{out.name}.*"))))
            tally.kills["export"] += process.kill()
            if out.exists():
                break
        if not out.exists():
            done = cai(*words)
            tally.hold("an export after a kill", [] if done.returncode == 0 else [done.stderr])
        if what[0] == SNAPSHOT:
            tally.hold("a copy", differences(rows_of(out, all_of=True), rows))
        elif wanted.setdefault(what, files_of(out)) != files_of(out):
            tally.hold("an export", [f"{what} is not what it was"])
        tally.figures["exports"] += 1
    settle(own)
    done = cai(*_words(EXPORTS[0], folder / "last", own))
    tally.hold("the last export", [] if done.returncode == 0 and files_of(folder / "last") else [done.stderr])
    tally.hold("left behind", left_beside(own))
    tally.hold("the store was changed", differences(rows_of(own, all_of=True), rows))
    return tally


def _again_and_again(kills: int, tally: Tally) -> Iterator[tuple[str, str]]:
    number = 0
    while tally.killed < kills:
        yield (*EXPORTS, (SNAPSHOT, ""))[number % (len(EXPORTS) + 1)]
        number += 1


def _words(what: tuple[str, str], out: Path, store: Path) -> list[str]:
    to = (
        ["--snapshot", str(out)] if what[0] == SNAPSHOT else ["--what", what[0], "--format", what[1], "--out", str(out)]
    )
    return ["export", *to, "--store", str(store)]


def _moment(process: Started, rng: random.Random, begun: Callable[[], object]) -> None:
    """One in three at any time, the others within the work, from its first trace on."""
    if rng.random() < 1 / 3:
        process.stay(rng.uniform(0.0, START_S))
        return
    process.wait_until(begun)
    process.stay(rng.uniform(0.0, WORK_S))


def cut_migrations(folder: Path, rng: random.Random, kills: int) -> Tally:
    """Stores of an earlier schema, each opened by a program that is killed up to three times, and then by one that is not."""
    tally = Tally()
    folder.mkdir()
    was = hashlib.sha256(lzma.decompress(_before().read_bytes())).hexdigest()
    (folder / "whole").mkdir()
    whole = store_of("finished", folder / "whole")
    settle(whole)
    rows = rows_of(whole, all_of=True)
    number = 0
    while tally.killed < kills:
        number += 1
        place = folder / f"cut-{number}"
        place.mkdir()
        store = store_of("finished", place)
        # A reader migrates an old store itself, so that half of them have none.
        with watched(store) if number % 2 else nullcontext(dict[str, Any](errors=[])) as read:
            for _ in range(rng.randint(1, 3)):
                process = Started(["status", "--store", str(store)], place / "printed.txt")
                _moment(process, rng, lambda place=place: any("backup" in path.name for path in place.iterdir()))
                tally.kills["migration"] += process.kill()
        tally.hold("a reader's error", read["errors"])
        settle(store)
        tally.hold("a migrated store", differences(rows_of(store, all_of=True), rows))
        backups = sorted(place.glob("*.backup*"))
        told = [f"{one.name} is not the store as it was" for one in backups if _sha256(one) != was]
        tally.hold("backups", told if backups else ["there is none"])
        # Its log may stay: who only reads leaves it, and the rows were compared through it.
        tally.hold("left behind", [one for one in left_beside(store) if not one.endswith(".wal")])
        tally.figures["stores"] += 1
        tally.figures["backups"] += len(backups)
        if store.with_name(f"{store.name}.commits").exists() and not commits_agree(store):
            tally.hold("commits", ["the store and what lies beside it do not agree"])
    return tally


def _before() -> Path:
    from tests.store.test_before import BEFORE

    return BEFORE / "finished.duckdb.xz"


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
