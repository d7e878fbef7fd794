"""The store: one DuckDB file, one writer, many readers, export. It knows neither models nor screens.

Importing this room, its `errors`, `names`, `text` or `disk` imports no DuckDB; everything else is imported by module.
"""
