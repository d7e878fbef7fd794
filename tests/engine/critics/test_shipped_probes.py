"""The fits that come with the program are of the labels that come with it, and are what a fit on this machine gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.core.control import Control
from engine.critics import probed
from engine.critics.probed import LABELLED, SHIPPED, fitted
from engine.models.answers import Answers
from store.db import Store

pytestmark = pytest.mark.model


def test_each_kind_has_one_and_no_text_is_read_for_it(
    base_model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(requests: Any) -> Any:
        raise AssertionError("the fit of the shipped labels is not among the shipped ones: python bench/probes.py")

    monkeypatch.setattr(base_model, "hidden", read)
    with Store.open(tmp_path / "cai.duckdb") as store:
        found = [fitted(Answers(base_model, store, "session", Control()), kind) for kind in LABELLED]
    assert len({one.critic.probe.sha256 for one in found}) == len(found) == len(list(SHIPPED.glob("*.json")))


@pytest.mark.slow
def test_a_fit_on_this_machine_is_the_shipped_one(
    base_model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Store.open(tmp_path / "shipped.duckdb") as store:
        shipped = fitted(Answers(base_model, store, "session", Control()), "instruction")
    monkeypatch.setattr(probed, "SHIPPED", tmp_path / "none")
    with Store.open(tmp_path / "own.duckdb") as store:
        own = fitted(Answers(base_model, store, "session", Control()), "instruction")
    one, other = shipped.critic.probe, own.critic.probe
    assert one.layer == other.layer
    assert np.abs(one.weights - other.weights).max() <= 1e-3 * np.abs(one.weights).max()
    for part, items in shipped.held_out.items():
        values, again = ([value for *_, value in of] for of in (items, own.held_out[part]))
        assert np.allclose(values, again, atol=0.01)
