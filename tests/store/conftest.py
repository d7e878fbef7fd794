"""A store with the small run, copied from one that is made once, and a small volume."""

from __future__ import annotations

import os
import shutil
import subprocess
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


@pytest.fixture
def volume(tmp_path: Path) -> Iterator[Path]:
    """A volume of 12 MiB."""
    place = tmp_path / "volume"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("a small volume can only be mounted by root")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)
