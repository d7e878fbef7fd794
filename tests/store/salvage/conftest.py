"""A store that a killed process left, made once."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.store.salvage.damage import IN_FILE, IN_LOG, NAME, batches, files_of, leave


@pytest.fixture(scope="session")
def left(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the store, and with itself as it was before, and with another one."""
    folder = tmp_path_factory.mktemp("left")
    for place in (folder, folder / "other"):
        place.mkdir(exist_ok=True)
        leave(place / NAME, merged=IN_FILE // 2, last=IN_FILE)
    (folder / "earlier").mkdir()
    for found in files_of(folder / NAME):
        shutil.copyfile(folder / found, folder / "earlier" / found)
    leave(folder / NAME, first=IN_FILE, merged=IN_FILE + 1)
    return folder


@pytest.fixture(scope="session")
def whole(left: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[int, int, list[str]]:
    """What it holds."""
    copy = shutil.copytree(left, tmp_path_factory.mktemp("whole") / "copy", ignore=shutil.ignore_patterns("*.sock"))
    found = batches(copy / NAME)
    assert found[:2] == (5 * (IN_FILE + IN_LOG), IN_FILE + IN_LOG)
    return found
