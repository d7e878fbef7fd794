"""Runs from the guard to the gate of pairs, with a decision of a person in the middle, cut into pieces."""

from __future__ import annotations

import json
import os
import random
import shutil
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.review.files import folder_of
from engine.review.verify import verify
from store.db import Store
from store.errors import CaiError
from store.export import export
from store.names import PHASES
from tests.e2e.conftest import cai
from tests.e2e.kills.compared import (
    commits_agree,
    differences,
    files_of,
    left_beside,
    left_by,
    rows_of,
    twice,
)
from tests.e2e.kills.playing import Playing
from tests.e2e.kills.process import Started, moment
from tests.e2e.kills.watching import watched
from tests.engine.phases.test_preferences import SETTINGS

CHANGED = {**SETTINGS, "review.ask": "[pilot]", "instructions.cluster_at": "0.95", "critics.audit_items": "4"}
PILOT, TARGET = 4, 10
WHY = "the pilot was read"
OLD_S = 120.0  # what is left of a killed process is removed once it is a minute old


@dataclass
class Tally:
    """What was done and what came of it; `problems` is empty where all holds."""

    kills: Counter[str] = field(default_factory=Counter)
    figures: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)

    @property
    def killed(self) -> int:
        return sum(self.kills.values())

    def hold(self, what: str, found: list[str]) -> None:
        """Note what does not hold."""
        self.problems += [f"{what}: {one}" for one in found]

    def told(self) -> dict[str, Any]:
        return {"kills": self.killed, "by_phase": dict(self.kills), **self.figures, "problems": self.problems}


@dataclass(frozen=True)
class Whole:
    """A run that nobody disturbed, what it asked its model for, and its exports."""

    store: Path
    asked: int
    start_s: float  # until it asked for the first
    exports: dict[str, dict[str, str]]
    rows: dict[str, list[str]]


def started_with(model: Playing, store: Path) -> list[str]:
    """The words of the run's first start."""
    changed = [f"--set={key}={value}" for key, value in CHANGED.items()]
    return ["run", "stage_6_small_model", "--model", model.name, "--set", f"pilot={PILOT}", "--target", str(TARGET),
            "--batch-size", "8", *changed, "--store", str(store)]  # fmt: skip


def whole_run(folder: Path, model: Playing) -> Whole:
    """The same run as all that are cut, in one piece but for the question."""
    folder.mkdir()
    store, before = folder / "cai.duckdb", model.asked
    first = Started([*started_with(model, store), "--headless"], folder / "printed.txt")
    first.wait_until(lambda: model.asked > before)
    start_s = time.monotonic() - first.began
    assert first.end() == 3, first.printed()
    decide(store)
    second = Started(["resume", "--headless", "--store", str(store)], folder / "printed.txt")
    assert second.end() == 0, second.printed()
    return Whole(store, model.asked - before, start_s, exports(store, folder), rows_of(store))


def decide(store: Path, killed: Callable[[Started], bool] = lambda process: False) -> None:
    """Answer the open question as a person, again where `killed` ended that before it was recorded."""
    for _ in range(10):
        found = json.loads(cai("review", "list", "--json", "--store", str(store)).stdout)["reviews"]
        waiting = [row["review_id"] for row in found if row["state"] == "waiting"]
        if not waiting:
            assert found and found[-1]["reason"] == WHY, found
            return
        words = ["review", "answer", waiting[0], "approve", "--reason", WHY, "--store", str(store)]
        process = Started(words, store.with_name("printed.txt"))
        if not killed(process):
            assert process.end() == 0, process.printed()
    raise AssertionError("the question is not answered")


def exports(store: Path, folder: Path) -> dict[str, dict[str, str]]:
    """The data sets of the run as JSON lines, by the hashes of their files."""
    found = {}
    with Store.open(store, read_only=True) as opened, opened.reader() as reader:
        for what in ("sft", "pairs", "revisions"):
            out = folder / "exported" / what
            export(reader, str(reader.latest_run_id()), what, "jsonl", out)
            found[what] = files_of(out)
    shutil.rmtree(folder / "exported")
    return found


