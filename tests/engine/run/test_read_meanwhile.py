"""A run that five processes read while it works: every read is answered, and the run makes the same rows."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest

import engine.models.registry
from engine.run.engine import open_engine
from engine.run.orders import NewRun
from store.db import Store, reading
from tests.engine.fakes import FakeModel, data_rows, run_engine
from tests.engine.run.test_pipeline import SETTINGS
from tests.store.serving.owners import ROOT

READS = """
import sys
from pathlib import Path
from store.db import reading
counts = []
with reading(Path(sys.argv[1])) as store, store.reader() as reader:
    run_id, state = reader.latest_run_id(), reader.status(reader.latest_run_id())["state"]
    asked = (
        lambda: reader.run(run_id), lambda: reader.gates(run_id), lambda: reader.samples(run_id, limit=50),
        lambda: reader.events(run_id), lambda: counts.append(reader.count_samples(run_id)),
    )
    for number in range(200):
        asked[number % 5]()
print(type(store).__name__, state, counts == sorted(counts), len(counts))
"""


@pytest.mark.slow
@pytest.mark.integration
def test_a_thousand_reads_of_five_processes_while_a_run_works(tmp_path, monkeypatch):
    options = {"pilot": 6, "overrides": SETTINGS}
    alone = run_engine(tmp_path / "alone.duckdb", monkeypatch, FakeModel(), **options)
    wanted = data_rows(alone)
    alone.close()

    works, read = threading.Event(), threading.Event()

    def answering(number: int) -> None:
        works.set()
        read.wait(0.05 if number < 20 else 200)  # the last answers come when all have read

    monkeypatch.setattr(engine.models.registry, "load", lambda *_, **__: FakeModel(on_answer=answering))
    store = tmp_path / "read.duckdb"
    opened = open_engine(NewRun(store, **options), lambda event: None)
    opened.start()
    try:
        assert works.wait(60)
        argv = [sys.executable, "-c", READS, str(store)]
        readers = [subprocess.Popen(argv, cwd=ROOT, text=True, stdout=subprocess.PIPE) for _ in range(5)]
        told = [reader.communicate(timeout=200)[0] for reader in readers]
    finally:
        read.set()
    assert told == ["Attached running True 40\n"] * 5
    assert opened.join(60) and opened.outcome is not None and opened.outcome.state != "failed"
    assert data_rows(opened) == wanted
    opened.close()
    with reading(store) as file:
        assert isinstance(file, Store)
