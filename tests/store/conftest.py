"""A store with the small run, copied from one that is made once."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from store.db import Store
from tests.store import rows


@pytest.fixture(scope="session")
def small_run_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("small-run") / "cai.duckdb"
    with Store.open(path) as store:
        store.append(rows.small_run())
    return path


@pytest.fixture
def small_store(small_run_file: Path, tmp_path: Path) -> Iterator[Store]:
    path = tmp_path / "cai.duckdb"
    shutil.copyfile(small_run_file, path)
    with Store.open(path) as store:
        yield store
