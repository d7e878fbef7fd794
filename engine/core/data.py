"""The data files that ship with the engine."""

from __future__ import annotations

import gzip
import json
from functools import lru_cache
from pathlib import Path
from typing import Any

DATA = Path(__file__).parent.parent / "data"


@lru_cache
def read_data(name: str) -> tuple[dict[str, Any], ...]:
    """The rows of a shipped file, engine/data/NAME.jsonl or, where it is large, NAME.jsonl.gz."""
    path = DATA / f"{name}.jsonl"
    packed = path.with_suffix(".jsonl.gz")
    text = gzip.decompress(packed.read_bytes()) if packed.exists() else path.read_bytes()
    return tuple(json.loads(line) for line in text.splitlines() if line.strip())


def has_data(name: str) -> bool:
    """Whether that file is there; no rows of the model's own that somebody labelled need be."""
    return (DATA / f"{name}.jsonl").exists()
