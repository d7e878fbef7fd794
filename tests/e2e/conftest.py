"""The installed program, and one whole pilot on the real base model that several tests look at."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from store.db import Store

CAI = Path(sys.executable).with_name("cai")
TABLES = {
    "instructions": "ordinal",
    "samples": "ordinal",
    "judgements": "subject_kind, subject_id, critic",
    "verdicts": "subject_kind, subject_id",
    "audits": "subject_kind, critic, part",
    "guard_checks": "check_id",
    "revisions": "round, ordinal",
    "candidates": "ordinal, source, number",
    "pairs": "ordinal, pair_id",
}


def cai(*words: str, timeout: float = 900) -> subprocess.CompletedProcess[str]:
    """The installed command, with no terminal."""
    return subprocess.run([CAI, *words], capture_output=True, text=True, timeout=timeout, stdin=subprocess.DEVNULL)


def rows_of(path: Path) -> dict[str, list[dict[str, Any]]]:
    """All rows that a run's data consist of, without the run's name and the times."""
    with Store.open(path, read_only=True) as store:
        reader = store.reader()
        run_id = reader.latest_run_id()
        return {
            table: reader.query(f"SELECT * EXCLUDE (run_id) FROM {table} WHERE run_id = ? ORDER BY {order}", [run_id])
            for table, order in TABLES.items()
        }


def differences(found: Any, wanted: Any, within: float, where: str = "") -> list[str]:
    """Where two values differ, numbers by more than `within`: a batch of another make-up moves a margin's last bits."""
    if isinstance(found, str) and isinstance(wanted, str) and found[:1] in "[{" and found != wanted:
        found, wanted = json.loads(found), json.loads(wanted)
    if isinstance(found, dict) and isinstance(wanted, dict) and found.keys() == wanted.keys():
        return [text for key in found for text in differences(found[key], wanted[key], within, f"{where}.{key}")]
    if isinstance(found, list) and isinstance(wanted, list) and len(found) == len(wanted):
        pairs = enumerate(zip(found, wanted, strict=True))
        return [text for at, (a, b) in pairs for text in differences(a, b, within, f"{where}[{at}]")]
    if isinstance(found, float) and isinstance(wanted, float) and abs(found - wanted) <= within:
        return []
    return [] if found == wanted else [f"{where}: {found!r} instead of {wanted!r}"]


@dataclass(frozen=True)
class Pilot:
    """A pilot that was run headless."""

    store: Path
    status: dict[str, Any]
    code: int
    seconds: float


@pytest.fixture(scope="session")
def pilot(tmp_path_factory: pytest.TempPathFactory) -> Pilot:
    """A pilot of forty as `make run` does it, with the small model's spec and nothing changed."""
    store = tmp_path_factory.mktemp("pilot") / "pilot.duckdb"
    began = time.monotonic()
    done = cai("run", "--headless", "--json", "--pilot", "40", "--store", str(store))
    assert done.stdout, done.stderr
    return Pilot(store, json.loads(done.stdout), done.returncode, time.monotonic() - began)
