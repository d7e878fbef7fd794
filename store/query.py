"""Reading a store by SELECTs, and by nothing else, on a cursor of its own."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import duckdb

from store.connect import query_failed, roomier
from store.encode import values
from store.errors import StoreError

PAGE = 2_048  # places whose rows are read at once where all are wanted

Row = dict[str, Any]


class Query:
    """Reads one store on a cursor of its own, while others write; for use by one thread at a time.

    Rows are dicts by column name, times are aware and in UTC. Raises StoreError when a query fails.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection, path: Path) -> None:
        self.path = path
        self._connection = connection
        self._lock = threading.Lock()  # so that closing the store waits for the query under way
        self._closed = False

    def query(self, sql: str, params: Sequence[object] = ()) -> list[Row]:
        """The rows of one SELECT, `?` standing for each of `params`; JSON columns come back as text.

        Raises StoreError for a statement that fails, or that is not a single SELECT.
        """
        table = self._table(sql, list(params) or None)
        columns = [values(column) for column in table.columns]
        return [dict(zip(table.column_names, row, strict=True)) for row in zip(*columns, strict=True)]

    def in_order(self, sql: str, params: Sequence[object] = (), size: int = PAGE) -> Iterator[Row]:
        """The rows of one SELECT by their column `ordinal`, of `size` places at a time, so that memory is flat.

        `$1` and so on stand for `params`. Others may write meanwhile: a page is what the SELECT gives when it is read,
        and what comes behind the last place that there was at the beginning is left out.
        """
        n = len(params)
        (ends,) = self.query(f"SELECT min(ordinal) AS first, max(ordinal) AS last FROM ({sql})", params)
        if ends["first"] is None:
            return
        # By places, not by a number of rows: settings that were changed on the way begin to count anew, and two rows
        # of one place must not fall on both sides of a page's end.
        page = f"SELECT * FROM ({sql}) WHERE ordinal BETWEEN ${n + 1} AND ${n + 2} ORDER BY ordinal"
        for first in range(ends["first"], ends["last"] + 1, size):
            yield from self.query(page, [*params, first, min(first + size - 1, ends["last"])])

    def column(self, sql: str, params: Mapping[str, object]) -> Any:
        """The first column that one SELECT gives, as Arrow keeps it: for many values that are looked at in parts."""
        return self._table(sql, dict(params)).column(0)

    def require_select(self, sql: str) -> None:
        """Raise StoreError unless the text is one SELECT."""
        with self._lock:
            try:
                _require_select(self._connection, sql)
            except duckdb.Error as error:
                raise query_failed(self.path, error) from error

    def table(self, sql: str) -> Any:
        """The rows of one SELECT as an Arrow table, with its names and types."""
        return self._table(sql, None)

    def interrupt(self) -> None:
        """End the query under way, from another thread; it raises StoreError there."""
        self._connection.interrupt()

    def close(self) -> None:
        """Close the cursor, after the query under way; closing twice is fine."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _table(self, sql: str, params: list[object] | dict[str, object] | None) -> Any:
        with self._lock:
            if self._closed:
                raise StoreError(f"the store {self.path} is closed", "open it again")
            try:
                _require_select(self._connection, sql)
                try:
                    return self._run(sql, params)
                except duckdb.OutOfMemoryException:
                    with roomier(self._connection):
                        return self._run(sql, params)
            except duckdb.Error as error:
                raise query_failed(self.path, error) from error

    def _run(self, sql: str, params: list[object] | dict[str, object] | None) -> Any:
        # Through Arrow, because DuckDB's own rows need the package pytz for times.
        return self._connection.sql(sql, params=params).to_arrow_table()


def _require_select(connection: duckdb.DuckDBPyConnection, sql: str) -> None:
    statements = connection.extract_statements(sql)
    if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
        raise StoreError("a reader runs one SELECT at a time", "Nothing was changed, and nothing can be changed here.")
