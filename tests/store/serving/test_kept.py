"""What the owner of a store keeps of its answers: the same as if each statement ran, and run once for each change."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from store.db import Store, reading
from store.query import OwnCursor, Query
from store.serving import kept
from store.serving.attached import Attached
from store.serving.kept import Changes, KeptAnswers
from store.serving.turns import ReadingTurns
from tests.store import rows

COUNT = "SELECT count(*) AS n FROM samples WHERE run_id = ?"


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The statements that the owner ran for others, in the order in which they began."""
    found: list[str] = []
    real = OwnCursor.parts

    def parts(self: OwnCursor, sql: str, params: Any = None) -> Iterator[Any]:
        found.append(sql)
        return real(self, sql, params)

    monkeypatch.setattr(OwnCursor, "parts", parts)
    return found


@pytest.fixture
def store(small_run_file: Path, tmp_path: Path) -> Iterator[Store]:
    with Store.open(Path(shutil.copyfile(small_run_file, tmp_path / "cai.duckdb"))) as store:
        yield store


@pytest.fixture
def attached(store: Store) -> Iterator[Attached]:
    with reading(store.path) as found:
        assert isinstance(found, Attached)
        yield found


def n_of(reader: Query, sql: str = COUNT, *params: object) -> Any:
    return reader.query(sql, params or ["run-a"])[0]["n"]


def test_a_statement_runs_once_for_all_who_ask_until_its_table_changes(
    store: Store, attached: Attached, ran: list[str]
) -> None:
    with attached.reader() as one, attached.reader() as other:
        assert [n_of(one), n_of(other), n_of(one)] == [4, 4, 4] and len(ran) == 1
        assert n_of(one, COUNT, "run-b") == 0 and len(ran) == 2  # other values are another question
        store.append({"verdicts": [rows.verdict("more")]})
        assert n_of(other) == 4 and len(ran) == 2
        store.append({"samples": [rows.sample("more", "i1", ordinal=100)]})
        assert [n_of(other), n_of(one)] == [5, 5] and len(ran) == 3


def test_answers_from_memory_are_counted_like_others(
    attached: Attached, ran: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    counted: list[str] = []
    real = ReadingTurns.counted

    @contextmanager
    def watched(self: ReadingTurns) -> Iterator[None]:
        counted.append("begun")
        with real(self):
            yield

    monkeypatch.setattr(ReadingTurns, "counted", watched)
    with attached.reader() as reader:
        assert n_of(reader) == 4
        counted.clear()
        assert n_of(reader) == 4
    assert len(ran) == 1 and len(counted) == 1


def test_what_any_writer_of_the_file_commits_is_seen(store: Store, attached: Attached, ran: list[str]) -> None:
    with attached.reader() as reader, Store.open(store.path) as second:
        assert n_of(reader) == 4
        second.append({"samples": [rows.sample("more", "i1", ordinal=100)]})
        assert n_of(reader) == 5
        second.renew("run-a", {"samples": []})
        assert n_of(reader) == 0
        states = "SELECT count(*) AS n FROM runs WHERE state = 'paused' AND run_id = ?"
        assert n_of(reader, states) == 0
        second.update_run("run-a", state="paused")
        assert n_of(reader, states) == 1


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT count(*) AS n FROM samples WHERE now() > '2000-01-01'::TIMESTAMPTZ AND run_id = ?",
        "SELECT count(*) + 0 * random() AS n FROM samples WHERE run_id = ?",
        "SELECT count(*) AS n FROM samples WHERE current_timestamp > '2000-01-01'::TIMESTAMPTZ AND run_id = ?",
        "SELECT count(*) AS n FROM (FROM samples USING SAMPLE 2 ROWS) WHERE ? IS NOT NULL",
        "SELECT count(age('2000-01-01'::TIMESTAMP)) AS n FROM samples WHERE run_id = ?",
        "SELECT count(*) AS n FROM duckdb_memory() WHERE ? IS NOT NULL",
        "SELECT count(*) AS n FROM information_schema.tables WHERE ? IS NOT NULL",
        "SELECT 1 AS n WHERE ? IS NOT NULL",
    ],
)
def test_what_depends_on_more_than_tables_is_never_kept(sql: str, attached: Attached, ran: list[str]) -> None:
    with attached.reader() as reader:
        assert n_of(reader, sql) is not None and n_of(reader, sql) is not None
    assert len(ran) == 2


