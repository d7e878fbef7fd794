"""A reader of the benchmark of readers, on a store that is there: what it is told to read it reads and times."""

from __future__ import annotations

import json
import subprocess
import sys

from bench.common import ROOT
from store.db import Store
from tests.store import rows


def test_a_reader_times_as_many_reads_as_it_is_told(tmp_path) -> None:
    path = tmp_path / "cai.duckdb"
    with Store.open(path) as store:
        store.append(rows.small_run())
        asked = [sys.executable, "bench/readers.py", "--read", str(path)]
        ran = subprocess.run(asked, cwd=ROOT, input="12 0.1\n3 0.1\n", text=True, capture_output=True, timeout=100)
    assert ran.returncode == 0, ran.stderr
    attached, *told = map(json.loads, ran.stdout.splitlines())
    assert attached == {"attached": "Attached"}  # over the owner's socket
    assert [(len(one["times"]), one["errors"]) for one in told] == [(12, []), (3, [])]
    assert all(seconds > 0 for one in told for seconds in one["times"])
