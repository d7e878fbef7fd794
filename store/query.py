"""Reading a store by SELECTs, and by nothing else, on a cursor of its own."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import duckdb

from store.connect import query_failed, roomier, spill_folder
from store.console.statement import allowed_tree, require_select
from store.console.watch import SECONDS, StatementWatch
from store.encode import values
from store.errors import StoreError
from store.text import storable

PAGE = 2_048  # places whose rows are read at once where all are wanted
TYPED_MEMORY = "1GB"  # what DuckDB may take for a statement that was typed and did not fit

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

    def column(self, sql: str, params: Mapping[str, object], *, typed: bool = False) -> Any:
        """The first column that one SELECT gives, as Arrow keeps it: for many values that are looked at in parts.

        With `typed` a part of the statement was typed, and it is bounded like a console's; `typed_tree` has checked it.
        """
        return self._table(sql, dict(params), typed=SECONDS if typed else None).column(0)

    def typed_tree(self, sql: str) -> dict[str, Any]:
        """What DuckDB parses a typed statement into. Raises StoreError unless it may run in a console."""
        with self._lock:
            self._require_open()
            try:
                return allowed_tree(self._connection, storable(sql))
            except duckdb.Error as error:
                raise query_failed(self.path, error) from error

    def typed(self, sql: str, *, rows: int, seconds: float = SECONDS) -> Any:
        """At most `rows` rows of a statement that a person or an agent typed, as an Arrow table.

        It runs in the cage of all consoles: one SELECT that calls and reads only what `store/console/lists.py` allows,
        bounded in time, in memory and in what it spills. Raises StoreError, with nothing changed.
        """
        self.typed_tree(sql)
        return self._table(f"SELECT * FROM (\n{storable(sql)}\n) LIMIT {rows}", None, typed=seconds)

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

    def _table(self, sql: str, params: list[object] | dict[str, object] | None, *, typed: float | None = None) -> Any:
        """The rows as an Arrow table; `typed` is how many seconds a statement that was typed may take."""
        with self._lock:
            self._require_open()
            try:
                require_select(self._connection, sql)
                return self._roomy(sql, params, None) if typed is None else self._watched(sql, params, typed)
            except duckdb.Error as error:
                raise query_failed(self.path, error) from error

    def _watched(self, sql: str, params: list[object] | dict[str, object] | None, seconds: float) -> Any:
        watch = StatementWatch(self._connection.interrupt, spill_folder(self.path), seconds)
        try:
            with watch:
                return self._roomy(sql, params, TYPED_MEMORY)
        except duckdb.InterruptException as error:
            if not watch.why:
                raise
            hint = "Nothing was changed. Ask for less: fewer rows, fewer columns, or a part of the run."
            raise StoreError(f"the statement was ended: {watch.why}", hint) from error

    def _roomy(self, sql: str, params: list[object] | dict[str, object] | None, most: str | None) -> Any:
        try:
            return self._run(sql, params)
        except duckdb.OutOfMemoryException:
            with roomier(self._connection, most):
                return self._run(sql, params)

    def _require_open(self) -> None:
        if self._closed:
            raise StoreError(f"the store {self.path} is closed", "open it again")

    def _run(self, sql: str, params: list[object] | dict[str, object] | None) -> Any:
        # Through Arrow, because DuckDB's own rows need the package pytz for times.
        return self._connection.sql(sql, params=params).to_arrow_table()
