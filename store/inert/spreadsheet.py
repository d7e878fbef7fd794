"""Cells of a CSV file that no spreadsheet takes for a formula."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Sequence
from typing import Any

from store.inert.signs import visible

SAID = "In text a ' stands before what a spreadsheet would take for a formula; control characters are signs."
_BEGINS = tuple("=+-@\uff1d\uff0b\uff0d\uff20")  # the last four are their wide forms


def cell(value: Any) -> Any:
    """A value of a CSV file: text visible and no formula, nested values as JSON, numbers as they are."""
    if isinstance(value, (list, dict, tuple)):
        value = json.dumps(value, default=str)
    if not isinstance(value, str):
        return str(value) if isinstance(value, (bytes, bytearray)) else value
    shown = visible(value)
    return f"'{shown}" if shown.lstrip(" \n'\"").startswith(_BEGINS) else shown


def lines(rows: Iterable[Sequence[Any]]) -> str:
    """Rows as lines of CSV that end with a line feed."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([cell(value) for value in row] for row in rows)
    return out.getvalue()
