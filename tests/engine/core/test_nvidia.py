"""What is read off nvidia-smi: a program of its own, played by a script."""

import time
from pathlib import Path

import pytest

from engine.core import nvidia
from engine.core.nvidia import GpuLoad

ROWS = "0, GPU-aa1, NVIDIA H100 80GB HBM3, 93, 71234, 81559, 612.40, 64\n1, GPU-bb2, NVIDIA H100 80GB HBM3, 0, 3, 81559, 71.10, 31\n"
FIRST = GpuLoad("NVIDIA H100 80GB HBM3", 0.93, 71234, 81559, 612.4, 64)


@pytest.fixture
def tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return tmp_path / "nvidia-smi"


def plays(tool: Path, script: str) -> None:
    tool.write_text(f"#!/bin/sh\n{script}\n")
    tool.chmod(0o755)


def test_each_gpu_is_told_with_what_the_driver_does_not_tell_left_out(tool: Path) -> None:
    plays(tool, f"printf '%s' '{ROWS}broken\n2, GPU-cc3, NVIDIA A100 MIG, [N/A], 100, 20096, [Not Supported], [N/A]\n'")
    found = nvidia.loads()
    assert found[0] == FIRST and found[1].busy == 0.0 and found[1].watts == 71.1
    assert found[2] == GpuLoad("NVIDIA A100 MIG", None, 100, 20096) and len(found) == 3


def test_it_is_asked_for_the_fields_in_their_order(tool: Path) -> None:
    plays(tool, """[ "$*" = "--query-gpu=memory.free,name --format=csv,noheader,nounits" ] && echo '7, A100'""")
    assert nvidia.ask("memory.free", "name") == [["7", "A100"]]


@pytest.mark.parametrize(
    ("visible", "names"), [("1", [0.0]), ("GPU-aa", [0.93]), ("GPU-bb2,0", [0.93, 0.0]), ("", []), ("7", [])]
)
def test_only_those_that_this_process_may_use_are_told(
    tool: Path, monkeypatch: pytest.MonkeyPatch, visible: str, names: list[float]
) -> None:
    plays(tool, f"printf '%s' '{ROWS}'")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert [one.busy for one in nvidia.loads()] == names


def test_a_machine_without_a_driver_that_answers_has_no_gpu(tool: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plays(tool, "echo NVIDIA-SMI has failed; exit 9")
    assert nvidia.loads() == ()
    plays(tool, "exec sleep 30")
    began = time.monotonic()
    assert nvidia.loads(limit_s=0.2) == () and time.monotonic() - began < 10
    monkeypatch.setenv("PATH", str(tool.parent / "nothing"))
    assert nvidia.ask("name") == []
