"""Python rows to Arrow tables, as the columns of the store want them.

Text is kept character for character, NUL and control characters included. The one thing that UTF-8, and so DuckDB,
Parquet and JSON, cannot hold is a lone surrogate (U+D800..U+DFFF): `storable` moves it into the private use area, at
U+10D800..U+10DFFF. One character stays one character, so that offsets into the text stay true, and `restored` gives
the original back.
"""

from __future__ import annotations

import difflib
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from datetime import UTC, datetime, timedelta
from pathlib import PurePath
from typing import Any

import pyarrow as pa

from store.errors import StoreError

_SHIFT = 0x100000
_LONE = re.compile("[\ud800-\udfff]")
_MOVED = re.compile("[\U0010d800-\U0010dfff]")
_SCALARS: dict[str, Any] = {
    "VARCHAR": pa.string(),
    "JSON": pa.string(),
    "BIGINT": pa.int64(),
    "INTEGER": pa.int32(),
    "DOUBLE": pa.float64(),
    "BOOLEAN": pa.bool_(),
    "TIMESTAMP WITH TIME ZONE": pa.timestamp("us", tz="UTC"),
}


@dataclass(frozen=True, slots=True)
class Column:
    """One column: `sql_type` as DuckDB names it, `required` where it may not be null."""

    name: str
    sql_type: str
    required: bool

    @property
    def arrow_type(self) -> Any:
        base = _SCALARS[self.sql_type.removesuffix("[]")]
        return pa.list_(base) if self.sql_type.endswith("[]") else base


@dataclass(frozen=True, slots=True)
class Table:
    """One table: its columns in order, and the names of those that are its primary key (empty: it has none)."""

    name: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]


def storable(text: str) -> str:
    """The text with each lone surrogate moved to the private use area; any other text comes back unchanged."""
    return _LONE.sub(lambda match: chr(ord(match[0]) + _SHIFT), text)


def restored(text: str) -> str:
    """The text that `storable` was given."""
    return _MOVED.sub(lambda match: chr(ord(match[0]) - _SHIFT), text)


def nearest(name: str, names: Sequence[str]) -> str:
    """A hint that names the closest of `names`, or all of them where none is close."""
    close = difflib.get_close_matches(name, names, n=1)
    return f"did you mean {close[0]!r}?" if close else f"known: {', '.join(sorted(names))}"


def json_text(value: object) -> str:
    """A value as JSON with sorted keys; an infinite or undefined number becomes the text that `float()` reads."""
    try:
        text = json.dumps(value, sort_keys=True, ensure_ascii=False, default=_plain, allow_nan=False)
    except ValueError:
        text = json.dumps(_finite(value), sort_keys=True, ensure_ascii=False, default=_plain, allow_nan=False)
    return storable(text)


def to_arrow(table: Table, rows: Sequence[Mapping[str, object]], *, last_wins: bool) -> Any:
    """An Arrow table with every column of `table`, absent values null, one row a key.

    Of rows with the same key the first is kept, or the last with `last_wins`. Raises StoreError for an unknown column,
    a required one that is absent, and a value of the wrong type.
    """
    known = {column.name for column in table.columns}
    for row in rows:
        if not known.issuperset(row):
            unknown = next(name for name in row if name not in known)
            raise StoreError(f"{table.name} has no column {unknown!r}", nearest(str(unknown), sorted(known)))
    if table.key and len(rows) > 1:
        rows = _one_a_key(rows, table.key, last_wins=last_wins)
    arrays = [_array(table.name, column, [row.get(column.name) for row in rows]) for column in table.columns]
    return pa.table(arrays, names=[column.name for column in table.columns])


def _one_a_key(
    rows: Sequence[Mapping[str, object]], key: tuple[str, ...], *, last_wins: bool
) -> Sequence[Mapping[str, object]]:
    by_key: dict[tuple[object, ...], Mapping[str, object]] = {}
    for row in rows:
        identity = tuple(row.get(name) for name in key)
        if last_wins or identity not in by_key:
            by_key[identity] = row
    return list(by_key.values())


def _array(table: str, column: Column, values: list[object]) -> Any:
    where = f"{table}.{column.name}"
    if column.required and any(value is None for value in values):
        raise StoreError(f"{where} is required, and a row has no value for it", "give every required column a value")
    try:
        if column.sql_type == "JSON":
            return pa.array([_json_column(where, value) for value in values], pa.string())
        if column.sql_type.startswith("TIMESTAMP"):
            _require_zone(where, values)
        try:
            return pa.array(values, column.arrow_type)
        except UnicodeEncodeError:
            return pa.array([_storable_deep(value) for value in values], column.arrow_type)
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        raise StoreError(f"{where} cannot hold a value: {error}", f"the column is {column.sql_type}") from error


def _json_column(where: str, value: object) -> str | None:
    if value is None:
        return None
    if isinstance(value, str):
        try:
            json.loads(value)
        except ValueError as error:
            raise StoreError(f"{where} was given text that is not JSON", "give a dict or a list") from error
        return storable(value)
    return json_text(value)


def _require_zone(where: str, values: list[object]) -> None:
    if any(isinstance(value, datetime) and value.tzinfo is None for value in values):
        raise StoreError(f"{where} was given a time without a zone", "use datetime.now(UTC)")


def _storable_deep(value: object) -> object:
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, (list, tuple)):
        return [_storable_deep(item) for item in value]
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


def values(column: Any) -> list[Any]:
    """What an Arrow column holds, as Python values; times without pandas, which Arrow would import for them."""
    kind = column.type
    if not pa.types.is_timestamp(kind):
        found: list[Any] = column.to_pylist()
        return found
    epoch = datetime(1970, 1, 1, tzinfo=UTC if kind.tz else None)
    counted = column.cast(pa.timestamp("us", kind.tz), safe=False).cast(pa.int64()).to_pylist()
    return [None if one is None else epoch + timedelta(microseconds=one) for one in counted]
