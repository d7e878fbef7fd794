"""Where a person left the screen: kept by store in a file of their own, for the next time that it is opened.

Nothing depends on it: what cannot be read is as if nothing had been kept, what cannot be written is not.
"""

from __future__ import annotations

import contextlib
import json
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

STORES_KEPT = 50


def place_path() -> Path:
    import platformdirs  # not before the first frame

    return platformdirs.user_state_path("cai") / "places.json"


def load_place(store: Path) -> dict[str, Any]:
    """What was kept for a store, {} where that is nothing."""
    found = _all().get(str(store))
    return found if isinstance(found, dict) else {}


def save_place(store: Path, place: Mapping[str, Any]) -> None:
    """Keep it, as the newest of at most so many."""
    known = {name: held for name, held in _all().items() if name != str(store)}
    kept = dict(list(known.items())[-STORES_KEPT + 1 :]) | {str(store): dict(place)}
    path = place_path()
    aside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        aside.write_text(json.dumps(kept), encoding="utf-8")
        aside.replace(path)
    except (OSError, ValueError, TypeError):
        with contextlib.suppress(OSError):
            aside.unlink()


def _all() -> dict[str, Any]:
    try:
        found = json.loads(place_path().read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
