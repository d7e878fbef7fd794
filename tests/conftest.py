"""What must be set before any library is loaded, and a small volume."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

# Two workers with a model each share two cores: threads that spin while they wait made tests take 2.5 times as long.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


@pytest.fixture
def volume(tmp_path: Path) -> Iterator[Path]:
    """A volume of 32 MiB."""
    place = tmp_path / "volume"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=32m", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("a small volume can only be mounted by root")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)
