"""The ledger of a run that is killed, ten times on a time of its own and once on the real clock."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from engine.budget.ledger import Amount, Ledger, settle_left_open
from engine.spec.stage import StageSpec
from store.db import Store
from tests.engine.budget.conftest import table, total
from tests.store import rows

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[3]


# -- ten kills


# Sessions of a run on a time of its own, each a process. What it really uses is forced to disk in a side file before the
# ledger is told of it, and it ends at a random moment: before or after any write of the ledger, or between two.
SESSIONS = """
import json, os, random, sys
from datetime import timedelta
from pathlib import Path
from tests.store import rows
from engine.budget.ledger import Ledger
from engine.budget.meter import GpuMeter
from engine.budget.prices import api_price, gpu_price
from store.db import Store

path, side = Path(sys.argv[1]), Path(sys.argv[2])

def session(number, now, left):
    rng = random.Random(number)
    out = side.open("a")

    def step():
        nonlocal left
        left -= 1
        if left == 0:
            os._exit(9)

    def really(**used):
        out.write(json.dumps(used | {"now": now, "session": f"session-{number}"}) + "\\n")
        out.flush()
        os.fsync(out.fileno())

    def guarded(write):
        def inner(given):
            step()
            write(given)
            step()
        return inner

    store = Store.open(path)
    store.append, store.put = guarded(store.append), guarded(store.put)
    gpu, api = gpu_price(2.49, "H100"), api_price("gpt-5", (1.25, 10.0))
    with Ledger(store, "run-a", f"session-{number}", None, lambda: rows.T0 + timedelta(seconds=now)) as ledger:
        meter = GpuMeter(ledger, gpu, "load", 1, slice_s=60, every_s=5, seconds=lambda: now)
        meter.start()
        for turn in range(40):
            passed = rng.choice([0.3, 2.0, 7.0, 31.0])
            now += passed
            really(gpu=passed)
            step()
            meter.tick(rng.choice(["responses", "responses", "judgements"]))
            if rng.random() < 0.4:
                most = rng.randrange(100, 3000)
                entry = ledger.reserve(api, "review", 1, most, most)
                used = [rng.randrange(1, most), rng.randrange(1, most)]
                really(input=used[0], output=used[1])
                step()
                ledger.settle(entry, *used)
        meter.stop()
    store.close()

killed, number, rng = [], 0, random.Random(5)
while len(killed) < 10 or number % 3:
    now = json.loads(side.read_text().splitlines()[-1])["now"] if side.exists() and side.stat().st_size else 0.0
    kill = len(killed) < 10 and number % 5 != 2  # now and then one is left to end by itself
    pid = os.fork()
    if not pid:
        session(number, now + rng.choice([0.0, 20.0, 400.0]), rng.randrange(1, 120) if kill else -1)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert code in (0, 9), code
    killed += [f"session-{number}"] if code else []
    rng.random()
    number += 1
print(json.dumps([killed, number]))
"""


def test_a_run_that_is_killed_ten_times_reconciles(tmp_path: Path, spec: StageSpec) -> None:
    path, side = tmp_path / "cai.duckdb", tmp_path / "used.jsonl"
    with Store.open(path) as store:
        store.append({"runs": [rows.run(settings=spec.model_dump())]})
    done = subprocess.run(
        [sys.executable, "-c", SESSIONS, str(path), str(side)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    killed, sessions = json.loads(done.stdout)
    assert len(killed) == 10 and sessions >= 12
    with Store.open(path) as store:
        settle_left_open(store, lambda: rows.T0 + timedelta(days=1))
        found, told = table(store), total(store)
    assert told == Amount(sum(row["micro_usd"] for row in found), 0)  # nothing is left open

    def really(used: list[dict[str, Any]]) -> dict[str, float]:
        units = {name: sum(row.get(name, 0) for row in used) for name in ("gpu", "input", "output")}
        return {"gpu": units["gpu"] * 2.49 / 3600 * 1e6, "api": units["input"] * 1.25 + units["output"] * 10.0}

    used = [json.loads(line) for line in side.read_text().splitlines()]
    at_most = {"gpu": 60 * 2.49 / 3600 * 1e6, "api": 3000 * 11.25}  # one slice, one call
    left_open = 0
    for number in range(sessions):
        name = f"session-{number}"
        for kind, spent_ in really([row for row in used if row["session"] == name]).items():
            mine = [row for row in found if row["session_id"] == name and row["kind"] == kind]
            above = sum(row["micro_usd"] for row in mine) - spent_
            if name in killed:
                assert -1e-6 <= above <= at_most[kind] + len(mine), (name, kind)
                left_open += kind == "api" and any("left open" in row["detail"] for row in mine)
            else:  # to the cent, and closer: a millionth for each row
                assert -1e-6 <= above <= len(mine), (name, kind)
    assert left_open >= 2  # calls were killed between reserve and settle, too
    really_all = sum(really(used).values())
    assert 0 <= told.total - really_all <= 10 * sum(at_most.values()) + len(found)
    # What is above is just what had been set aside by sessions that were killed, less what they used of it.
    open_ = [row for row in found if "left open" in row["detail"]]
    assert {row["session_id"] for row in open_} <= set(killed)
    assert told.total - really_all <= sum(row["micro_usd"] for row in open_) + len(found)


# The real clock, and a kill that nothing in the process can foresee.
WORKER = """
import sys, time
from pathlib import Path
from engine.budget.ledger import Ledger
from engine.budget.meter import GpuMeter
from engine.budget.prices import gpu_price
from store.db import Store
with Store.open(Path(sys.argv[1])) as store, Ledger(store, "run-a", "session-1", None) as ledger:
    began = time.time()
    with GpuMeter(ledger, gpu_price(3600, "H100"), "responses", 1, slice_s=2, every_s=0.1):
        print(began, flush=True)
        time.sleep(60)
"""


def test_kill_9_on_the_real_clock(tmp_path: Path, spec: StageSpec) -> None:
    path = tmp_path / "cai.duckdb"
    with Store.open(path) as store:
        store.append({"runs": [rows.run(settings=spec.model_dump())]})
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, "-c", WORKER, str(path)], env=environment, text=True, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    began = float(process.stdout.readline())
    time.sleep(0.7)
    process.kill()
    process.communicate()
    used = time.time() - began
    time.sleep(0.1)
    with Store.open(path) as store, Ledger(store, "run-a", "session-2", None):
        found = total(store)
    assert found.reserved == 0
    assert (used - 0.05) * 1e6 <= found.total <= (used + 2) * 1e6 + 2
    assert used > 0.7
