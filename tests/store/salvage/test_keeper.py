"""Commits are numbered, what is known of them is never ahead of the store, and the log is merged in the background."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import pytest

from store import schema
from store.db import Store
from store.errors import StoreDamaged, StoreError, StoreWriteFailed
from store.salvage import keeper
from store.salvage.known import known_path, log_path, read_known
from tests.store import rows
from tests.store.salvage.damage import NAME, ROOT, at, leave


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / NAME


def events(*numbers: int) -> dict[str, list[dict[str, object]]]:
    return {"events": [rows.event(number, "Noted", {}) for number in numbers]}


def numbered(path: Path) -> int:
    known = read_known(path)
    assert known is not None
    return known.commits


def merge(store: Store) -> None:
    with store._write_lock:
        store._keeper.merge()  # type: ignore[union-attr]


def until(what: str, true: object) -> None:
    end = time.monotonic() + 20
    while not true():  # type: ignore[operator]
        assert time.monotonic() < end, what
        time.sleep(0.01)


def test_each_commit_is_known_of_at_once_and_a_failed_one_is_not(path: Path) -> None:
    with Store.open(path) as store:
        assert not known_path(path).exists()  # nothing was committed, so that nothing can be missing
        store.append(events(0))
        assert numbered(path) == 1
        with pytest.raises(StoreError):
            store.append({"events": [rows.event(1, "Noted", {}), {**rows.event(2, "Noted", {}), "run_id": None}]})
        store._writer.execute("BEGIN")
        store._keeper.number()  # type: ignore[union-attr]
        store._writer.execute("ROLLBACK")
        store.merge_soon()
        until("merged", lambda: not log_path(path).exists())
        assert numbered(path) == 1
        store.append(events(1))
    assert numbered(path) == 3  # a number of a rollback is given to nobody
    assert known_path(path).stat().st_mode & 0o777 == 0o600
    Store.open(path).close()


def test_a_first_commit_that_could_not_begin_can_be_made_later(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise duckdb.IOException("No space left on device")

    with Store.open(path) as store:
        with monkeypatch.context() as patch:
            patch.setattr(keeper, "say", full)
            with pytest.raises(StoreWriteFailed, match="No space left"):
                store.append(events(0))
        store.append(events(0))
        assert numbered(path) == 1
    with Store.open(path) as store:
        assert len(store.reader().query("SELECT * FROM events")) == 1


def test_the_file_alone_has_what_was_committed_when_a_phase_ended(path: Path, tmp_path: Path) -> None:
    """Copied while the store is open: it is refused, says as of when it is, and everything up to then can be saved."""
    from store.salvage.rescue import salvage

    copy = tmp_path / "copy.duckdb"
    with Store.open(path) as store:
        store.append(events(*range(50)))
        store.merge_soon()
        until("merged", lambda: not log_path(path).exists())
        store.append(events(50))
        # By another process: closing any descriptor of the file would drop this one's lock on it.
        subprocess.run(["cp", str(path), str(copy)], check=True)
    with pytest.raises(StoreDamaged, match="a copy that was made while somebody wrote it") as caught:
        Store.open(copy)
    assert "1 commits can be read" in caught.value.hint
    assert salvage(copy, tmp_path / "saved")["tables"]["events"] == {"saved": 50, "lost": 0}
    shutil.copyfile(path, tmp_path / "closed.duckdb")
    with Store.open(tmp_path / "closed.duckdb") as store:  # made after it was closed, it is as good as the store
        assert len(store.reader().query("SELECT * FROM events")) == 51


def test_the_log_is_merged_without_being_asked(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper, "EVERY_S", 0.05)
    with Store.open(path) as store:
        for number in range(20):
            store.append(events(number))
        until("merged", lambda: not log_path(path).exists())
        assert len(store.reader().query("SELECT * FROM events")) == 20


def test_merging_waits_for_no_reader_and_no_reader_for_it(path: Path) -> None:
    with Store.open(path) as store, store.reader() as reader:
        store.append({"completions": [rows.completion(f"c{n}") for n in range(3000)]})
        slow = reader.in_order("SELECT *, seed AS ordinal FROM completions")
        next(slow)
        store.merge_soon()
        until("merged", lambda: not log_path(path).exists())
        assert sum(1 for _ in slow) == 2999


def filled(volume: Path, left: int) -> Path:
    """A file that leaves so many bytes of the volume."""
    other = volume / "other"
    other.write_bytes(bytes(shutil.disk_usage(volume).free - left))
    return other


def appended(store: Store) -> None:
    """Rows of three megabytes, which are in the log alone."""
    texts = [random.Random(n).randbytes(50_000).hex() for n in range(30)]
    store.append({"completions": [rows.completion(f"c{n}", text=text) for n, text in enumerate(texts)]})


@pytest.mark.integration
def test_a_volume_that_filled_up_costs_a_merge_and_not_the_open_store(volume: Path) -> None:
    path = volume / NAME
    with Store.open(path) as store, store.reader() as reader:
        appended(store)
        other = filled(volume, 2**19)
        merge(store)
        assert log_path(path).exists()
        assert reader.query("SELECT count(*) AS n FROM completions") == [{"n": 30}]
        store.reader().close()
        other.unlink()
        merge(store)
        assert not log_path(path).exists()


@pytest.mark.integration
def test_a_store_that_duckdb_gave_up_says_that_it_must_be_opened_again(
    volume: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = volume / NAME
    with Store.open(path) as store, store.reader() as reader:
        appended(store)
        other = filled(volume, 2**19)
        monkeypatch.setattr(keeper, "require_space", lambda *_: None)
        merge(store)
        for read in (store.reader, store._cursor, lambda: reader.query("SELECT count(*) FROM completions")):
            with pytest.raises(StoreError, match="must be opened again"):
                read()
        other.unlink()
        with pytest.raises(StoreWriteFailed) as caught:
            store.append(events(0))
        assert "this batch counts as not written" in caught.value.hint
        assert "start cai again, and continue with: cai resume" in caught.value.hint
    with Store.open(path) as store:
        assert store.reader().query("SELECT count(*) AS n FROM completions") == [{"n": 30}]


def test_a_copy_of_file_and_log_is_whole_where_a_merge_was_held_up(path: Path) -> None:
    """As it is where the process is gone between what it says of itself and the merge, too."""
    copy = path.parent / "copy" / NAME
    copy.parent.mkdir()
    with Store.open(path) as store:
        store.append({"runs": [rows.run()]})
        with store.reader() as reader, reader.as_of_now() as parts:
            list(parts("SELECT * FROM runs"))
            store.update_run("run-a", state="done")  # of a row that is still read as it was
            merge(store)
            subprocess.run(["cp", str(path), str(log_path(path)), str(copy.parent)], check=True)
    with Store.open(copy) as store:
        assert store.reader().query("SELECT state FROM runs") == [{"state": "done"}]


def test_a_merge_that_was_held_up_is_made_soon_after(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper, "AGAIN_S", 0.05)
    with Store.open(path) as store:
        store.append({"runs": [rows.run()]})
        with store.reader() as reader, reader.as_of_now() as parts:
            list(parts("SELECT * FROM runs"))
            store.update_run("run-a", state="done")
            store.merge_soon()
            until("held up", lambda: store._keeper._held_up)  # type: ignore[union-attr]
        until("merged", lambda: not log_path(path).exists())


def test_a_log_that_duckdb_merged_by_itself_and_went_on_with_is_not_dropped(path: Path) -> None:
    """Its file has more commits than when it was said last that somebody writes it."""
    copy = path.parent / "copy" / NAME
    copy.parent.mkdir()
    with Store.open(path) as store:
        store.append(events(0))
        store.append(events(1))
        store._writer.execute("CHECKPOINT")
        store.append(events(2))
        subprocess.run(["cp", str(path), str(log_path(path)), str(copy.parent)], check=True)
    at("wal", 0)(copy)
    with pytest.raises(StoreDamaged, match="a copy that was made while somebody wrote it") as caught:
        Store.open(copy)
    assert "2 commits can be read" in caught.value.hint
    at("wal", 0)(copy)
    with Store.open(copy) as store:
        assert len(store.reader().query("SELECT * FROM events")) == 3


def test_a_store_from_before_commits_were_counted_opens_and_gets_what_it_lacks(path: Path) -> None:
    with Store.open(path) as store:
        store.append(events(0))
    with duckdb.connect(str(path)) as raw:  # as an earlier version wrote it
        raw.execute("DROP SEQUENCE cai_commits")
    known_path(path).unlink()
    before = path.read_bytes()
    with Store.open(path, read_only=True) as store:
        assert len(store.reader().query("SELECT * FROM events")) == 1
    assert path.read_bytes() == before and not known_path(path).exists()
    with Store.open(path) as store:
        store.append(events(1))
    assert numbered(path) == 1


def test_two_stores_of_one_process_count_together(path: Path) -> None:
    with Store.open(path) as one, Store.open(path) as two:
        for number, store in enumerate([one, two, one, two]):
            store.append(events(number))
        assert numbered(path) == 4
        two.close()
        one.append(events(4))
    assert numbered(path) == 5
    with Store.open(path) as store:
        assert len(store.reader().query("SELECT * FROM events")) == 5


def test_what_is_known_and_is_no_longer_there_is_told_to_who_only_reads(path: Path) -> None:
    with Store.open(path) as store:
        store.append(events(0))
    path.unlink()
    for read_only in (True, False):
        with pytest.raises(StoreDamaged, match="is gone") as caught:
            Store.open(path, read_only=read_only)
        assert f"to begin anew without it, remove {known_path(path)} as well" in caught.value.hint
        assert "cai salvage" not in caught.value.hint
    assert [found.name for found in path.parent.iterdir()] == [f"{NAME}.commits"]


# Says how many it appended, and is killed at any point: between a commit and what is known of it as well.
KILLED = """
import os, random, sys, time
from pathlib import Path
from store import schema
from store.db import Store
from store.salvage import known
from tests.store import rows
keep = known.KnownFile.keep
def late(self, *args, **more):
    time.sleep(random.uniform(0, 0.004))
    keep(self, *args, **more)
