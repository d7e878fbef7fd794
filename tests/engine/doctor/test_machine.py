"""The check of the machine: what hangs is killed, what is absent is no fault, nothing is imported here."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from engine.core import extras, memory
from engine.doctor import machine as doctor


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of modules that the children can import."""
    folder = tmp_path / "modules"
    folder.mkdir()
    monkeypatch.setenv("PYTHONPATH", str(folder))
    return folder


def checks(report: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {item["name"]: item for item in report["checks"]}


def examine(store: Path, *optional: str, needed: tuple[str, ...] = (), limit: float = 20) -> dict[str, Any]:
    return doctor.examine(store, needed=needed, optional=optional, time_limit_s=limit)


@pytest.fixture(autouse=True)
def without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """The child that asks torch for a GPU takes seconds; its program is tried by itself."""
    monkeypatch.setattr(doctor, "_CUDA", doctor._CUDA.replace("import torch", "import torch_that_is_not_there"))


def ended(pid: int) -> bool:
    """Whether a process that was killed is gone; the system takes a moment for it."""
    until = time.monotonic() + 10
    while time.monotonic() < until:
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.05)
    return False


def test_a_library_that_hangs_is_killed_with_its_children(modules: Path, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    (modules / "hanging.py").write_text(
        "import os, subprocess, time\n"
        "child = subprocess.Popen(['sleep', '300'])\n"
        f"open({str(pids)!r}, 'w').write(f'{{os.getpid()}} {{child.pid}}')\n"
        "time.sleep(300)\n"
    )
    began = time.monotonic()
    report = examine(tmp_path / "cai.duckdb", "hanging", limit=2)
    assert time.monotonic() - began < 12
    assert checks(report)["hanging"]["state"] == "hung"
    assert "2 s" in checks(report)["hanging"]["detail"]
    assert not report["healthy"]
    for pid in map(int, pids.read_text().split()):
        assert ended(pid)


def test_each_way_a_library_can_be(modules: Path, tmp_path: Path) -> None:
    (modules / "fine.py").write_text("__version__ = '1.2.3'\nprint('chatter')\n")
    (modules / "broken.py").write_text("import something_that_is_missing\n")
    (modules / "deadly.py").write_text("import os\nprint('last words', flush=True)\nos.kill(os.getpid(), 11)\n")
    (modules / "leaving.py").write_text("raise SystemExit('no GPU')\n")
    names = ("fine", "broken", "deadly", "leaving", "not_there")
    found = checks(examine(tmp_path / "cai.duckdb", *names))
    assert {name: found[name]["state"] for name in names} == {
        "fine": "ok",
        "broken": "failed",
        "deadly": "failed",
        "leaving": "failed",
        "not_there": "absent",
    }
    assert found["fine"]["detail"] == "1.2.3"
    assert "something_that_is_missing" in found["broken"]["detail"]
    assert found["deadly"]["detail"] == "ended by signal 11: last words"
    assert found["torch.cuda"]["state"] == "absent"


def test_an_absent_library_is_a_fault_only_where_it_is_needed(tmp_path: Path) -> None:
    assert examine(tmp_path / "cai.duckdb", "not_there")["healthy"]
    report = examine(tmp_path / "cai.duckdb", needed=("not_there",))
    assert not report["healthy"]
    assert checks(report)["not_there"]["state"] == "failed"


def test_it_writes_a_file_and_leaves_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "store"
    folder.mkdir()
    found = checks(examine(folder / "cai.duckdb"))
    assert found["writing beside the store"]["state"] == "ok"
    assert list(folder.iterdir()) == []

    monkeypatch.setattr(doctor.os, "fsync", _no_space)
    found = checks(examine(folder / "cai.duckdb"))
    assert found["writing beside the store"]["state"] == "failed"
    assert "No space" in found["writing beside the store"]["detail"]
    assert list(folder.iterdir()) == []


def _no_space(_: int) -> None:
    raise OSError(28, "No space left on device")


def test_a_store_whose_folder_is_not_there_yet_is_judged_by_the_one_above(tmp_path: Path) -> None:
    found = checks(examine(tmp_path / "a" / "b" / "cai.duckdb"))
    assert str(tmp_path) in found["disk of the store"]["detail"]
    assert not (tmp_path / "a").exists()


def test_little_memory_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_limit", lambda: (2 * 2**30, 2**30))
    assert doctor.memory() == ("warning", "1.0 of 2.0 GiB free; the embedded model needs about 3 GiB")


def test_nvidia_smi_is_asked_in_a_child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 'H100, 81559 MiB, 10 MiB, 570.1'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert doctor._Children(10).nvidia_smi() == ("ok", "H100, 81559 MiB, 10 MiB, 570.1")
    tool.write_text("#!/bin/sh\necho 'no devices were found'; exit 6\n")
    assert doctor._Children(10).nvidia_smi() == ("failed", "exit code 6: no devices were found")
    tool.write_text("#!/bin/sh\nsleep 60\n")
    assert doctor._Children(0.5).nvidia_smi()[0] == "hung"


def test_it_imports_no_model_library() -> None:
    program = "import engine.doctor.machine, sys; sys.exit(any(n in sys.modules for n in ('torch', 'transformers', 'datasets')))"
    root = Path(__file__).parents[3]
    assert subprocess.run([sys.executable, "-c", program], cwd=root, timeout=60).returncode == 0


# -- the libraries that belong together ----------------------------------------------------------------------------------

POD: dict[str, str | None] = {
    "torch": "2.13.0",
    "trl": "1.15.0",
    "unsloth": "2026.10.7",
    "vllm": "0.32.0",
    "gguf": None,
}
WHOLE = {"torch": "2.13.0+cu130", "trl": "1.15.0", "unsloth": "2026.10.7", "vllm": "0.32.0", "gguf": "0.19.0"}


def on_a_machine(
    monkeypatch: pytest.MonkeyPatch, store: Path, *, gpu: bool, versions: dict[str, str], cuda: str = ""
) -> dict[str, Any]:
    """The report of a machine with these packages; on one without a GPU the extra is `local`."""
    monkeypatch.setattr(doctor._Children, "nvidia_smi", lambda _: ("ok", "H100") if gpu else ("absent", "none"))
    if cuda:
        monkeypatch.setattr(
            doctor,
            "_CUDA",
            f"import json, sys; json.dump({{'state': 'absent', 'detail': {cuda!r}}}, open(sys.argv[2], 'w'))",
        )
    monkeypatch.setattr(extras, "installed", versions.get)
    monkeypatch.setattr(
        extras, "pins", lambda extra: POD if extra == "pod" else {"torch": "2.13.0", "trl": "1.16.0", "peft": "0.21.2"}
    )
    return examine(store)


def test_what_training_lacks_is_one_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report = on_a_machine(monkeypatch, tmp_path / "cai.duckdb", gpu=False, versions={"torch": "2.13.0+cpu"})
    found = checks(report)["the extra local"]
    assert report["healthy"]  # generation may be all that is wanted
    assert found["state"] == "absent"
    assert "not installed: trl, peft" in found["detail"]
    root = Path(__file__).parents[3]
    assert report["fix"] == f"{sys.executable} -m pip install -e '{root}[local]'"
    assert report["fix"] in found["detail"]


def test_a_gpu_asks_for_the_other_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    some = {name: version for name, version in WHOLE.items() if name in ("torch", "trl", "gguf")}
    report = on_a_machine(monkeypatch, tmp_path / "cai.duckdb", gpu=True, versions=some)
    found = checks(report)["the extra pod"]
    assert found["state"] == "absent" and "not installed: unsloth, vllm" in found["detail"]
    assert report["fix"].endswith("[pod]'")
    assert "the extra local" not in checks(report)


def test_nothing_is_to_be_done_where_everything_fits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report = on_a_machine(monkeypatch, tmp_path / "cai.duckdb", gpu=True, versions=WHOLE)
    assert report["fix"] is None
    assert checks(report)["the extra pod"]["state"] == "ok"


def test_another_version_is_a_warning_that_names_the_pin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report = on_a_machine(monkeypatch, tmp_path / "cai.duckdb", gpu=True, versions={**WHOLE, "trl": "1.16.0"})
    found = checks(report)["the extra pod"]
    assert report["healthy"] and found["state"] == "warning"
    assert "trl 1.16.0 where trl==1.15.0 is pinned" in found["detail"]
    assert "torch" not in found["detail"]  # 2.13.0+cu130 is 2.13.0


def test_a_torch_without_cuda_on_a_gpu_is_taken_away_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report = on_a_machine(monkeypatch, tmp_path / "cai.duckdb", gpu=True, versions={**WHOLE, "torch": "2.13.0+cpu"})
    assert "torch 2.13.0+cpu is a build without CUDA" in checks(report)["the extra pod"]["detail"]
    first, second = report["fix"].split(" && ")
    assert first.endswith("pip uninstall -y torch") and second.endswith("[pod]'")


def test_a_gpu_that_torch_does_not_see_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = "torch sees no GPU (built for CUDA 13.0): models run on the CPU"
    report = on_a_machine(monkeypatch, tmp_path / "cai.duckdb", gpu=True, versions=WHOLE, cuda=said)
    assert checks(report)["torch.cuda"]["state"] == "warning"
    assert "driver" in checks(report)["torch.cuda"]["detail"]
    report = on_a_machine(monkeypatch, tmp_path / "cai.duckdb", gpu=False, versions=WHOLE, cuda=said)
    assert checks(report)["torch.cuda"]["state"] == "absent"


def test_a_library_for_gpus_that_refuses_a_machine_without_one_is_no_fault(
    modules: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (modules / "unsloth.py").write_text("raise NotImplementedError('no accelerator')\n")
    report = examine(tmp_path / "cai.duckdb", "unsloth")
    assert report["healthy"] and checks(report)["unsloth"]["state"] == "warning"
    monkeypatch.setattr(doctor._Children, "nvidia_smi", lambda _: ("ok", "H100"))
    report = examine(tmp_path / "cai.duckdb", "unsloth")
    assert not report["healthy"] and checks(report)["unsloth"]["state"] == "failed"


def test_the_pins_are_those_of_the_sources_or_of_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert extras.pins("local")["trl"] == "1.16.0" and extras.pins("pod")["trl"] == "1.15.0"
    assert extras.pins("pod")["tokenizers"] is None  # a range
    monkeypatch.setattr(extras, "ROOT", tmp_path)  # as installed from a wheel
    told = ["rich>=14", "trl==1.15.0 ; extra == 'pod'", 'trl==1.16.0; extra == "local"', "gguf>=0.17; extra == 'pod'"]
    monkeypatch.setattr(extras.importlib.metadata, "requires", lambda _: told)
    assert extras.pins("pod") == {"trl": "1.15.0", "gguf": None}
    assert extras.fit("pod", {"a-package-that-is-not-there": None}).command.endswith(
        "install 'cai-control-center[pod]'"
    )
