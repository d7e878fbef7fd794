"""Who reads a store while another process works on it: the same answers, nothing written, and an end with a message."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import stat
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from store.db import Store, reading
from store.errors import NotFound, StoreError, StoreLocked
from store.serving import wire
from store.serving.attached import Attached
from store.serving.place import connected, places
from store.serving.service import AT_MOST, ReadingService
from tests.store.serving.owners import owned, write

ENDLESS = "SELECT sum(a.range * b.range) AS n FROM range(100000000) a, range(1000) b"


@pytest.fixture
def path(small_run_file: Path, tmp_path: Path) -> Path:
    return Path(shutil.copyfile(small_run_file, tmp_path / "cai.duckdb"))


def test_all_that_a_reader_asks_is_answered_alike(path: Path) -> None:
    def asked(store: Store | Attached) -> list[object]:
        with store.reader() as reader:
            run_id = reader.resolve("run")
            return [
                reader.status(run_id) | {"updated_at": None}, reader.runs(), reader.samples(run_id), reader.gates(run_id),
                reader.sample(run_id, "s1"), reader.events(run_id), reader.audits(run_id), reader.guard(run_id),
                reader.query("SELECT ? AS at, ? AS n, ? AS names", [datetime(2026, 1, 2, tzinfo=UTC), None, ["a", "b"]]),
                reader.column("SELECT $n + range FROM range(3)", {"n": 4}).to_pylist(),
                list(reader.in_order("SELECT ordinal, response FROM samples WHERE run_id = $1", [run_id])),
            ]  # fmt: skip

    with reading(path) as file:
        assert isinstance(file, Store)
        alone = asked(file)
    with owned(path), reading(path) as attached:
        assert isinstance(attached, Attached)
        assert asked(attached) == alone


def test_what_is_committed_is_seen_and_nothing_is_written(path: Path) -> None:
    with owned(path) as owner, reading(path) as store, store.reader() as reader:
        assert reader.count_samples("run-a") == 4
        write(owner, 2)
        assert reader.count_samples("run-a") == 6
        for sql in (
            "DELETE FROM samples",
            "SELECT 1; DROP TABLE runs",
            "CREATE TABLE a (b INT)",
            "COPY runs TO 'a.csv'",
        ):
            with pytest.raises(StoreError, match="one SELECT at a time"):
                reader.query(sql)
        with pytest.raises(StoreError, match="Table with name nowhere does not exist"):
            reader.query("SELECT * FROM nowhere")
        with pytest.raises(NotFound):
            reader.resolve("elsewhere")
        for sql in (f"SELECT * FROM read_text('{path}')", "SELECT getenv('HOME')"):
            with pytest.raises(StoreError, match="not allowed in a console"):
                reader.typed(sql, rows=1)
        with pytest.raises(StoreError):  # past the lists, as a reader of another make could ask
            reader.query(f"SELECT * FROM read_text('{path}')")
        assert reader.count_samples("run-a") == 6


def test_a_run_that_goes_on_is_said_to_go_on(path: Path) -> None:
    with owned(path) as owner, reading(path) as store, store.reader() as reader:
        assert reader.owner == owner.pid != os.getpid()


def test_a_query_is_ended_by_its_reader_its_time_and_its_size(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Store.open(path), reading(path) as store, store.reader() as reader:
        assert isinstance(store, Attached)  # its own process's threads answer, whose bounds can be set here
        threading.Timer(0.3, reader.interrupt).start()
        with pytest.raises(StoreError, match="the query was ended"):
            reader.query(ENDLESS)
        assert reader.query("SELECT 1 AS one") == [{"one": 1}]
        with pytest.raises(StoreError, match="longer than 0.5 s"):
            reader.typed(ENDLESS, rows=1, seconds=0.5)
        monkeypatch.setattr("store.serving.service.SECONDS", 0.5)
        with pytest.raises(StoreError, match="longer than 0.5 s"):
            reader.query(ENDLESS)
        monkeypatch.setattr("store.serving.service.ROWS", 5_000)
        with pytest.raises(StoreError, match="more than 5,000 rows") as caught:
            reader.query("SELECT range FROM range(20000)")
        assert "--snapshot" in caught.value.hint
        assert len(reader.query("SELECT range FROM range(5000)")) == 5_000


def test_a_reader_that_goes_away_leaves_no_query_behind(path: Path) -> None:
    with Store.open(path):
        with reading(path) as store:
            reader = store.reader()

            def ask() -> None:
                with pytest.raises(StoreError):
                    reader.query(ENDLESS)

            thread = threading.Thread(target=ask)
            thread.start()
            time.sleep(0.3)
            reader.interrupt()
            thread.join(10)
        until = time.monotonic() + 10
        while any(thread.name == "reader" for thread in threading.enumerate()):
            assert time.monotonic() < until
            time.sleep(0.02)


def test_what_is_held_at_one_moment_is_not_read_on_at_another(path: Path) -> None:
    with Store.open(path), reading(path) as store, store.reader() as reader:
        with pytest.raises(StoreError, match="is gone"), reader.as_of_now() as parts:
            reader.interrupt()
            list(parts("SELECT 1 AS one"))
        assert reader.query("SELECT 1 AS one") == [{"one": 1}]


def test_a_store_is_not_held_at_one_moment_for_who_asks_for_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("store.serving.service.HELD_IDLE_S", 0.2)
    with Store.open(path), reading(path) as store, store.reader() as reader:
        with pytest.raises(StoreError, match="is gone"), reader.as_of_now() as parts:
            assert [part.num_rows for part in parts("SELECT 1 AS one")] == [1]
            time.sleep(1)
            list(parts("SELECT 1 AS one"))
        assert reader.query("SELECT 1 AS one") == [{"one": 1}]


def test_the_rest_of_an_answer_is_not_waited_for(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("store.serving.service.HELD_SECONDS", 2.0)  # after which an answer to its end would be an error
    with Store.open(path) as own, reading(path) as attached:
        for store in (own, attached):
            with store.reader() as reader:
                with pytest.raises(ZeroDivisionError), reader.as_of_now() as parts:
                    left = parts("SELECT range FROM range(1000000000000)")
                    assert next(left).num_rows > 0
                    raise ZeroDivisionError
                assert reader.query("SELECT 1 AS one") == [{"one": 1}]
                with pytest.raises(StoreError):
                    next(left)
                assert reader.query("SELECT 2 AS two") == [{"two": 2}]


def test_the_owner_closes_although_somebody_reads(path: Path) -> None:
    store = Store.open(path)
    with reading(path) as attached, attached.reader() as reader:
        closing = threading.Timer(0.3, store.close)
        closing.start()
        with pytest.raises(StoreError) as caught:
            reader.query(ENDLESS)
        closing.join()
        assert "kill" not in caught.value.hint
    assert not any(place.exists() for place in places(path))
    with reading(path) as file:
        assert isinstance(file, Store)


def test_a_store_is_closed_whatever_its_readers_threads_do(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cursor = (store := Store.open(path))._cursor()
    cursor.close()
    cursor.interrupt()  # as the end of the service does, while the thread closes its cursor

    start = threading.Thread.start

    def none_for_readers(thread: threading.Thread) -> None:
        if thread.name == "reader":
            raise RuntimeError("can't start new thread")
        start(thread)

    with monkeypatch.context() as patched:
        patched.setattr("store.db.PATIENCE_S", 0.1)
        patched.setattr(threading.Thread, "start", none_for_readers)
        for _ in range(2):
            assert Attached.to(path) is None
    with reading(path) as attached:
        assert isinstance(attached, Attached)
    store.close()

    def fails(service: ReadingService) -> None:
        close(service)
        raise RuntimeError("a thread")

    close = ReadingService.close
    monkeypatch.setattr(ReadingService, "close", fails)
    with pytest.raises(RuntimeError, match="a thread"), Store.open(path):
        pass
    with reading(path) as file:
        assert isinstance(file, Store)


def test_a_killed_owner_ends_its_readers_with_a_message_and_the_store_opens(path: Path) -> None:
    with owned(path) as owner, reading(path) as store, store.reader() as reader:
        write(owner, 3)
        write(owner, 100_000, wait=False)
        threading.Timer(0.3, owner.send_signal, [signal.SIGKILL]).start()
        with pytest.raises(StoreError, match=f"process {owner.pid} that had the store .* is gone") as caught:
            while True:
                reader.samples("run-a")
        assert "kill" not in caught.value.hint
        owner.wait()
        assert next(places(path)).is_socket()  # left behind, and no hindrance
        with reading(path) as file, file.reader() as own:
            assert isinstance(file, Store) and own.count_samples("run-a") >= 7
            counted = own.query("SELECT (SELECT count(*) FROM samples) AS a, (SELECT count(*) FROM verdicts) AS b")
            assert counted[0]["a"] == counted[0]["b"]
    with Store.open(path), reading(path) as attached:
        assert isinstance(attached, Attached)


def test_a_suspended_owner_is_told_as_suspended(path: Path) -> None:
    with owned(path) as owner:
        owner.send_signal(signal.SIGSTOP)
        with pytest.raises(StoreLocked, match=rf"process {owner.pid} \(.*\), which is suspended") as caught:
            reading(path)
        assert "fg" in caught.value.hint and "kill" not in caught.value.hint
        with pytest.raises(StoreLocked, match="suspended"):
            Store.open(path)
        owner.send_signal(signal.SIGCONT)
        with reading(path) as store, store.reader() as reader:
            assert isinstance(store, Attached)
            assert reader.query("SELECT 1 AS one") == [{"one": 1}]
            with reader.as_of_now() as parts:
                list(parts("SELECT 1 AS one"))
                owner.send_signal(signal.SIGSTOP)
                with pytest.raises(StoreLocked, match="which is suspended"):
                    list(parts("SELECT 2 AS two"))
            with pytest.raises(StoreLocked, match="which is suspended"):
                reader.query("SELECT 2 AS two")
            owner.send_signal(signal.SIGCONT)
            assert reader.query("SELECT 2 AS two") == [{"two": 2}]


def test_an_owner_that_answers_too_late_is_not_waited_for(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("store.serving.attached.GRACE_S", 0.5)
    monkeypatch.setattr("store.serving.attached.SECONDS", 0.0)
    with Store.open(path), reading(path) as store, store.reader() as reader:
        with pytest.raises(StoreLocked, match="is in use by process") as caught:
            reader.query(ENDLESS)
        assert "does not answer" in caught.value.hint
        assert reader.query("SELECT 1 AS one") == [{"one": 1}]


def test_an_owner_that_serves_nobody_is_named_after_a_moment(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("store.db.PATIENCE_S", 0.1)
    with owned(path) as owner:
        next(places(path)).unlink()
        with pytest.raises(StoreLocked, match=f"process {owner.pid}") as caught:
            reading(path)
    assert "lets nobody read" in caught.value.hint


def test_another_version_is_told_before_anything_is_asked(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with owned(path):
        monkeypatch.setattr(wire, "PROTOCOL", wire.PROTOCOL + 1)
        with pytest.raises(StoreError, match="another version of cai"):
            reading(path)


def test_nonsense_and_too_many_connections_harm_nobody(path: Path) -> None:
    with Store.open(path), reading(path) as store, store.reader() as reader:
        for said in (b"GET / HTTP/1.1\r\n\r\n", b"J\x00\x00\x00\x02[]", b"J\xff\xff\xff\xff", b"J\x00\x00\x00\x0a"):
            connection = connected(path, 5)
            assert connection is not None
            with connection:
                wire.receive_json(connection)
                connection.sendall(said)
        with pytest.raises(StoreError, match="knows no"):
            list(reader._statements._asked({"do": "write"}))  # type: ignore[attr-defined]
        held: list[Attached | None] = []
        with pytest.raises(StoreLocked, match="at this moment"):
            held.extend(Attached.to(path) for _ in range(AT_MOST + 1))
        for one in held:
            assert one is not None
            one.close()
        assert reader.query("SELECT 1 AS one") == [{"one": 1}]


def test_the_socket_is_its_owners_alone_and_short_where_the_folder_is_deep(path: Path, tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 60) / ("e" * 60) / "cai.duckdb"
    deep.parent.mkdir(parents=True)
    shutil.copyfile(path, deep)
    for store in (path, deep):
        with Store.open(store):
            place = next(places(store))
            assert stat.S_IMODE(place.stat().st_mode) == 0o600
            assert (place.parent == store.parent) is (store == path)
            if store == deep:
                assert stat.S_IMODE(place.parent.stat().st_mode) == 0o700
            with reading(store) as attached:
                assert isinstance(attached, Attached)
        assert not place.exists()


def test_a_file_with_the_sockets_name_is_left_alone(path: Path) -> None:
    beside = next(places(path))
    beside.write_text("somebody's")
    with Store.open(path), reading(path) as attached:
        assert isinstance(attached, Attached)
    assert beside.read_text() == "somebody's"


def test_a_socket_that_is_the_stores_no_more_is_replaced(path: Path) -> None:
    beside = next(places(path))
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(beside))
    with reading(path) as file:
        assert isinstance(file, Store)
    with Store.open(path), Store.open(path), reading(path) as attached:
        assert isinstance(attached, Attached)
