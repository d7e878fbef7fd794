"""What every benchmark says beside its figures: versions, the machine, and how busy it was."""

from __future__ import annotations

import json
import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))
MODEL = "gemma-3-270m"


def report(**figures: Any) -> None:
    """Print one JSON line with the figures and where they come from."""
    print(json.dumps({**figures, "versions": versions(), "machine": machine()}))


def versions(*names: str) -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in names or ("torch", "transformers", "duckdb"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "absent"
    return found


def machine() -> dict[str, Any]:
    import psutil

    return {
        "processor": platform.machine(),
        "cores": psutil.cpu_count(logical=True),
        "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
        "load_before": round(os.getloadavg()[0], 2),
    }
