"""GPUs on the first screen: how busy, memory and power in a line, at every size, and what an idle one waits for."""

from collections.abc import Iterable
from pathlib import Path

import pytest

from engine.core.events import Event, GpusMeasured, ModelLoaded
from engine.core.nvidia import GpuLoad
from tests.tui.fakes import RUN, FakeEngine, fill, steady_run
from tests.tui.screen import control_center, settle, shown, text_of
from tui.host import machine
from tui.host.machine import Machine
from tui.widgets.run.figures import _gpu, _gpus

ONE = GpuLoad("NVIDIA H100 80GB HBM3", 0.93, 71_234, 81_559, 612.4, 64)
LEAST = GpuLoad("NVIDIA H100 80GB HBM3", 0.05, 10, 81_559, 71.0, 31)


@pytest.mark.parametrize(
    ("width", "told"),
    [
        (60, "GPU          93 %  69.6/80 GiB  612 W  64 °C"),
        (36, "GPU 93 % 69.6/80 GiB 612 W 64 °C"),
        (30, "GPU 93 % 69.6/80 GiB 612 W"),
        (22, "GPU 93 % 69.6/80 GiB"),
        (16, "GPU 93 %"),
    ],
)
def test_one_gpu_is_told_as_there_is_room(width: int, told: str) -> None:
    assert _gpus([ONE], width).plain == told


def test_of_several_the_mean_the_least_busy_and_the_sums_are_told() -> None:
    told = _gpus([ONE] * 7 + [LEAST], 70).plain
    assert told == "8 GPUs       82 %  (least 5 %)  487/637 GiB  4.4 kW  64 °C"
    assert _gpus([ONE] * 7 + [LEAST], 36).plain == "8 GPUs 82 % (5 %) 487/637 GiB 4.4 kW"
    assert _gpus([ONE, LEAST], 33).plain == "2 GPUs 49 % (5 %) 70/159 GiB"
    assert _gpu(1, LEAST).plain == " GPU 1         5 %  0.0/80 GiB  71 W"


def test_what_the_driver_does_not_tell_is_no_zero() -> None:
    slice_of_one = GpuLoad("NVIDIA H100 MIG 1g.10gb", None, 2048, 9728)
    assert _gpus([slice_of_one], 60).plain == "GPU          – %  2.0/10 GiB"
    assert _gpu(0, slice_of_one).plain.rstrip() == " GPU 0         – %  2.0/10 GiB"


def on_a_pod(engine: FakeEngine) -> Iterable[Event]:
    for event in steady_run(engine):
        if isinstance(event, ModelLoaded):
            event = ModelLoaded(RUN, "gemma3-270m", "fp-1", 1.4, 8, True)
        yield event
        yield GpusMeasured(RUN, "responses", (GpuLoad(ONE.name, 0.12, 71_234, 81_559, 212.0, 44),))


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 60)])
async def test_gpu_throughput_and_advice_are_there_without_a_key(tmp_path: Path, size: tuple[int, int]) -> None:
    fill(tmp_path / "s.duckdb")
    async with control_center(tmp_path / "s.duckdb", on_a_pod, size=size) as (app, pilot):
        await settle(pilot, lambda: app.state.forecast is not None and "69.6/80 GiB" in shown(app, "#figures"))
        assert "tokens/s" in shown(app, "#figures") and "212 W" in shown(app, "#figures")
        app.state.gauges._begun = float("-inf")  # a minute later
        app.state.note("info", "a minute later")
        await settle(pilot, lambda: "GPU 12 % busy in Responses" in text_of(app))
        line = next(line for line in text_of(app).split("\n") if "GPU 12 % busy" in line)
        assert "8 at once by your --batch-size" in line
        assert "9Log" in text_of(app).split("\n")[-3].replace(" ", "")


async def test_a_machine_without_a_gpu_has_no_line_for_one(tmp_path: Path) -> None:
    fill(tmp_path / "s.duckdb")
    async with control_center(tmp_path / "s.duckdb", None, size=(120, 40)) as (app, pilot):
        await settle(pilot, lambda: "CPU" in shown(app, "#figures"))
        assert "\nGPU" not in shown(app, "#figures")


def test_the_screen_leaves_the_gpus_to_whoever_works_on_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[float] = []
    monkeypatch.setattr(machine, "loads", lambda limit_s: (asked.append(limit_s), (ONE,))[1])
    here = Machine()
    assert here.load(gpus=False).gpus == () and asked == []
    assert here.load().gpus == (ONE,) and len(asked) == 1
    monkeypatch.setattr(machine, "loads", lambda limit_s: (asked.append(limit_s), ())[1])
    assert here.load().gpus == () and here.load().gpus == () and len(asked) == 2
