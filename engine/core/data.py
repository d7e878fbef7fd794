"""The data files that ship with the engine."""

from __future__ import annotations

import gzip
import json
from functools import lru_cache
from pathlib import Path
from typing import Any

DATA = Path(__file__).parent.parent / "data"


def data_file(name: str) -> Path:
    """The shipped file NAME.jsonl, or where it is large NAME.jsonl.gz, in whichever folder of engine/data it lies."""
    return next(DATA.rglob(f"{name}.jsonl*"), DATA / f"{name}.jsonl")


@lru_cache
def read_data(name: str) -> tuple[dict[str, Any], ...]:
    """The rows of a shipped file."""
    path = data_file(name)
    text = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return tuple(json.loads(line) for line in text.splitlines() if line.strip())


def has_data(name: str) -> bool:
    """Whether that file is there; no rows of the model's own that somebody labelled need be."""
    return data_file(name).exists()
