"""Thirty damages and more: each ends in a refusal that leaves the files as they are, or in the full content."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from store.errors import StoreDamaged
from tests.store.salvage.damage import DAMAGES, IN_FILE, IN_LOG, NAME, batches, files_of, flipped, leave

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
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


@pytest.fixture(scope="module")
def whole(left: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[int, int, list[str]]:
    copy = shutil.copytree(left, tmp_path_factory.mktemp("whole") / "copy")
    found = batches(copy / NAME)
    assert found[:2] == (5 * (IN_FILE + IN_LOG), IN_FILE + IN_LOG)
    return found


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_store_is_refused_or_whole(
    name: str, left: Path, whole: tuple[int, int, list[str]], tmp_path: Path
) -> None:
    path = shutil.copytree(left, tmp_path / "copy") / NAME
    DAMAGES[name](path)
    damaged = files_of(path)
    try:
        found = batches(path)
    except StoreDamaged as error:
        assert files_of(path) == damaged
        assert f"cai salvage {path} --out" in error.hint
    else:
        assert found == whole


@pytest.mark.parametrize("share", [0.001, 0.02, 0.1, 0.25, 0.4, 0.6, 0.8, 0.99])
def test_a_damaged_file_of_a_closed_store_loses_nothing_without_a_word(
    share: float, left: Path, whole: tuple[int, int, list[str]], tmp_path: Path
) -> None:
    path = shutil.copytree(left, tmp_path / "copy") / NAME
    assert batches(path) == whole  # opened and closed, so that everything is in the file
    flipped("file", share, 64)(path)
    try:
        found = batches(path)
    except StoreDamaged as error:
        assert f"cai salvage {path} --out" in error.hint
    else:
        assert found == whole
