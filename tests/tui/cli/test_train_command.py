"""`cai train --plan`: what the training would take on the devices that it would be started on."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.engine.training.training_run import settings, tiny_model, trainable_store
from tests.tui.cli.commands import as_json, run_cai


def test_a_plan_for_many_devices_forecasts_their_shares(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = trainable_store(tmp_path / "cai.duckdb", tiny_model(tmp_path / "tiny"), settings())
    asked = ("train", "sft", "--plan", "--store", path)
    (alone,) = as_json(capsys, *asked)[1]["plans"]
    (shared,) = as_json(capsys, *asked, "--accelerate", "fsdp_8")[1]["plans"]
    assert shared["memory"]["weights"] == alone["memory"]["weights"] // 8 > 0
    assert shared["training_id"] == alone["training_id"]
    code, _, err = run_cai(capsys, *asked, "--accelerate", "fsdp_80")
    assert code == 1 and "no configuration 'fsdp_80' for accelerate" in err
