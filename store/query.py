"""Reading a store by SELECTs, and by nothing else, on a cursor of its own."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol, Self

import duckdb
import pyarrow as pa

from store.connect import query_failed, roomier, spill_folder
from store.console.statement import allowed_tree, require_select, tables_read
from store.console.watch import SECONDS, StatementWatch
from store.encode import values
from store.errors import StoreError
from store.text import storable

PAGE = 2_048  # places whose rows are read at once where all are wanted
TYPED_MEMORY = "1GB"  # what DuckDB may take for a statement that was typed and did not fit
KEPT = 256 * 2**20  # bytes of rows that are held for another process

Row = dict[str, Any]
Params = list[object] | dict[str, object] | None


class Statements(Protocol):
    """Where a reader's statements run: on a cursor of this process, or in the process that owns the store.

    All raise StoreError. `table` gives all rows as an Arrow table, `typed` being how many seconds a statement that was
    typed may take, and None for the program's own; `parts` gives them little by little, as one table or more. Between
    `hold` and `release` all statements see the store as it was when the first of them ran. `owner` is the process that
    has the store, as it numbers itself.
    """

    owner: int

    def table(self, sql: str, params: Params, typed: float | None) -> Any: ...

    def parts(self, sql: str) -> Iterator[Any]: ...

    def tree(self, sql: str) -> dict[str, Any]: ...

    def hold(self) -> None: ...

    def release(self) -> None: ...

    def interrupt(self) -> None: ...

    def close(self) -> None: ...


class OwnCursor:
    """Statements on a cursor of this process."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, path: Path) -> None:
        self.path = path
        self.owner = os.getpid()
        self._connection = connection
        self._left: Any = None  # what is read little by little, and may not be read to its end

    def table(self, sql: str, params: Params, typed: float | None) -> Any:
        with self._telling():
            require_select(self._connection, sql)
            if typed is None:
                return self._roomy(sql, params, None)
            with self.watched(typed):
                return self._roomy(sql, params, TYPED_MEMORY)

    def parts(self, sql: str, params: Params = None) -> Iterator[Any]:
        try:
            self._let_go()
            require_select(self._connection, sql)
            try:
                # What is not asked for yet is not computed either.
                found = self._left = self._connection.sql(sql, params=params).to_arrow_reader(PAGE)
                first = [batch] if (batch := next(found, None)) is not None else []
            except duckdb.OutOfMemoryException:
                self._let_go()
                yield from self._with_room(sql, params)
                return
            yield pa.Table.from_batches(first, found.schema)
            for batch in found:
                yield pa.Table.from_batches([batch])
        except (duckdb.Error, pa.ArrowException, OSError) as error:  # Arrow has DuckDB's errors on the way as its own
            raise query_failed(self.path, error) from error

    def tree(self, sql: str) -> dict[str, Any]:
        with self._telling():
            return allowed_tree(self._connection, sql)

    def tables_read(self, sql: str) -> frozenset[str] | None:
        """The tables whose rows alone decide what a statement gives; None where time or chance do, too."""
        with self._telling():
            return tables_read(self._connection, sql)

    def hold(self) -> None:
        with self._telling():
            self._connection.execute("BEGIN TRANSACTION READ ONLY")

    def release(self) -> None:
        with self._telling():
            self._connection.execute("ROLLBACK")

    def interrupt(self) -> None:
        with suppress(duckdb.Error):  # it is closed already
            self._connection.interrupt()

    def close(self) -> None:
        self._connection.close()

    @contextmanager
    def watched(self, seconds: float, gone: Callable[[], str] = str) -> Iterator[None]:
        """Bound what runs inside in time and in what it spills, and end it where `gone` says why nobody wants it."""
        watch = StatementWatch(self.interrupt, spill_folder(self.path), seconds, gone)
        try:
            with watch:
                yield
        except (duckdb.InterruptException, StoreError) as error:
            if not watch.why:
                raise
            hint = "Nothing was changed. Ask for less: fewer rows, fewer columns, or a part of the run."
            raise StoreError(f"the statement was ended: {watch.why}", hint) from error

    @contextmanager
    def _telling(self) -> Iterator[None]:
        try:
            self._let_go()
            yield
        except duckdb.Error as error:
            raise query_failed(self.path, error) from error

    def _let_go(self) -> None:
        """Close what was not read to its end: DuckDB refuses the next statement while there is more to be read."""
        left, self._left = self._left, None
        if left is not None:
            left.close()

    def _roomy(self, sql: str, params: Params, most: str | None) -> Any:
        try:
            return self._run(sql, params)
        except duckdb.OutOfMemoryException:
            with roomier(self._connection, most):
                return self._run(sql, params)

    def _with_room(self, sql: str, params: Params) -> Iterator[Any]:
        """The rows of a SELECT that did not fit, kept until all are there: a slow reader must not keep the room."""
        kept: list[Any] = []
        with roomier(self._connection, TYPED_MEMORY):
            found = self._connection.sql(sql, params=params).to_arrow_reader(PAGE)
            for batch in found:
                kept.append(batch)
                if sum(one.nbytes for one in kept) > KEPT:
                    raise StoreError(
                        f"a query of {self.path} needs more memory than there is beside a run", "Ask for a part of it."
                    )
        yield pa.Table.from_batches(kept, found.schema)

    def _run(self, sql: str, params: Params) -> Any:
        # Through Arrow, because DuckDB's own rows need the package pytz for times.
        return self._connection.sql(sql, params=params).to_arrow_table()


class Query:
    """Reads one store while others write, by statements that nobody else uses; for one thread at a time.

    Rows are dicts by column name, times are aware and in UTC. Raises StoreError when a query fails.
    """

    def __init__(self, statements: Statements, path: Path) -> None:
        self.path = path
        self._statements = statements
        self._lock = threading.Lock()  # so that closing the store waits for the query under way
        self._closed = False

    @property
    def owner(self) -> int:
        """The process that has the store: this one, or the one that lets others read."""
        return self._statements.owner

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
            return self._statements.tree(storable(sql))

    def typed(self, sql: str, *, rows: int, seconds: float = SECONDS) -> Any:
        """At most `rows` rows of a statement that a person or an agent typed, as an Arrow table.

        It runs in the cage of all consoles: one SELECT that calls and reads only what `store/console/lists.py` allows,
        bounded in time, in memory and in what it spills. Raises StoreError, with nothing changed.
        """
        self.typed_tree(sql)
        return self._table(f"SELECT * FROM (\n{storable(sql)}\n) LIMIT {rows}", None, typed=seconds)

    @contextmanager
    def as_of_now(self) -> Iterator[Callable[[str], Iterator[Any]]]:
        """A function that reads SELECTs little by little, all of the store as it is when the first of them begins.

        It gives Arrow tables, at least one, which have to be read before the next SELECT. Raises StoreError.
        """
        with self._lock:
            self._require_open()
            self._statements.hold()
            try:
                yield self._statements.parts
            finally:
                self._statements.release()

    def interrupt(self) -> None:
        """End the query under way, from another thread; it raises StoreError there."""
        self._statements.interrupt()

    def close(self) -> None:
        """Close the cursor, after the query under way; closing twice is fine."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._statements.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _table(self, sql: str, params: Params, *, typed: float | None = None) -> Any:
        """The rows as an Arrow table; `typed` is how many seconds a statement that was typed may take."""
        with self._lock:
            self._require_open()
            return self._statements.table(sql, params, typed)

    def _require_open(self) -> None:
        if self._closed:
            raise StoreError(f"the store {self.path} is closed", "open it again")
