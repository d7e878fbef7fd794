"""Python rows to Arrow tables, as the columns of the store want them, and back."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa

from store.errors import StoreError
from store.text import json_text, storable

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

    def require_columns(self, names: Iterable[object]) -> None:
        """Raise StoreError where one of `names` is no column."""
        known = [column.name for column in self.columns]
        unknown = next((name for name in names if name not in known), None)
        if unknown is not None:
            raise StoreError(f"{self.name} has no column {unknown!r}", nearest(str(unknown), known))


def nearest(name: str, names: Sequence[str]) -> str:
    """A hint that names the closest of `names`, or all of them where none is close."""
    close = difflib.get_close_matches(name, names, n=1)
    return f"did you mean {close[0]!r}?" if close else f"known: {', '.join(sorted(names))}"


def to_arrow(table: Table, rows: Sequence[Mapping[str, object]], *, last_wins: bool) -> Any:
    """An Arrow table with every column of `table`, absent values null, one row a key.

    Of rows with the same key the first is kept, or the last with `last_wins`. Raises StoreError for an unknown column,
    a required one that is absent, and a value of the wrong type.
    """
    known = {column.name for column in table.columns}
    for row in rows:
        if not known.issuperset(row):
            table.require_columns(row)
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
        if column.sql_type.startswith("TIMESTAMP") and any(
            isinstance(value, datetime) and value.tzinfo is None for value in values
        ):
            raise StoreError(f"{where} was given a time without a zone", "use datetime.now(UTC)")
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


def _storable_deep(value: object) -> object:
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, (list, tuple)):
        return [_storable_deep(item) for item in value]
    return value


def values(column: Any) -> list[Any]:
    """What an Arrow column holds, as Python values; times without pandas, which Arrow would import for them."""
    kind = column.type
    if not pa.types.is_timestamp(kind):
        found: list[Any] = column.to_pylist()
        return found
    epoch = datetime(1970, 1, 1, tzinfo=UTC if kind.tz else None)
    counted = column.cast(pa.timestamp("us", kind.tz), safe=False).cast(pa.int64()).to_pylist()
    return [None if one is None else epoch + timedelta(microseconds=one) for one in counted]
