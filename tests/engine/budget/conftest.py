"""A store with a run, a clock that is set by hand, and a ledger on both."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from engine.budget.ledger import Amount, Ledger, spent
from engine.spec.stage import StageSpec, load_spec
from store.db import Store
from tests.store import rows

CAP = 300_000_000


class Clock:
    """A time that passes when it is told to."""

    def __init__(self) -> None:
        self.at = rows.T0

    def __call__(self) -> datetime:
        return self.at

    def seconds(self) -> float:
        return (self.at - rows.T0).total_seconds()

    def pass_(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


@pytest.fixture(scope="module")
def spec() -> StageSpec:
    return load_spec("stage_1_small_model", {}).settings


@pytest.fixture
def store(tmp_path: Path, spec: StageSpec) -> Iterator[Store]:
    with Store.open(tmp_path / "cai.duckdb") as opened:
        opened.append({"runs": [rows.run(name, settings=spec.model_dump()) for name in ("run-a", "run-b")]})
        yield opened


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ledger(store: Store, clock: Clock) -> Iterator[Ledger]:
    with Ledger(store, "run-a", "session-1", CAP, clock, warn_at=(0.5, 0.8, 0.95)) as opened:
        yield opened


def table(store: Store) -> list[dict[str, Any]]:
    with store.reader() as reader:
        return reader.query("SELECT * FROM ledger ORDER BY entry_id")


def total(store: Store) -> Amount:
    with store.reader() as reader:
        return spent(reader).all
