"""Thirty damages and more: each ends in a refusal that leaves the files as they are, or in the full content."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from store.errors import StoreDamaged
from tests.store.salvage.damage import DAMAGES, NAME, batches, files_of, flipped

pytestmark = pytest.mark.integration


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_store_is_refused_or_whole(
    name: str, left: Path, whole: tuple[int, int, list[str]], tmp_path: Path
) -> None:
    path = shutil.copytree(left, tmp_path / "copy", ignore=shutil.ignore_patterns("*.sock")) / NAME
    DAMAGES[name](path)
    damaged = files_of(path)
    try:
        found = batches(path)
    except StoreDamaged as error:
        # A block that only its rows need is found to be damaged when they are read.
        assert files_of(path) == damaged or "a part of the store" in error.title
        assert f"cai salvage {path} --out" in error.hint or not path.exists()
    else:
        assert found == whole


@pytest.mark.parametrize("share", [0.001, 0.02, 0.1, 0.25, 0.4, 0.6, 0.8, 0.99])
def test_a_damaged_file_of_a_closed_store_loses_nothing_without_a_word(
    share: float, left: Path, whole: tuple[int, int, list[str]], tmp_path: Path
) -> None:
    path = shutil.copytree(left, tmp_path / "copy", ignore=shutil.ignore_patterns("*.sock")) / NAME
    assert batches(path) == whole  # opened and closed, so that everything is in the file
    flipped("file", share, 64)(path)
    try:
        found = batches(path)
    except StoreDamaged as error:
        assert f"cai salvage {path} --out" in error.hint
    else:
        assert found == whole
