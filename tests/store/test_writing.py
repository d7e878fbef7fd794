"""What the writer promises: whole batches, each row once, text as it was given, clear refusals."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from store.db import Store
from store.errors import NotFound, StoreError, StoreWriteFailed
from store.read import Reader
from store.text import restored, storable
from tests.store import rows


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "new folder" / "cai.duckdb") as opened:
        yield opened


@pytest.fixture
def reader(store: Store) -> Reader:
    return store.reader()


def count(reader: Reader, table: str) -> int:
    return int(reader.query(f"SELECT count(*) AS n FROM {table}")[0]["n"])


def test_appending_a_batch_again_changes_nothing(store: Store, reader: Reader) -> None:
    batch = rows.small_run()
    store.append(batch)
    before = {table: reader.query(f"SELECT * FROM {table} ORDER BY ALL") for table in batch}
    changed = rows.small_run(state="done", elapsed_s=99.0)
    store.append(changed)
    assert {table: reader.query(f"SELECT * FROM {table} ORDER BY ALL") for table in batch} == before


def test_put_replaces_the_whole_row(store: Store, reader: Reader) -> None:
    store.append({"verdicts": [rows.verdict("s1")], "audits": [rows.audit(threshold=0.5)]})
    store.put(
        {
            "verdicts": [rows.verdict("s1", "rejected", flags=["echo", "leak"]), rows.verdict("s2")],
            "audits": [rows.audit()],
        }
    )
    found = reader.query("SELECT subject_id, verdict, flags FROM verdicts ORDER BY 1")
    assert [(row["subject_id"], row["verdict"], row["flags"]) for row in found] == [
        ("s1", "rejected", ["echo", "leak"]),
        ("s2", "accepted", []),
    ]
    assert reader.query("SELECT threshold FROM audits") == [{"threshold": None}]


def test_equal_keys_in_one_call(store: Store, reader: Reader) -> None:
    pair = [rows.verdict("s1"), rows.verdict("s1", "rejected")]
    store.append({"verdicts": pair})
    assert reader.query("SELECT verdict FROM verdicts") == [{"verdict": "accepted"}]
    store.put({"verdicts": pair})
    assert reader.query("SELECT verdict FROM verdicts") == [{"verdict": "rejected"}]


def test_a_table_without_a_key_takes_every_row(store: Store, reader: Reader) -> None:
    store.append({"metrics": [rows.metric(), rows.metric()]})
    store.put({"metrics": [rows.metric()]})
    assert count(reader, "metrics") == 3


@pytest.mark.parametrize(
    ("bad", "says", "hint"),
    [
        ({"sample": [{}]}, "no table 'sample'", "did you mean 'samples'?"),
        ({"samples": [rows.sample("s2", "i1") | {"txt": "x"}]}, "no column 'txt'", ""),
        ({"samples": [{"run_id": "run-a", "sample_id": "s2"}]}, "samples.ordinal is required", ""),
        ({"samples": [rows.sample("s2", "i1", n_tokens="many")]}, "samples.n_tokens", "INTEGER"),
        ({"samples": [rows.sample("s2", "i1", n_tokens=2**40)]}, "samples.n_tokens", "INTEGER"),
        ({"runs": [rows.run("run-b", created_at=datetime(2026, 1, 1))]}, "runs.created_at", "UTC"),
        ({"runs": [rows.run("run-b", settings="not json")]}, "runs.settings", ""),
        ({"runs": [rows.run("run-b", settings={"x": object()})]}, "runs.settings", ""),
    ],
)
def test_one_bad_row_leaves_nothing_written(
    store: Store, reader: Reader, bad: dict[str, list[rows.Row]], says: str, hint: str
) -> None:
    with pytest.raises(StoreError) as caught:
        store.append({"completions": [rows.completion("q-1")], **bad})
    assert says in caught.value.title
    assert hint in caught.value.hint
    assert count(reader, "completions") == 0
    store.append({"completions": [rows.completion("q-1")]})
    assert count(reader, "completions") == 1


def test_a_statement_that_fails_undoes_the_batch(store: Store, reader: Reader) -> None:
    store._writer.execute("CREATE UNIQUE INDEX one_ordinal ON samples (ordinal)")
    store.append({"samples": [rows.sample("s1", "i1", ordinal=1)]})
    with pytest.raises(StoreWriteFailed) as caught:
        store.put({"events": [rows.event(1, "Noted", {})], "samples": [rows.sample("s2", "i1", ordinal=1)]})
    assert "defect of the program" in caught.value.hint
    assert count(reader, "events") == 0
    assert count(reader, "samples") == 1
    store.append({"events": [rows.event(1, "Noted", {})]})
    assert count(reader, "events") == 1


def test_update_run(store: Store, reader: Reader) -> None:
    store.append({"runs": [rows.run(), rows.run("run-b")]})
    store.update_run("run-a", state="done", elapsed_s=3, manifest={"b": 1, "a": [1, 2]}, reason="\ud800")
    changed, other = reader.run("run-a"), reader.run("run-b")
    assert (changed["state"], changed["elapsed_s"], changed["manifest"]) == ("done", 3.0, {"a": [1, 2], "b": 1})
    assert restored(changed["reason"]) == "\ud800"
    assert changed["updated_at"] > rows.T0
    assert (other["state"], other["updated_at"]) == ("running", rows.T0)
    store.update_run("run-a", fingerprint=None, updated_at=rows.T0)
    assert reader.run("run-a")["fingerprint"] is None
    assert reader.run("run-a")["updated_at"] == rows.T0


def test_update_run_refuses(store: Store, reader: Reader) -> None:
    store.append({"runs": [rows.run()]})
    with pytest.raises(NotFound):
        store.update_run("run-z", state="done")
    with pytest.raises(StoreError, match="no column 'stat'") as caught:
        store.update_run("run-a", stat="done")
    assert "'state'" in caught.value.hint
    with pytest.raises(StoreError, match="required"):
        store.update_run("run-a", state=None)


HOSTILE = (
    "nul \x00 in it",
    "\x1b[31mred\x1b]0;title\x07",
    "[bold]markup[/] [link=x]",
    "'; DROP TABLE runs; -- \\ \" % ? $1 {x}",
    "line\u2028separator\u2029 \r\n\t\x0b\x0c",
    "lone \ud83d and \udc00 surrogates",
    "pair as two: \ud83d\ude00",
    "\ufeffbom \ufffd \uffff \U0010ffff",
    "",
)


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_comes_back(store: Store, reader: Reader, text: str) -> None:
    store.append(
        {
            "completions": [rows.completion(f"q {text}", text=text, decoding={text: [text]})],
            "verdicts": [rows.verdict("s1", flags=[text, "plain"])],
        }
    )
    found = reader.completions([storable(f"q {text}")])[storable(f"q {text}")]
    assert restored(found["text"]) == text
    assert len(found["text"]) == len(text)
    assert {restored(key): [restored(item) for item in value] for key, value in found["decoding"].items()} == {
        text: [text]
    }
    assert [restored(flag) for flag in reader.query("SELECT flags FROM verdicts")[0]["flags"]] == [text, "plain"]
    json.dumps(found["text"], ensure_ascii=False).encode("utf-8")


@given(st.text(st.characters(exclude_characters=[chr(c) for c in range(0x10D800, 0x10E000)], exclude_categories=[])))
@settings(max_examples=100, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
def test_storable_is_reversible(text: str) -> None:
    kept = storable(text)
    kept.encode("utf-8")
    assert len(kept) == len(text)
    assert restored(kept) == text
    assert storable(kept) == kept


def test_json_columns_take_what_python_has(store: Store, reader: Reader) -> None:
    given_ = {
        "b": (1, 2),
        "a": Path("/x"),
        "when": rows.T0,
        "array": np.array([1.5, 2.5]),
        "number": np.float32(0.5),
        "nan": float("nan"),
        "inf": [-float("inf")],
        "ü": True,
    }
    store.append({"runs": [rows.run(settings=given_, overrides='{"text": "is taken as it is"}')]})
    run = reader.run("run-a")
    assert run["overrides"] == {"text": "is taken as it is"}
    kept = run["settings"]
    assert list(kept) == sorted(kept)
    assert kept["array"] == [1.5, 2.5]
    assert (kept["a"], kept["b"], kept["number"], kept["ü"]) == ("/x", [1, 2], 0.5, True)
    assert float(kept["inf"][0]) == -float("inf")
    assert float(kept["nan"]) != float(kept["nan"])
    assert datetime.fromisoformat(kept["when"]) == rows.T0


def test_times_are_utc_whatever_zone_they_came_in(store: Store, reader: Reader) -> None:
    there = datetime(2026, 7, 1, 12, tzinfo=timezone(timedelta(hours=5, minutes=30)))
    store.append({"runs": [rows.run(created_at=there)]})
    found = reader.run("run-a")["created_at"]
    assert found == there
    assert found.utcoffset() == timedelta(0)
    assert found.astimezone(UTC).hour == 6


def test_several_threads_write_at_once(store: Store, reader: Reader) -> None:
    store.append({"runs": [rows.run()]})
    failures: list[BaseException] = []

    def write(name: int) -> None:
        try:
            for number in range(10):
                store.append({"events": [rows.event(number, "Noted", {}, session_id=f"session-{name}")]})
                store.update_run("run-a", elapsed_s=float(number))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=write, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert count(reader, "events") == 40


def test_a_reader_sees_whole_batches_while_rows_are_written(store: Store) -> None:
    failures: list[BaseException] = []
    seen: list[int] = []
    written = threading.Event()

    def read() -> None:
        try:
            with store.reader() as own:
                while not written.is_set():
                    both = own.query(
                        "SELECT (SELECT count(*) FROM completions) AS a, (SELECT count(*) FROM samples) AS b"
                    )[0]
                    assert both["a"] == both["b"]
                    assert both["a"] % 20 == 0
                    seen.append(both["a"])
                    own.samples("run-a", limit=10)
                    own.status("run-a")
        except BaseException as error:
            failures.append(error)

    store.append({"runs": [rows.run()]})
    threads = [threading.Thread(target=read) for _ in range(2)]
    for thread in threads:
        thread.start()
    for batch in range(60):
        names = [f"{batch}-{number}" for number in range(20)]
        store.append(
            {
                "completions": [rows.completion(name) for name in names],
                "samples": [rows.sample(name, "i1") for name in names],
            }
        )
    written.set()
    for thread in threads:
        thread.join()
    assert not failures
    assert max(seen) > 0


def test_a_closed_store_says_so(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "cai.duckdb")
    reader = store.reader()
    store.close()
    store.close()
    reader.close()
    for use in (lambda: store.append({"runs": [rows.run()]}), store.reader, reader.runs):
        with pytest.raises(StoreError, match="is closed"):
            use()
    assert [path.name for path in tmp_path.iterdir()] == ["cai.duckdb"]


def test_renewing_replaces_all_that_a_run_has_and_nothing_else(tmp_path: Path) -> None:
    with Store.open(tmp_path / "a.duckdb") as store:
        mine = [rows.evaluation_result(), rows.evaluation_result("arithmetic")]
        store.append({"evaluation_results": [*mine, rows.evaluation_result(run_id="run-b")]})
        store.renew("run-a", {"evaluation_results": [rows.evaluation_result(n=7)]})
        found = store.reader().query("SELECT run_id, item_type, n FROM evaluation_results ORDER BY 1")
        assert [(row["run_id"], row["item_type"], row["n"]) for row in found] == [
            ("run-a", "all", 7),
            ("run-b", "all", 300),
        ]
        with pytest.raises(StoreError):
            store.renew("run-a", {"evaluation_results": [rows.evaluation_result() | {"n": None}]})
        store.renew("run-a", {"scorer_audits": []})
        assert store.reader().query("SELECT count(*) AS n FROM evaluation_results")[0]["n"] == 2
        store.renew("run-a", {"evaluation_results": []})
        assert store.reader().query("SELECT DISTINCT run_id AS r FROM evaluation_results") == [{"r": "run-b"}]


def test_renewing_may_be_narrowed_to_some_rows_of_a_table(tmp_path: Path) -> None:
    with Store.open(tmp_path / "a.duckdb") as store:
        store.append({"evaluation_results": [rows.evaluation_result(), rows.evaluation_result("arithmetic")]})
        one = [rows.evaluation_result("arithmetic", n=7)]
        store.renew("run-a", {"evaluation_results": one}, only={"evaluation_results": {"item_type": "arithmetic"}})
        found = store.reader().query("SELECT item_type, n FROM evaluation_results ORDER BY 1")
        assert [(row["item_type"], row["n"]) for row in found] == [("all", 300), ("arithmetic", 7)]
        with pytest.raises(StoreError, match="no column 'type'"):
            store.renew("run-a", {"evaluation_results": []}, only={"evaluation_results": {"type": "all"}})
