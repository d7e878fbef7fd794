"""The sets of libraries that belong together, as pyproject.toml pins them, and how what is installed differs.

Only metadata is read: nothing of a set is imported.
"""

from __future__ import annotations

import importlib.metadata
import re
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
NAME = "cai-control-center"
_SPEC = re.compile(r"\s*([A-Za-z0-9._-]+)\s*(?:==\s*([^\s;,]+))?")


@dataclass(frozen=True)
class Fit:
    """How an environment fits an extra. `command` makes it fit, and is empty where it does."""

    missing: list[str]
    differing: list[str]  # "trl 1.16.0 where trl==1.15.0 is pinned"
    command: str


def pins(extra: str) -> dict[str, str | None]:
    """The packages of an extra, each with its pinned version or None; empty where nothing says what is in it."""
    specs = _of_checkout(extra)
    if specs is None:
        marker = re.compile(rf"extra\s*==\s*['\"]{extra}['\"]")
        try:
            specs = [spec for spec in importlib.metadata.requires(NAME) or () if marker.search(spec)]
        except importlib.metadata.PackageNotFoundError:
            specs = []
    found = [_SPEC.match(spec) for spec in specs]
    return {match[1]: match[2] for match in found if match}


def _of_checkout(extra: str) -> list[str] | None:
    try:
        project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
        specs: list[str] = project["optional-dependencies"][extra]
        return specs if project["name"] == NAME else None
    except (OSError, ValueError, KeyError):  # installed without its sources
        return None


def installed(name: str) -> str | None:
    """The version of a package in this environment, None where it is not there."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def fit(extra: str, wanted: Mapping[str, str | None]) -> Fit:
    """Compare what is installed with an extra's pins. A build's label, as in 2.13.0+cpu, counts for `pod` alone."""
    missing, differing = [], []
    without_cuda = False
    for name, pin in wanted.items():
        found = installed(name)
        if found is None:
            missing.append(name)
        elif name == "torch" and extra == "pod" and found.endswith("+cpu"):
            without_cuda = True
            differing.append(f"torch {found} is a build without CUDA")
        elif pin is not None and found.partition("+")[0] != pin.partition("+")[0]:
            differing.append(f"{name} {found} where {name}=={pin} is pinned")
    command = ""
    if missing or differing:
        pip = f"{sys.executable} -m pip"
        # pip takes 2.13.0+cpu for 2.13.0 and would leave it.
        command = f"{pip} uninstall -y torch && " if without_cuda else ""
        command += f"{pip} install {_source(extra)}"
    return Fit(missing, differing, command)


def _source(extra: str) -> str:
    return f"-e '{ROOT}[{extra}]'" if _of_checkout(extra) is not None else f"'{NAME}[{extra}]'"
