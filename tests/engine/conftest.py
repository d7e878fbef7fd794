"""The embedded base model, loaded once for all tests that need it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from engine.models.requests import Model


@pytest.fixture(scope="session")
def base_model() -> Iterator[Model]:
    from engine.models.registry import load

    model = load(None, batch_size=8)
    yield model
    model.close()
