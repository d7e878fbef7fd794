"""SIGTERM, SIGHUP, SIGINT and SIGTSTP at random moments of a run: it stops or goes on as told, and no row is lost."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

from store.connect import suspended
from store.db import reading
from store.errors import StoreLocked
from store.names import PHASES
from tests.e2e.kills.compared import commits_agree, differences, left_beside, rows_of, twice
from tests.e2e.kills.playing import Playing
from tests.e2e.kills.process import Started, moment
from tests.e2e.kills.runs import Tally, Whole, decide, settle, started_with

SIGNALS = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGTSTP)
ENDS_S = 180.0  # in which a run that is told to stop has ended
SUSPENDED_S = 60.0


def signalled_runs(
    folder: Path, model: Playing, whole: Whole, rng: random.Random, signals: int, *, a_run: int = 8
) -> Tally:
    """Runs that get up to `a_run` signals each, by turns without a terminal and with the control center."""
    tally, number, given = Tally(), 0, 0
    folder.mkdir()
    each = max(1, 2 * whole.asked // a_run)
    while given < signals:
        number += 1
        store = folder / f"run-{number}" / "cai.duckdb"
        store.parent.mkdir()
        log, code, left, starts = store.with_name("printed.txt"), -1, min(a_run, signals - given), 0
        while code != 0:
            number_of, screen = SIGNALS[given % 4], bool(given // 4 % 2) and left > 0
            words = started_with(model, store)
            process = Started(words if screen else [*words, "--headless"], log, screen=screen)
            starts += 1
            assert starts < 60, "the run does not end"
            try:
                if left:
                    moment(process, rng, lambda: model.asked, each, whole.start_s, len(PHASES))
                    if process.runs():
                        given, left = given + 1, left - 1
                        where = "on the screen" if screen else "headless"
                        tally.figures[f"{number_of.name} {where}"] += 1
                        _signalled(process, number_of, store, tally)
                code = process.end()
            finally:
                process.close()
            if code == 3:
                decide(store)
        settle(store)
        tally.hold("not as undisturbed", differences(rows_of(store), whole.rows))
        tally.hold("twice", twice(store))
        tally.hold("left behind", left_beside(store))
        tally.hold("commits", [] if commits_agree(store) else ["the store and what lies beside it do not agree"])
        printed = (log.read_text() if log.exists() else "") + store.with_suffix(".log").read_text()
        tally.hold("a traceback", [printed[printed.index("Traceback") :][:1500]] if "Traceback" in printed else [])
        tally.figures["runs"] += 1
    return tally


def _signalled(process: Started, number: signal.Signals, store: Path, tally: Tally) -> None:
    """Send one signal and see that it does what it says, and that the process ends when it is told to."""
    terminal = process.terminal
    if number == signal.SIGTSTP and terminal is not None:
        process.wait_until(lambda: terminal.text.strip())  # before it draws the system discards this one
    began = time.monotonic()
    process.send(number)
    where = "on a screen" if process.terminal else "headless"
    if number == signal.SIGTSTP:
        _suspend(process, store, tally, where)
        process.send(signal.SIGTERM)
    elif number == signal.SIGHUP and process.terminal:
        process.stay(0.5)
        process.send(signal.SIGTERM)
    try:
        code = process.end(ENDS_S)
    except AssertionError as error:
        tally.hold(f"{number.name} {where}", [str(error)])
        process.kill()
        return
    tally.figures["slowest_end_ms"] = max(tally.figures["slowest_end_ms"], round(1000 * (time.monotonic() - began)))
    # Before the program has taken a signal over it ends by it; a run may end, or ask its question, at that moment.
    if code not in (0, 3, 130, -number, -signal.SIGTERM):
        tally.hold(f"{number.name} {where} ended with {code}", [(process.terminal.text if process.terminal else "")])
    tally.figures[f"ended by {code}"] += 1


def _suspend(process: Started, store: Path, tally: Tally, where: str) -> None:
    """The process is suspended, whoever reads is told so, and it goes on."""
    process.wait_until(lambda: suspended(process.pid), SUSPENDED_S)
    if store.with_name(f"{store.name}.sock").exists():
        try:
            with reading(store) as opened, opened.reader() as reader:
                reader.latest_run_id()
        except StoreLocked as error:
            tally.hold("not told as suspended", [] if "suspended" in error.title else [error.title])
            tally.figures["told as suspended"] += 1
        else:
            tally.hold(f"SIGTSTP {where}", ["a suspended process was read"])
    if process.runs():
        os.kill(process.pid, signal.SIGCONT)
