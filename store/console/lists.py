"""What a typed statement may call and read: all that is not named here is refused, what a new DuckDB brings included.

External access is off for the whole store (`store/connect.py`), so that these lists are the second wall, not the first.
"""

from __future__ import annotations

# Of the catalog, of the store's own tables, and rows out of values.
TABLE_FUNCTIONS = frozenset(
    {
        "duckdb_columns", "duckdb_constraints", "duckdb_functions", "duckdb_indexes", "duckdb_keywords",
        "duckdb_memory", "duckdb_schemas", "duckdb_tables", "duckdb_temporary_files", "duckdb_types", "duckdb_views",
        "generate_series", "json_each", "json_tree", "pg_timezone_names", "pragma_database_size", "pragma_storage_info",
        "pragma_table_info", "pragma_version", "range", "repeat", "repeat_row", "test_all_types", "unnest",
    }
)  # fmt: skip

# DuckDB's own views, by name; those of information_schema tell of the catalog alone.
VIEWS = frozenset(
    {
        "duckdb_columns", "duckdb_constraints", "duckdb_indexes", "duckdb_schemas", "duckdb_tables", "duckdb_types",
        "duckdb_views", "sqlite_master", "sqlite_schema",
        "character_sets", "check_constraints", "columns", "constraint_column_usage", "constraint_table_usage",
        "key_column_usage", "referential_constraints", "schemata", "table_constraints", "tables", "views",
    }
)  # fmt: skip

# Functions of values that do more than compute: they write, wait, plan another statement or tell settings, which may
# hold the password of a proxy.
NO_FUNCTIONS = frozenset(
    {
        "currval", "current_setting", "getenv", "getvariable", "json_serialize_plan", "nextval", "pg_sleep", "setseed",
        "setval", "sleep_ms", "write_log",
    }
)  # fmt: skip