def cut_runs(
    folder: Path,
    model: Playing,
    whole: Whole,
    rng: random.Random,
    kills: int,
    *,
    a_run: int = 16,
    screens: float = 0.25,
    tell: Callable[[Tally], object] = lambda tally: None,
) -> Tally:
    """Runs with `a_run` kills each until there are `kills`; of the starts a share of `screens` draw the control center.

    `tell` has the tally after each run.
    """
    tally, number = Tally(), 0
    while tally.killed < kills:
        number += 1
        store = folder / f"cut-{number}" / "cai.duckdb"
        store.parent.mkdir(parents=True)
        with watched(store) as read:
            cut = CutRun(store, model, whole, rng, tally, min(a_run, kills - tally.killed), screens)
            cut.carry_out()
        tally.figures["runs"] += 1
        for name in ("attached", "file", "refused"):
            tally.figures[f"read_{name}"] += read.get(name, 0)
        tally.hold("a reader's error", read["errors"])
        tally.hold("a reader saw an answer that was gone or another's later", read["lost"])
        cut.compare()
        tell(tally)
    return tally


class CutRun:
    """One run, killed `kills` times and taken to its end."""

    def __init__(
        self, store: Path, model: Playing, whole: Whole, rng: random.Random, tally: Tally, kills: int, screens: float
    ) -> None:
        self.store, self._model, self._whole, self._rng, self._tally = store, model, whole, rng, tally
        self._left, self._screens = kills, screens
        self._each = max(1, whole.asked // kills)
        self._log = store.with_name("printed.txt")
        self._committed: dict[str, str] = {}

    def carry_out(self) -> None:
        before, code, starts = self._model.asked, -1, 0
        while code != 0 or not starts:
            screen = bool(self._left) and self._rng.random() < self._screens
            process = Started(self._words(headless=not screen), self._log, screen=screen)
            starts += 1
            assert starts < 200, "the run does not end"
            try:
                if self._left:
                    moment(process, self._rng, lambda: self._model.asked, self._each, self._whole.start_s, len(PHASES))
                    self._kill(process)
                code = process.end()
            finally:
                process.close()
            self._note_end(code, process)
        self._tally.figures["starts"] += starts
        self._tally.figures["asked_again"] += self._model.asked - before - self._whole.asked

    def _words(self, *, headless: bool) -> list[str]:
        """`cai run` until there is a run, then that or `cai resume`."""
        if self._committed and self._rng.random() < 0.8:
            words = ["resume", "--store", str(self.store)]
        else:
            words = started_with(self._model, self.store)
        return [*words, "--headless"] if headless else words

    def _kill(self, process: Started, what: str = "") -> bool:
        if not process.kill():
            return False
        self._left -= 1
        self._tally.figures["on_a_screen"] += process.terminal is not None
        try:
            now, phase = left_by(self.store) if self.store.exists() else ({}, "")
            self._tally.kills[what or phase or "start"] += 1
        except CaiError as error:
            self._tally.hold("after a kill the store cannot be read", [error.title])
            return True
        gone = [request for request, session in self._committed.items() if now.get(request) != session]
        self._tally.hold("a committed answer is gone or was computed again", gone)
        self._committed = now
        return True

    def _note_end(self, code: int, process: Started) -> None:
        if code == 3:
            decide(self.store, self._killed_deciding)
        elif code == 1 and "is in use by" in process.printed()[-2000:]:
            self._tally.figures["locked_out_by_a_reader"] += 1
        elif code not in (0, -9):
            self._tally.hold(f"a start ended with {code}", [process.printed()[-2000:]])

    def _killed_deciding(self, process: Started) -> bool:
        if not self._left or self._rng.random() < 0.3:
            return False
        process.stay(self._rng.uniform(0.0, self._whole.start_s))
        return self._kill(process, "decision")

    def compare(self) -> None:
        """Hold the run against the undisturbed one."""
        hold = self._tally.hold
        settle(self.store)
        hold("not as undisturbed", differences(rows_of(self.store), self._whole.rows))
        hold("twice", twice(self.store))
        hold("left behind", left_beside(self.store))
        hold("commits", [] if commits_agree(self.store) else ["the store and what lies beside it do not agree"])
        with Store.open(self.store, read_only=True) as opened, opened.reader() as reader:
            run_id = str(reader.latest_run_id())
            hold("the record of reviews", verify(reader, run_id, folder_of(self.store, run_id)))
        same = exports(self.store, self.store.parent) == self._whole.exports
        hold("exports", [] if same else ["an export differs"])


def settle(store: Path) -> None:
    """Let what killed processes left become old, and start the program once more."""
    for path in store.parent.rglob(".*"):
        os.utime(path, (time.time() - OLD_S,) * 2, follow_symlinks=False)
    done = cai("status", "--json", "--store", str(store))
    assert done.returncode == 0, done.stderr