def test_nothing_typed_and_nothing_of_one_moment_is_kept(store: Store, attached: Attached, ran: list[str]) -> None:
    typed = "SELECT count(*) AS n FROM samples"
    with attached.reader() as reader:
        assert [reader.typed(typed, rows=5).num_rows for _ in range(2)] == [1, 1] and len(ran) == 2
        with reader.as_of_now() as parts:
            before = [table.to_pylist() for table in parts(typed)]
            store.append({"samples": [rows.sample("more", "i1", ordinal=100)]})
            assert [table.to_pylist() for table in parts(typed)] == before == [[{"n": 4}]]
        assert n_of(reader, f"{typed} WHERE run_id = ?") == 5


def test_a_commit_that_fails_loses_what_was_kept_and_nothing_else(
    store: Store, attached: Attached, ran: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with attached.reader() as reader:
        assert n_of(reader) == 4
        seen: list[int] = []

        def committed(number: int) -> None:
            seen.append(n_of(reader))  # what is committed and not told yet is not answered from memory
            raise KeyboardInterrupt

        monkeypatch.setattr(store._keeper, "committed", committed)
        with pytest.raises(KeyboardInterrupt):  # after the commit itself
            store.append({"samples": [rows.sample("more", "i1", ordinal=100)]})
        assert seen == [5] and n_of(reader) == 5 and n_of(reader) == 5 and len(ran) == 3


def test_answers_are_bounded_together_and_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "KEPT_BYTES", 120)
    monkeypatch.setattr(kept, "EACH_BYTES", 60)
    monkeypatch.setattr(kept, "ENTRY_BYTES", 0)
    changes = Changes()
    answers = KeptAnswers(changes, ["samples"])

    class Cursor:
        def tables_read(self, sql: str) -> frozenset[str]:
            return frozenset({"samples"})

    def tell(sql: str, *frames: bytes) -> None:
        question = answers.ask(Cursor(), sql, None)  # type: ignore[arg-type]
        for frame in frames:
            question.sent(frame)
        question.ended()

    def known(sql: str) -> list[bytes] | None:
        return answers.ask(Cursor(), sql, None).answer()  # type: ignore[arg-type]

    tell("a", b"1" * 20, b"2" * 20)
    tell("b", b"3" * 40)
    assert known("a") == [b"1" * 20, b"2" * 20]
    tell("c", b"4" * 40)  # b was asked for longest ago
    assert known("b") is None and known("a") is not None and known("c") is not None
    tell("large", b"5" * 40, b"6" * 40)
    assert known("large") is None and known("a") is not None
    for n in range(20):
        with changes.made(["samples"]):
            tell("a", bytes(n))  # neither kept nor answered while something is written
            assert known("a") is None
        assert known("a") is None and known("c") is None
        tell("a", bytes(n))
    assert known("a") == [bytes(19)]
    long = "a" * kept.ASKED
    tell(long, b"7")
    assert known(long) is None
    sizes = [len(key) + sum(map(len, frames)) for key, (_, frames) in answers._answers.items()]
    assert answers._bytes == sum(sizes) == len("a\0None") + 19


def test_which_tables_a_statement_rests_on(store: Store) -> None:
    with store.reader() as reader:
        cursor = reader._statements
        assert isinstance(cursor, OwnCursor)
        for sql, wanted in {
            "SELECT s.response FROM samples s JOIN verdicts v USING (run_id) WHERE s.run_id = $1": {"samples", "verdicts"},
            "SELECT (SELECT count(*) FROM pairs) FROM runs WHERE run_id IN (SELECT unnest(?::VARCHAR[]))": {"pairs", "runs"},
            "SELECT payload->>'$.a', row_number() OVER (ORDER BY seq) FROM store.main.events": {"events"},
            "SELECT nextval('commits') FROM samples": None,
            "SELECT * FROM samples, duckdb_settings()": None,
        }.items():  # fmt: skip
            assert cursor.tables_read(sql) == wanted, sql
