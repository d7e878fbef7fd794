"""The check of a statement that was typed, by the tree that DuckDB parses it into."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import duckdb

from store.console.lists import NO_FUNCTIONS, TABLE_FUNCTIONS, VIEWS
from store.errors import StoreError

LONGEST = 20_000  # characters: binding cannot be interrupted, and takes seconds for a statement of a megabyte
_SAFE = "Nothing was run, and nothing was changed."
_STEADY = """
    SELECT lower(function_name) FROM duckdb_functions() GROUP BY 1
    HAVING bool_and(stability = 'CONSISTENT' AND function_type IN ('scalar', 'aggregate', 'window'))
"""
_VALUES = {  # that are written like columns
    "current_date", "current_time", "current_timestamp", "localtime", "localtimestamp", "current_user", "session_user",
    "user", "current_role", "current_catalog", "current_schema",
}  # fmt: skip
_UNSTEADY = {"age"}  # of one value it counts from today, and DuckDB calls it consistent
_steady: frozenset[str] = frozenset()  # DuckDB's functions that give the same for the same
_VIEWS_OF_DUCKDB = "SELECT lower(view_name) FROM duckdb_views() WHERE internal"


def require_select(connection: duckdb.DuckDBPyConnection, sql: str) -> None:
    """Raise StoreError unless the text is one SELECT; duckdb.Error where it cannot be parsed."""
    statements = connection.extract_statements(sql)
    if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
        raise StoreError("a reader runs one SELECT at a time", "Nothing was changed, and nothing can be changed here.")


def allowed_tree(connection: duckdb.DuckDBPyConnection, sql: str) -> dict[str, Any]:
    """The tree of one SELECT that calls and reads nothing but what the lists allow.

    Raises StoreError for any other text, duckdb.Error where it cannot be parsed. What cannot be checked does not run.
    """
    if len(sql) > LONGEST:
        raise StoreError(f"the statement has {len(sql):,} characters, {LONGEST:,} may be typed", _SAFE)
    require_select(connection, sql)
    asked = connection.execute("SELECT json_serialize_sql(?::VARCHAR)", [sql])
    tree: dict[str, Any] = json.loads(asked.fetchall()[0][0])
    if tree.get("error"):
        raise StoreError(f"the check of the statement failed: {tree.get('error_message', '')}", _SAFE)
    hidden = {name for (name,) in connection.execute(_VIEWS_OF_DUCKDB).fetchall()} - VIEWS
    for node in nodes(tree):
        _require_allowed(node, hidden)
    return tree


def tables_read(connection: duckdb.DuckDBPyConnection, sql: str) -> frozenset[str] | None:
    """The names of all that one SELECT reads rows from; None where they and its values do not decide what it gives.

    That is so where it calls what DuckDB says differs from one call to the next, or what DuckDB says nothing of.
    """
    require_select(connection, sql)
    tree = json.loads(connection.execute("SELECT json_serialize_sql(?::VARCHAR)", [sql]).fetchall()[0][0])
    if tree.get("error"):
        return None
    steady = _steady_functions(connection)
    names: set[str] = set()
    for node in nodes(tree):
        called = node.get("class") in ("FUNCTION", "WINDOW")
        if node.get("type") == "TABLE_FUNCTION" or (called and not _names(node, "function_name") <= steady):
            return None
        if node.get("sample") or (node.get("class") == "COLUMN_REF" and _VALUES & _last_names(node)):
            return None
        if node.get("type") == "BASE_TABLE":
            names |= _names(node, "table_name")
    return frozenset(names)


def _steady_functions(connection: duckdb.DuckDBPyConnection) -> frozenset[str]:
    """Read once, for that takes 20 ms."""
    global _steady
    if not _steady:
        found = {name for (name,) in connection.execute(_STEADY).fetchall()}
        _steady = frozenset(found | {"unnest"}) - _UNSTEADY
    return _steady


def _last_names(column: dict[str, Any]) -> set[str]:
    return {str(name).lower() for name in column["column_names"][-1:]}


def nodes(value: Any) -> Iterator[dict[str, Any]]:
    """All objects of a tree, each before those inside it."""
    waiting = [value]
    while waiting:
        found = waiting.pop()
        if isinstance(found, dict):
            yield found
            waiting.extend(reversed(found.values()))
        elif isinstance(found, list):
            waiting.extend(reversed(found))


def _require_allowed(node: dict[str, Any], hidden: set[str]) -> None:
    kind = node.get("type")
    if kind == "TABLE_FUNCTION":
        for name in _names(node["function"], "function_name"):
            if name not in TABLE_FUNCTIONS:
                raise _refused(f"{name}()", f"Of table functions there are here: {', '.join(sorted(TABLE_FUNCTIONS))}.")
    elif node.get("class") == "FUNCTION":
        for name in _names(node, "function_name") & NO_FUNCTIONS:
            raise _refused(f"{name}()", "It does more than compute a value.")
    elif kind == "BASE_TABLE":
        for name in _names(node, "table_name") & hidden:
            raise _refused(name, "It tells of more than the store. SHOW TABLES lists what there is.")
    elif kind == "SHOW_REF":
        shown = (node["show_type"], node["table_name"].strip('"'))
        if shown[0] not in ("DESCRIBE", "SUMMARY") and shown != ("SHOW_SPECIAL", "tables"):
            raise _refused("this form of SHOW", "SHOW TABLES, DESCRIBE and SUMMARIZE work.")


def _names(node: dict[str, Any], key: str) -> set[str]:
    """What a function or a table is called, without schema, in lower case: DuckDB's two ways of telling it."""
    path = (node.get("qualified_name") or {}).get("path") or []
    return {name.lower().strip('"') for name in (node[key], *path[-1:]) if name}


def _refused(what: str, hint: str) -> StoreError:
    return StoreError(f"{what} is not allowed in a console", f"{_SAFE} {hint}")
