"""The cage of consoles: every function, view and setting that DuckDB has is tried, and what is new is refused."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from store.console import watch
from store.console.lists import NO_FUNCTIONS, TABLE_FUNCTIONS, VIEWS
from store.console.statement import LONGEST
from store.db import Store
from store.errors import StoreError
from store.listing import Listing, Selection
from store.read import Reader

# Functions of values that are not a matter of their arguments alone, and harmless: clocks, names, chance, the query.
HARMLESS = {
    "current_catalog", "current_connection_id", "current_database", "current_date", "current_query", "current_query_id",
    "current_role", "current_schema", "current_schemas", "current_transaction_id", "current_user", "error",
    "gen_random_uuid", "get_current_time", "get_current_timestamp", "in_search_path", "now", "random", "stats", "today",
    "transaction_timestamp", "txid_current", "uuid", "uuidv4", "uuidv7", "vector_type",
}  # fmt: skip


@pytest.fixture
def reader(small_store: Store) -> Reader:
    return small_store.reader()


def refused(reader: Reader, sql: str) -> str:
    with pytest.raises(StoreError) as caught:
        reader.typed(sql, rows=10)
    return caught.value.title


def plain(sql: str) -> Iterator[tuple[str, ...]]:
    with duckdb.connect() as connection:  # as DuckDB comes, without a cage
        yield from connection.execute(sql).fetchall()


def test_every_table_function_that_is_not_on_the_list_is_refused(reader: Reader) -> None:
    kinds = "('table', 'table_macro', 'pragma')"
    found = {name for (name,) in plain(f"SELECT function_name FROM duckdb_functions() WHERE function_type IN {kinds}")}
    assert len(found) > 100 and found >= TABLE_FUNCTIONS
    for name in sorted(found - TABLE_FUNCTIONS | {"of_a_later_version"}):
        for call in (f'"{name}"()', f"\"{name}\"('/etc/hostname')", f'system.main."{name.upper()}"(1)'):
            assert refused(reader, f"SELECT * FROM {call}") == f"{name}() is not allowed in a console", call
    for hidden in (
        "SELECT (SELECT count(*) FROM glob('/*'))", "WITH a AS MATERIALIZED (FROM glob('/*')) SELECT 1 FROM a",
        "SELECT 1 UNION ALL (SELECT 2 FROM glob('/*'))", "FROM range(3) t(a), LATERAL (FROM glob('/*'))",
        "SELECT * FROM samples WHERE EXISTS (FROM glob('/*'))", "DESCRIBE FROM glob('/*')", "SUMMARIZE FROM glob('/*')",
        "SELECT list_transform([1], x -> (SELECT count(*) FROM glob('/*')))", "SELECT 1 ORDER BY (FROM glob('/*'))",
        "SELECT 1 LIMIT (SELECT count(*) FROM glob('/*'))", "VALUES ((SELECT count(*) FROM glob('/*')))",
        "SELECT max(1) OVER (ORDER BY (SELECT count(*) FROM glob('/*')))",
        "FROM range(2) t(a) PIVOT (sum((SELECT count(*) FROM glob('/*'))) FOR a IN (1))",
        "WITH RECURSIVE r(a) AS (SELECT 1 UNION ALL SELECT 2 FROM r, glob('/*')) FROM r",
    ):  # fmt: skip
        assert refused(reader, hidden) == "glob() is not allowed in a console", hidden


def test_every_function_of_values_is_known_to_be_harmless_or_refused(reader: Reader) -> None:
    found = {
        name
        for (name,) in plain(
            "SELECT function_name FROM duckdb_functions() WHERE function_type IN ('scalar', 'macro', 'aggregate') "
            "AND (has_side_effects OR stability != 'CONSISTENT')"
        )
    }
    assert len(found) > 20 and found - HARMLESS - NO_FUNCTIONS == set()
    for name in NO_FUNCTIONS:
        for sql in (f"SELECT {name}('memory_limit')", f"SELECT 1 WHERE pg_catalog.{name.upper()}(1) IS NULL"):
            assert refused(reader, sql) == f"{name}() is not allowed in a console"


def test_every_view_of_duckdb_is_on_the_list_or_refused(reader: Reader) -> None:
    found = list(plain("SELECT schema_name, view_name FROM duckdb_views() WHERE internal"))
    assert {"pg_settings", "duckdb_logs"} <= {view for _, view in found} - VIEWS
    for schema, view in found:
        if view in VIEWS:
            reader.typed(f"FROM {schema}.{view}", rows=10)
        else:
            for name in (f"{schema}.{view}", f'"{view.upper()}"'):
                assert refused(reader, f"FROM {name}") == f"{view} is not allowed in a console"


def test_no_setting_can_be_changed_or_read(small_store: Store, reader: Reader) -> None:
    names = [name for (name,) in plain("SELECT name FROM duckdb_settings()")]
    assert len(names) > 100
    before = reader.query("SELECT name, value FROM duckdb_settings() ORDER BY ALL")
    for name in names:
        for sql in (f"SET {name} = 1", f"RESET {name}", f"PRAGMA {name} = 1", f"SET GLOBAL {name} = '1'"):
            assert refused(reader, sql) == "a reader runs one SELECT at a time" or "Parser Error" in refused(
                reader, sql
            )
        assert "not allowed" in refused(reader, f"SHOW {name}") + refused(reader, f"SELECT current_setting('{name}')")
    # Below the list the database itself is locked: what a list let through would still be refused.
    for name in ("enable_external_access", "lock_configuration", "threads", "temp_directory", "allowed_directories"):
        with pytest.raises(duckdb.InvalidInputException, match="locked"):
            small_store._writer.execute(f"SET {name} = DEFAULT")
    assert reader.query("SELECT name, value FROM duckdb_settings() ORDER BY ALL") == before
    reader.query("SELECT count(*) AS n FROM samples")


def test_a_statement_that_gets_past_the_lists_reaches_no_file(small_store: Store, reader: Reader) -> None:
    """`query` checks no list: it stands for a function that the lists forgot."""
    other = small_store.path.with_name("other.csv")
    other.write_text("a\nplanted\n")
    for sql in (
        f"SELECT * FROM read_text('{other}')", f"SELECT * FROM '{other}'", f"FROM glob('{other.parent}/*')",
        f"SELECT * FROM read_csv('{other}')", f"SELECT * FROM read_blob('{other}')", "FROM read_csv('/dev/stdin')",
        f"SELECT * FROM read_duckdb('{other}', table_name = 't')", f"FROM sniff_csv('{other}')",
        f"SELECT * FROM enable_logging(storage = 'file', storage_path = '{other.parent}/log')",
        f"FROM query('FROM read_text(''{other}'')')",
    ):  # fmt: skip
        with pytest.raises(StoreError) as caught:
            reader.query(sql)
        assert "planted" not in str(caught.value)
    own = {"cai.duckdb", "cai.duckdb.wal", "cai.duckdb.sock"}
    assert {path.name for path in other.parent.iterdir()} - own == {"other.csv"}


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM samples", "COPY samples TO 'x.csv'", "ATTACH 'x.duckdb'", "INSTALL httpfs", "LOAD httpfs",
        "PRAGMA database_list", "CALL enable_logging()", "SET threads = 1", "SELECT 1; DROP TABLE samples", "CHECKPOINT",
        "EXPORT DATABASE 'x'", "EXPLAIN ANALYZE SELECT 1", "CREATE TEMP TABLE x AS SELECT 1", "BEGIN", "USE memory",
        "SELECT 1) ; DROP TABLE samples; SELECT (1", "SHOW DATABASES", "SHOW VARIABLES", "", "-- nothing", ";", "\0",
        "SELECT \ud800", f"SELECT '{'x' * LONGEST}'", f"SELECT {'(' * 5000}1{')' * 5000}", f"SELECT 1{'+1' * 5000}",
        f"SELECT NULL::INT{'[]' * 5000}", "EXECUTE x", "VACUUM", "KILL 1", "PREPARE x AS SELECT 1", "DETACH store",
    ],
)  # fmt: skip
def test_anything_but_one_select_is_refused(reader: Reader, sql: str) -> None:
    refused(reader, sql)
    assert reader.query("SELECT count(*) AS n FROM samples") == [{"n": 4}]


def test_what_a_researcher_asks_still_works(reader: Reader) -> None:
    for sql in (
        "SELECT count(*) FROM samples", "FROM samples SELECT sample_id -- a comment", "SHOW TABLES", "SUMMARIZE samples",
        "DESCRIBE samples", "VALUES (1), (2)", "SELECT flag FROM (SELECT unnest(flags) AS flag FROM verdicts)",
        "SELECT * FROM range(3) a, generate_series(1, 2) b", "SELECT key FROM json_each('{\"a\": 1}')",
        "SELECT quantile_cont(score, 0.5), regexp_matches('a', 'a'), now() > TIMESTAMPTZ '2020-01-01' FROM judgements",
        "FROM range(4) t(a) PIVOT (count(*) FOR a IN (1, 2))", "SELECT table_name FROM information_schema.tables",
    ):  # fmt: skip
        assert reader.typed(sql, rows=5).num_rows > 0, sql
    assert reader.typed("SELECT now() AS at", rows=1).schema.field("at").type.tz == "UTC"


def test_a_where_box_is_in_the_same_cage(reader: Reader) -> None:
    for typed, says in (
        ("sleep_ms(10) IS NULL", "sleep_ms() is not allowed"),
        ("current_setting('memory_limit') = ''", "current_setting() is not allowed"),
        ("ordinal IN (FROM glob('/*'))", "glob() is not allowed"),
    ):
        with pytest.raises(StoreError) as caught:
            Listing.of(reader, "run-a", Selection(where=typed))
        assert says in caught.value.title
    assert len(Listing.of(reader, "run-a", Selection(where="n_tokens > 0 AND len(flags) = 0"))) == 2


def test_a_statement_that_takes_too_long_is_ended_and_says_so(reader: Reader) -> None:
    began = time.monotonic()
    with pytest.raises(StoreError, match=r"was ended: it took longer than 0\.3 s"):
        reader.typed("SELECT sum(a.range * b.range) FROM range(1000000000) a, range(1000000000) b", rows=1, seconds=0.3)
    assert time.monotonic() - began < 10
    assert reader.typed("SELECT 1 AS one", rows=1).to_pylist() == [{"one": 1}]


def test_what_spills_too_much_is_ended_and_leaves_no_file(
    small_run_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "cai.duckdb"
    path.write_bytes(small_run_file.read_bytes())
    monkeypatch.setattr("store.query.TYPED_MEMORY", "64MB")
    monkeypatch.setattr(watch, "SPILL", 8 * 2**20)
    opened = Store.open(path, read_only=True, memory="64MB")
    with (
        opened,
        opened.reader() as reader,
        pytest.raises(StoreError, match="was ended: it wrote more than 8 MiB aside"),
    ):
        reader.typed("SELECT range, hash(range) AS h FROM range(30000000) ORDER BY h", rows=10**9)
    assert [found.name for found in tmp_path.iterdir()] == ["cai.duckdb"]


def test_a_store_opened_twice_in_a_process_is_locked_once(small_run_file: Path, tmp_path: Path) -> None:
    path = tmp_path / "cai.duckdb"
    path.write_bytes(small_run_file.read_bytes())
    with Store.open(path) as one, Store.open(path, memory="200MB") as two, two.reader() as reader:
        one.update_run("run-a", reason="seen by both")
        assert reader.run("run-a")["reason"] == "seen by both"
