"""Errors that go over the socket are the same at its other end."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from store import errors
from store.errors import StoreDamaged, StoreError
from store.serving import wire

KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, StoreError)]


@pytest.mark.parametrize("kind", KINDS)
def test_each_error_of_the_store_is_told_as_it_is(kind: type[StoreError]) -> None:
    assert len(KINDS) > 5
    found = wire.error_of(json.loads(json.dumps(wire.told(kind("what happened", "what to do")))))
    assert (type(found), found.title, found.hint, str(found)) == (kind, "what happened", "what to do", "what happened")


def test_a_damaged_store_is_told_with_the_way_to_save_it() -> None:
    error = StoreDamaged.at(Path("/a/cai.duckdb"), "a part cannot be read", "Its log is missing.")
    found = wire.error_of(wire.told(error))
    assert (found.title, found.hint) == ("a part cannot be read", error.hint)
    assert "Its log is missing." in found.hint and "cai salvage /a/cai.duckdb --out DIR" in found.hint
