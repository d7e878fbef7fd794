"""The check of the machine: what hangs is killed, what is absent is no fault, nothing is imported here."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from engine import doctor


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
        assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


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
    monkeypatch.setattr(doctor, "_memory_limit", lambda: (2 * 2**30, 2**30))
    assert doctor._memory() == ("warning", "1.0 of 2.0 GiB free; the embedded model needs about 3 GiB")


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
    program = (
        "import engine.doctor, sys; sys.exit(any(n in sys.modules for n in ('torch', 'transformers', 'datasets')))"
    )
    root = Path(__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", program], cwd=root, timeout=60).returncode == 0
