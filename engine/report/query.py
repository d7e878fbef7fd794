"""A query of a report: the only way by which a number gets into it.

What is run is the text that the file of queries shows, its parameters filled in, so that whoever runs that file against
the same store sees the same numbers.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from textwrap import dedent
from typing import Any

from store.errors import StoreError
from store.read import Reader

Row = dict[str, Any]
_PLACE = re.compile(r"\$(\d+)")


@dataclass(frozen=True, slots=True)
class QueryResult:
    """A query that was asked: `name` such as Q7, what it is about, its text with the parameters in it, and its rows."""

    name: str
    title: str
    sql: str
    rows: Sequence[Row] = field(repr=False)

    @property
    def ref(self) -> str:
        """How the report names it, such as [Q7]."""
        return f"[{self.name}]"

    @property
    def row(self) -> Row:
        """The first row; empty where there is none."""
        return self.rows[0] if self.rows else {}

    def __bool__(self) -> bool:
        return bool(self.rows)


class Queries:
    """Asks a store on behalf of a report about one run, and keeps every question."""

    def __init__(self, reader: Reader, run_id: str) -> None:
        self.run_id = run_id
        self.asked: list[QueryResult] = []
        self._reader = reader

    def ask(self, title: str, sql: str, *params: object) -> QueryResult:
        """The answer to one SELECT, in which $1 is the run's id and $2 the first of `params`.

        The same question asked again is the same query. Raises StoreError where it fails.
        """
        text = filled(dedent(sql).strip(), (self.run_id, *params))
        known = next((answer for answer in self.asked if answer.sql == text), None)
        if known is not None:
            return known
        answer = QueryResult(f"Q{len(self.asked) + 1}", title, text, self._reader.query(text))
        self.asked.append(answer)
        return answer

    def file(self, about: str) -> str:
        """All queries as a file that DuckDB's command line runs."""
        head = "".join(f"-- {line}\n" for line in about.splitlines())
        return head + "".join(f"\n-- {a.name}: {a.title}\n{a.sql};\n" for a in self.asked)


def filled(sql: str, params: Sequence[object]) -> str:
    """The statement with a literal in the place of each $n."""
    return _PLACE.sub(lambda found: literal(params[int(found[1]) - 1]), sql)


def literal(value: object) -> str:
    """A value as DuckDB writes it. Raises StoreError for a text with NUL, ValueError for another type."""
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, datetime):
        return f"TIMESTAMPTZ '{value.astimezone(UTC).isoformat()}'"
    if isinstance(value, str):
        if "\0" in value:
            raise StoreError("a report's query cannot hold a text with NUL", "Nothing was written.")
        return "'" + value.replace("'", "''") + "'"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(literal, value)) + "]"
    raise ValueError(f"no literal for {type(value).__name__}")
