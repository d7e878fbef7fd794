"""A store filled by hand."""

from pathlib import Path

import pytest

from tests.tui.fakes import fill


@pytest.fixture
def store(tmp_path: Path) -> Path:
    path = tmp_path / "store.duckdb"
    fill(path)
    return path