known.KnownFile.keep = late
store = Store.open(Path(sys.argv[1]))
number = int(sys.argv[2])
while True:
    store.append({"events": [rows.event(number, "Noted", {})]})
    print(number, flush=True)
    number += 1
    if number % 7 == 0:
        store.merge_soon()
"""


@pytest.mark.integration
def test_a_kill_between_a_commit_and_what_is_known_of_it_refuses_no_good_store(path: Path) -> None:
    acknowledged, moments = -1, random.Random(5)
    for _ in range(6):
        process = subprocess.Popen(
            [sys.executable, "-c", KILLED, str(path), str(acknowledged + 1)],
            cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, text=True, stdout=subprocess.PIPE,
        )  # fmt: skip
        assert process.stdout is not None
        first = process.stdout.readline()
        time.sleep(moments.uniform(0, 0.1))
        process.send_signal(signal.SIGKILL)
        rest, _ = process.communicate()
        acknowledged = int((first + rest).split("\n")[:-1][-1])
        with Store.open(path, read_only=True) as store, store.reader() as reader:
            found = [row["seq"] for row in reader.query("SELECT seq FROM events ORDER BY 1")]
        assert found == list(range(len(found)))
        assert len(found) - 1 in (acknowledged, acknowledged + 1)
        acknowledged = len(found) - 1


@pytest.mark.integration
def test_the_copy_before_a_migration_of_what_a_kill_left_opens_by_itself(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave(path, merged=3, last=5)
    path.with_name(f"{NAME}.v{schema.VERSION}.backup.wal").write_text("of a copy that a kill broke off")
    old, steps = schema.VERSION, schema.STEPS
    monkeypatch.setattr(schema, "STEPS", (*steps, "ALTER TABLE samples ADD COLUMN note VARCHAR"))
    monkeypatch.setattr(schema, "VERSION", old + 1)
    Store.open(path).close()
    monkeypatch.undo()
    with Store.open(path.with_name(f"{NAME}.v{old}.backup"), read_only=True) as store:
        assert len(store.reader().query("SELECT * FROM events")) == 5


@pytest.mark.integration
def test_what_was_left_by_a_kill_is_closed_by_the_next_who_opens_it(path: Path) -> None:
    leave(path, merged=3, last=5)
    assert numbered(path) == 5
    Store.open(path).close()
    known_path(path).unlink()
    with Store.open(path) as store:  # closed, it needs nothing beside it
        assert len(store.reader().query("SELECT * FROM events")) == 5
