"""The note beside a store about a run that goes on without a screen."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Left:
    """A run that goes on without a screen, as the file beside the store tells it."""

    pid: int
    run_id: str
    since: datetime


def marker_path(store: Path) -> Path:
    return store.with_name(f"{store.name}.left")


def left_run(store: Path) -> Left | None:
    """What was noted beside the store; it may be stale, so compare `pid` with who holds the store."""
    try:
        found = json.loads(marker_path(store).read_text())
        return Left(int(found["pid"]), str(found["run"]), datetime.fromisoformat(found["since"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
