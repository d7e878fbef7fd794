"""Where a run comes from: code, packages, machine, data and the seeds derived from the run's seed.

Nothing of the environment is recorded but the names and values listed here, so that no secret can enter a manifest.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import platform
import secrets
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil

from engine.core.data import DATA
from store.salvage.clock import utc_now

PACKAGES = ("duckdb", "numpy", "pyarrow", "torch", "transformers", "tokenizers", "textual", "scipy", "datasets")
ROOT = Path(__file__).parent.parent.parent
CODE = (("engine", "*.py"), ("store", "*.py"), ("store", "*.sql"))  # what decides what a run gives


def derived_seed(run_seed: int, *identity: object) -> int:
    """A 63-bit seed from the run's seed and an item's identity, so that it depends on neither order nor batch."""
    text = "\x1f".join(str(part) for part in (run_seed, *identity))
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:8], "big") >> 1


def short_hash(*parts: object, length: int = 12) -> str:
    """A hexadecimal id from the parts' text."""
    text = "\x1f".join(str(part) for part in parts)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:length]


def manifest() -> dict[str, Any]:
    """What is known before a model is loaded: versions, machine, git commit, hashes of the code and of shipped data."""
    return {
        "python": sys.version.split()[0],
        "packages": {name: _version(name) for name in PACKAGES},
        "machine": {
            "host": socket.gethostname(),
            "system": platform.platform(),
            "processor": platform.machine(),
            "cores": psutil.cpu_count(logical=True),
            "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
        },
        "git": _git(),
        "code_sha256": _tree_hash([path for room, kind in CODE for path in (ROOT / room).rglob(kind)]),
        "data_sha256": dict(sorted((path.name, _tree_hash([path])) for path in DATA.rglob("*.jsonl*"))),
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _git() -> dict[str, Any]:
    def say(*words: str) -> str | None:
        try:
            done = subprocess.run(
                ["git", "-C", str(ROOT), *words], capture_output=True, text=True, timeout=5, check=True
            )
        except (OSError, subprocess.SubprocessError):
            return None
        return done.stdout.strip()

    commit = say("rev-parse", "HEAD")
    changes = say("status", "--porcelain", "--untracked-files=no")
    return {"commit": commit, "modified": None if changes is None else bool(changes)}


def _tree_hash(paths: list[Path]) -> str:
    digest = hashlib.sha256()
    for path in sorted(paths):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def new_session_id() -> str:
    """The name of one process's work on a run."""
    return f"{utc_now():%Y%m%d-%H%M%S}-{secrets.token_hex(4)}"
