"""Text and JSON as the store keeps them.

Text is kept character for character, NUL and control characters included. The one thing that UTF-8, and so DuckDB,
Parquet and JSON, cannot hold is a lone surrogate (U+D800..U+DFFF): `storable` moves it into the private use area, at
U+10D800..U+10DFFF. One character stays one character, so that offsets into the text stay true, and `restored` gives
the original back.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from datetime import datetime
from pathlib import PurePath
from typing import Any

_SHIFT = 0x100000
_LONE = re.compile("[\ud800-\udfff]")
# JSON itself escapes those below U+0020, form feed and vertical tab among them.
_LINE_ENDS = {code: f"\\u{code:04x}" for code in (0x85, 0x2028, 0x2029)}
_MOVED = re.compile("[\U0010d800-\U0010dfff]")


def storable(text: str) -> str:
    """The text with each lone surrogate moved to the private use area; any other text comes back unchanged."""
    return _LONE.sub(lambda match: chr(ord(match[0]) + _SHIFT), text)


def restored(text: str) -> str:
    """The text that `storable` was given."""
    return _MOVED.sub(lambda match: chr(ord(match[0]) - _SHIFT), text)


def json_text(value: object) -> str:
    """A value as JSON with sorted keys; an infinite or undefined number becomes the text that `float()` reads."""
    try:
        text = json.dumps(value, sort_keys=True, ensure_ascii=False, default=_plain, allow_nan=False)
    except ValueError:
        text = json.dumps(_finite(value), sort_keys=True, ensure_ascii=False, default=_plain, allow_nan=False)
    return storable(text)


def json_line(value: object) -> str:
    """One line of JSON, whoever splits it: what some readers take for the end of a line is escaped."""
    return json.dumps(json_ready(value), ensure_ascii=False, allow_nan=False).translate(_LINE_ENDS) + "\n"


def json_ready(value: Any) -> Any:
    """The value with times as ISO text, and null for a number that JSON has no form for."""
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: json_ready(item) for key, item in value.items()}
    if isinstance(value, list):
        return [json_ready(item) for item in value]
    return value


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if hasattr(value, "tolist"):  # numpy scalars and arrays
        return value.tolist()
    raise TypeError(f"{type(value).__name__} has no form in JSON")


def _finite(value: object) -> object:
    if isinstance(value, float):
        if math.isfinite(value):
            return value
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, (str, int)) or value is None:
        return value
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return _finite(_plain(value))
