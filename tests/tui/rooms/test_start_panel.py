"""Before the first run: what it would take here, looked up beside the screen, with the keys in sight at every size."""

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from engine.core.nvidia import GpuLoad
from tests.tui.screen import control_center, settle, shown, text_of
from tui.config.settings import Config
from tui.reads.start import forecast_start

PART = {"examples": 200, "hours": 0.4, "usd": 1.2, "rate": "prior"}
ENGINES = {"replicas": 2, "tensor": 1, "weights": 61 * 2**30, "room": 73 * 2**30, "cached": 26_800, "fits": True,
           "reason": "one GPU holds it"}  # fmt: skip
FOUND: dict[str, Any] = {
    "model": "Qwen/Qwen2.5-32B", "device": "H100", "gpus": 2, "memory": 0, "free": 0, "inference": ENGINES,
    "training": [{"method": name, "micro_batch": 4, "total": 66 * 2**30, "fits": True} for name in ("sft", "dpo")],
    "pilot": PART, "target": PART | {"examples": 15_000, "hours": 12.4, "usd": 37.0}, "reason": None,
}  # fmt: skip


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
async def test_the_forecast_comes_to_the_panel_and_leaves_the_keys_in_sight(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]
) -> None:
    released, asked = threading.Event(), []

    def forecast(config: Config) -> Mapping[str, Any]:
        asked.append(config)
        released.wait(20)
        return FOUND

    monkeypatch.setattr("tui.rooms.run.forecast_start", forecast)
    async with control_center(tmp_path / "none.duckdb", None, size=size) as (app, pilot):
        for _ in range(400):  # nothing settles while a read is held
            await pilot.pause(0.02)
            if asked:
                break
        assert "looked up in a moment" in shown(app, "#start"), "the screen is there before it"
        released.set()
        await settle(pilot, lambda: "2 engines, weights" in shown(app, "#start"))
        app.refresh_room()
        await settle(pilot)
        lines = text_of(app).split("\n")
        assert len(asked) == 1
        at = {
            what: next(n for n, line in enumerate(lines) if what in line) for what in (" Enter ", "SFT 4", "pilot of")
        }
        assert at[" Enter "] < at["SFT 4"] < at["pilot of"] < size[1] - 3
        assert "computed twice" in text_of(app), "all of it is in sight"


def test_it_is_read_for_the_configured_model_and_the_gpus_that_are_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpu = GpuLoad("NVIDIA H100 80GB HBM3", 0.0, 500, 81_559, 70.0, 30)
    monkeypatch.setattr("engine.core.nvidia.loads", lambda: (gpu, gpu))
    found = forecast_start(Config(tmp_path / "c.toml", model="Qwen/Qwen2.5-32B", price_per_gpu_hour=2.0))
    assert (found["device"], found["gpus"], found["model"]) == ("H100", 2, "Qwen/Qwen2.5-32B")
    assert found["target"]["usd"] > found["pilot"]["usd"] > 0 and found["target"]["examples"] == 15_000
    missing = forecast_start(Config(tmp_path / "c.toml", model=str(tmp_path / "nowhere")))
    assert set(missing) == {"reason"} and "no model" in missing["reason"]
