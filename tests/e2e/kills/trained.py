"""SFT and DPO of a tiny model, its engine, its process or both killed at random steps."""

from __future__ import annotations

import json
import random
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from store.db import Store
from tests.e2e.kills.compared import commits_agree, left_beside
from tests.e2e.kills.process import Started, moment
from tests.e2e.kills.runs import Tally, settle
from tests.e2e.kills.watching import watched
from tests.engine.training.training_run import settings, tiny_model, trainable_store

ALONE_S = 60.0  # in which a process whose engine is gone has ended
WORDS = ("train", "all", "--headless", "--store")


@dataclass(frozen=True)
class Trained:
    """A run that was trained without interruption, its model, and how long a start took until the first step."""

    store: Path
    model: Path
    start_s: float


def trained_whole(folder: Path) -> Trained:
    """A tiny model trained by SFT and DPO in one piece."""
    folder.mkdir()
    model = tiny_model(folder / "tiny")
    store = trainable_store(folder / "cai.duckdb", model, settings())
    process = Started([*WORDS, str(store)], folder / "printed.txt")
    process.wait_until(lambda: _steps_written(store))
    start_s = time.monotonic() - process.began
    assert process.end() == 0, process.printed()
    return Trained(store, model, start_s)


def cut_trainings(
    folder: Path,
    whole: Trained,
    rng: random.Random,
    kills: int,
    *,
    a_run: int = 4,
    tell: Callable[[Tally], object] = lambda tally: None,
) -> Tally:
    """Trainings with up to `a_run` kills each: of the engine, of the process that trains, or of both at once.

    `tell` has the tally after each run.
    """
    tally, number = Tally(), 0
    folder.mkdir()
    wanted = _rows(whole.store)
    each = max(1, _steps_written(whole.store) // a_run)
    while tally.killed < kills:
        number += 1
        place = folder / f"cut-{number}"
        place.mkdir()
        store = trainable_store(place / "cai.duckdb", whole.model, settings())
        with watched(store) as read:
            left, code, starts = min(a_run, kills - tally.killed), -1, 0
            while code != 0:
                process = Started([*WORDS, str(store)], place / "printed.txt")
                starts += 1
                assert starts < 60, "the training does not end"
                if left and _killed(process, store, rng, each, whole.start_s, tally):
                    left -= 1
                code = process.end()
                if code not in (0, 1, -9):
                    tally.hold(f"a start ended with {code}", [(place / "printed.txt").read_text()[-2000:]])
                _gone(store, tally)
        tally.hold("a reader's error", read["errors"])
        settle(store)
        tally.hold("not as undisturbed", list(_differences(_rows(store), wanted)))
        tally.hold("left behind", left_beside(store))
        tally.hold("commits", [] if commits_agree(store) else ["the store and what lies beside it do not agree"])
        tally.figures["trainings"] += 2
        tally.figures["training_starts"] += starts
        tell(tally)
    return tally


def _killed(process: Started, store: Path, rng: random.Random, each: int, start_s: float, tally: Tally) -> bool:
    """Kill the engine in half of all cases, the process that trains in a quarter, both in the rest."""
    moment(process, rng, lambda: _steps_written(store), each, start_s, 1)
    whom = rng.choice(("engine", "engine", "process", "both"))
    steps = _steps_written(store)
    children = psutil.Process(process.pid).children() if whom != "engine" and process.runs() else []
    for child in children:
        child.send_signal(signal.SIGKILL)
    killed = bool(children) if whom == "process" else process.kill()
    if killed:
        tally.kills["training" if steps else "training starts"] += 1
        tally.figures[f"killed_{whom}"] += 1
    return killed


def _gone(store: Path, tally: Tally) -> None:
    """Wait for the process that trains to end by itself where its engine is gone."""
    until = time.monotonic() + ALONE_S
    while alive := _training_here(store):
        if time.monotonic() > until:
            tally.hold("a training process is left", [str(pid) for pid in alive])
            return
        time.sleep(0.2)


def _training_here(store: Path) -> list[int]:
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        line = " ".join(process.info["cmdline"] or ())
        if "engine.training.child" in line and str(store.parent) in line:
            found.append(process.pid)
    return found


def _steps_written(store: Path) -> int:
    journals = store.parent.glob(f"{store.stem}.trainings/*/*/journal.jsonl")
    return sum(journal.read_bytes().count(b'"kind": "step"') for journal in journals)


def _rows(store: Path) -> dict[str, list[dict[str, Any]]]:
    """Trainings and their steps by what was learned: no times, no places, no memory."""
    with Store.open(store, read_only=True) as opened, opened.reader() as reader:
        return {
            "trainings": reader.query(
                "SELECT method, state, planned_steps, adapter_step, data_sha256, heldout_before FROM trainings ORDER BY 1"
            ),
            "steps": reader.query(
                "SELECT t.method, s.step, s.epoch, s.loss, s.learning_rate, s.grad_norm, s.heldout_loss, s.reward_margin, "
                "s.n_tokens FROM training_steps s JOIN trainings t USING (run_id, training_id) ORDER BY 1, 2"
            ),
            "examples": reader.query(
                "SELECT t.method, e.* EXCLUDE (run_id, training_id) FROM training_examples e "
                "JOIN trainings t USING (run_id, training_id) ORDER BY ALL"
            ),
        }


def _differences(found: dict[str, list[dict[str, Any]]], wanted: dict[str, list[dict[str, Any]]]) -> Iterator[str]:
    for table, rows in wanted.items():
        if len(found[table]) != len(rows):
            yield f"{table}: {len(found[table])} rows instead of {len(rows)}"
        for mine, theirs in zip(found[table], rows, strict=False):
            for name, value in theirs.items():
                near = isinstance(value, float) and isinstance(mine[name], float)
                if mine[name] != value and not (near and abs(mine[name] - value) <= 1e-4 * max(1e-3, abs(value))):
                    yield f"{table}: {json.dumps(mine, default=str)} instead of {json.dumps(theirs, default=str)}"
                    break
