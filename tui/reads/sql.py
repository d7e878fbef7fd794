"""The SQL console's questions: run one statement with a limit, name what can be completed, write a result to a file."""

from __future__ import annotations

import contextlib
import json
import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from store.disk import whole_file
from store.errors import StoreError
from store.inert.spreadsheet import lines

if TYPE_CHECKING:
    from store.read import Reader

ROWS_SHOWN = 1000
ROWS_WRITTEN = 1_000_000
HISTORY_KEPT = 500
_SHOW = re.compile(r"^\s*show\s+tables\s*;?\s*$", re.IGNORECASE)
_DESCRIBE = re.compile(r"^\s*(?:describe|desc)\s+(?P<table>\w+)\s*;?\s*$", re.IGNORECASE)
_TABLES = "SELECT table_name, estimated_size AS rows_about, column_count FROM duckdb_tables() ORDER BY 1"
_COLUMNS = (
    "SELECT column_name, data_type, is_nullable FROM information_schema.columns WHERE table_name = '{}' "
    "ORDER BY ordinal_position"
)


@dataclass(frozen=True, slots=True)
class Result:
    """What a statement gave: `columns` as (name, type), the `rows` that are shown, `more` where there are more."""

    sql: str
    columns: tuple[tuple[str, str], ...]
    rows: list[tuple[Any, ...]]
    more: bool
    seconds: float


def plain_select(sql: str) -> str:
    """The statement without its semicolon; SHOW TABLES and DESCRIBE as the SELECT that answers them."""
    if _SHOW.match(sql):
        return _TABLES
    if found := _DESCRIBE.match(sql):
        return _COLUMNS.format(found["table"])
    return sql.strip().rstrip(";").rstrip()


def asks_for_tables(sql: str) -> bool:
    """Whether it is SHOW TABLES or DESCRIBE, which are answered by statements of this program."""
    return bool(_SHOW.match(sql) or _DESCRIBE.match(sql))


def run(reader: Reader, sql: str) -> Result:
    """Run one SELECT in the cage of all consoles and take its first rows. Raises StoreError."""
    statement = plain_select(sql)
    began = time.perf_counter()
    found = reader.typed(statement, rows=ROWS_SHOWN + 1)
    return result_of(statement, found, time.perf_counter() - began)


def result_of(statement: str, found: Any, seconds: float) -> Result:
    """The rows that are shown of an Arrow table, which has one more where there are more."""
    from store.encode import values  # not before the first frame: it brings DuckDB

    columns = tuple((field.name, str(field.type)) for field in found.schema)
    rows = list(zip(*(values(column) for column in found.columns), strict=True)) if columns else []
    return Result(statement, columns, rows[:ROWS_SHOWN], len(rows) > ROWS_SHOWN, seconds)


def words(reader: Reader) -> list[str]:
    """Names of tables and columns, tables first."""
    tables = [row["table_name"] for row in reader.query("SELECT table_name FROM duckdb_tables() ORDER BY 1 LIMIT 500")]
    columns = reader.query("SELECT DISTINCT column_name FROM duckdb_columns() WHERE NOT internal ORDER BY 1 LIMIT 5000")
    return [*tables, *(row["column_name"] for row in columns if row["column_name"] not in tables)]


def export(reader: Reader, sql: str, target: Path) -> tuple[int, int]:
    """Write all rows of the statement to a .csv or .parquet file that is not there yet; returns (rows, bytes).

    It is written aside and renamed, for its owner alone; what a CSV holds instead of formulas is in
    `store/inert/spreadsheet.py`. Raises StoreError where the statement fails or the file cannot be written.
    """
    from store.encode import values

    if target.suffix not in (".csv", ".parquet"):
        raise StoreError(f"{target.name} is neither .csv nor .parquet", "The name's ending says how it is written.")
    if target.exists():
        raise StoreError(f"{target} is there already", "Nothing was written; give another name.")
    statement = plain_select(sql)
    found = reader.typed(statement, rows=ROWS_WRITTEN + 1)
    if found.num_rows > ROWS_WRITTEN:
        raise StoreError(
            f"the result has more than {ROWS_WRITTEN:,} rows",
            "Nothing was written. Write a part of it, or a data set with: cai export",
        )
    try:
        with whole_file(target) as aside:
            if target.suffix == ".parquet":
                import pyarrow.parquet

                pyarrow.parquet.write_table(found, aside)
            else:
                with aside.open("w", encoding="utf-8", newline="") as file:
                    file.write(lines([found.schema.names]))
                    for batch in found.to_batches(max_chunksize=10_000):
                        file.write(lines(zip(*(values(column) for column in batch.columns), strict=True)))
    except OSError as error:
        raise StoreError(f"{target} cannot be written: {error.strerror or error}", "No file was left.") from error
    return found.num_rows, target.stat().st_size


class History:
    """Statements that were run, newest last, in a file of the person's own; it never holds a result."""

    def __init__(self, path: Path | None = None) -> None:
        if path is None:
            import platformdirs

            path = platformdirs.user_state_path("cai") / "sql_history"
        self.path = path
        self.statements = list(self._stored())

    def _stored(self) -> Iterator[str]:
        try:
            lines = self.path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError):
            return
        for line in lines[-HISTORY_KEPT:]:
            try:
                found = json.loads(line)
            except ValueError:
                continue
            if isinstance(found, str):
                yield found

    def add(self, statement: str) -> None:
        """Keep a statement; a history that cannot be written is kept for this session only."""
        if self.statements[-1:] != [statement]:
            self.statements.append(statement)
        aside = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            lines = [json.dumps(item) + "\n" for item in self.statements[-HISTORY_KEPT:]]
            aside.write_text("".join(lines), encoding="utf-8")
            aside.rename(self.path)
        except OSError:
            with contextlib.suppress(OSError):
                aside.unlink()
