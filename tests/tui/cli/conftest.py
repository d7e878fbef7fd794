"""A store with the small run, whose first answer is hostile."""

from __future__ import annotations

from pathlib import Path

import pytest

from store.db import Store
from tests.store import rows
from tests.tui.cli.commands import HOSTILE
from tests.tui.cli_fakes import RUN


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store with the small run, whose first answer is hostile."""
    path = tmp_path / "cai.duckdb"
    run = rows.small_run(RUN, state="gate_failed", reason="the pilot gate failed")
    run["samples"][0]["response"] = HOSTILE
    with Store.open(path) as opened:
        opened.append(run)
    return path
