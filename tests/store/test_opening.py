"""Opening: locks, versions, and paths that are no store."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from store import schema
from store.db import Store
from store.errors import StoreError, StoreLocked, StoreTooNew, StoreWriteFailed
from tests.store import rows

ROOT = Path(__file__).parents[2]

HOLDER = """
import sys
from pathlib import Path
from store.db import Store
with Store.open(Path(sys.argv[1])):
    print("open", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cai.duckdb"


@pytest.fixture
def holder(path: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "open\n"
    yield process
    process.kill()
    process.communicate()


@pytest.mark.parametrize("read_only", [False, True])
def test_a_store_in_use_names_the_process(path: Path, holder: subprocess.Popen[str], read_only: bool) -> None:
    with pytest.raises(StoreLocked) as caught:
        Store.open(path, read_only=read_only)
    assert f"process {holder.pid}" in caught.value.title
    assert str(path) in caught.value.title
    assert "kill" not in caught.value.hint
    assert "--store" in caught.value.hint


def test_a_killed_process_leaves_no_lock(path: Path, holder: subprocess.Popen[str]) -> None:
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    Store.open(path).close()


def test_reading_only(path: Path) -> None:
    with pytest.raises(StoreError, match="there is no store"):
        Store.open(path, read_only=True)
    assert not path.exists()
    with Store.open(path) as store:
        store.append(rows.small_run())
        with pytest.raises(StoreError, match="already open in this process"):
            Store.open(path, read_only=True)
    with Store.open(path, read_only=True) as store, store.reader() as reader:
        assert reader.latest_run_id() == "run-a"
        for write in (lambda: store.append(rows.small_run()), lambda: store.update_run("run-a", state="done")):
            with pytest.raises(StoreError, match="reading only"):
                write()


def test_what_is_let_go_is_given_back_by_a_thread_for_that(path: Path) -> None:
    with Store.open(path) as store, store.reader() as reader:
        assert reader.query("SELECT current_setting('allocator_background_threads') AS value")[0]["value"] is True
        at = "SELECT current_setting('allocator_bulk_deallocation_flush_threshold') AS value"
        assert reader.query(at)[0]["value"] == "976.5 KiB"


def test_paths_that_are_no_store(tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("not a database " * 1000)
    for bad, says in ((text, "is not a store"), (tmp_path, "is a folder"), (text / "below.duckdb", "cannot be opened")):
        with pytest.raises(StoreError) as caught:
            Store.open(bad)
        assert says in caught.value.title
        assert caught.value.hint
    assert text.read_text() == "not a database " * 1000


def test_a_folder_that_cannot_be_made() -> None:
    with pytest.raises(StoreError) as caught:
        Store.open(Path("/proc/none/cai.duckdb"))
    assert "/proc/none/cai.duckdb" in caught.value.title
    assert "the volume /proc" in caught.value.hint


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_write_permission(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(StoreError) as caught:
        Store.open(tmp_path / "cai.duckdb")
    tmp_path.chmod(0o700)
    assert "permission" in (caught.value.title + caught.value.hint).lower()


def test_a_damaged_file_is_left_as_it_is(path: Path) -> None:
    with Store.open(path) as store:
        store.append(rows.small_run())
    whole = path.read_bytes()
    damaged = whole[:4096] + b"\xff" * 8192 + whole[12288:]
    path.write_bytes(damaged)
    with pytest.raises(StoreError) as caught:
        Store.open(path)
    assert str(path) in caught.value.title
    assert path.read_bytes() == damaged


def test_another_programs_database_is_refused(path: Path) -> None:
    with duckdb.connect(str(path)) as other:
        other.execute("CREATE TABLE theirs (x INTEGER)")
    with pytest.raises(StoreError, match="not a store of cai"):
        Store.open(path)
    with duckdb.connect(str(path)) as other:
        assert other.execute("SELECT table_name FROM duckdb_tables()").fetchall() == [("theirs",)]


OTHER = """
import sys, duckdb
try:
    duckdb.connect(sys.argv[1]).close()
    print("free")
except duckdb.IOException as error:
    print("held" if "Could not set lock" in str(error) else error)
"""


@pytest.mark.parametrize("read_only", [True, False])
def test_one_process_may_open_a_store_twice_and_keeps_its_lock(path: Path, tmp_path: Path, read_only: bool) -> None:
    """Closing any descriptor of a file drops all of a process's locks on it, so both must share one."""

    def others() -> str:
        done = subprocess.run([sys.executable, "-c", OTHER, str(path)], capture_output=True, text=True, timeout=60)
        return done.stdout.strip() or done.stderr

    Store.open(path).close()
    link = tmp_path / "another name ?;'.duckdb"
    link.symlink_to(path)
    first = Store.open(path, read_only=read_only)
    second = Store.open(link, read_only=read_only)
    with pytest.raises(StoreError, match="already open in this process"):
        Store.open(path, read_only=not read_only)
    if not read_only:
        second.append({"runs": [rows.run("run-b")]})
        assert first.reader().run("run-b")
    second.close()
    assert others() == "held"
    first.reader().runs()
    first.close()
    assert others() == "free"


def test_a_newer_schema_is_refused(path: Path) -> None:
    Store.open(path).close()
    with duckdb.connect(str(path)) as later:
        later.execute("INSERT INTO cai_schema VALUES (?, now())", [schema.VERSION + 1])
    before = path.read_bytes()
    with pytest.raises(StoreTooNew) as caught:
        Store.open(path)
    assert f"schema {schema.VERSION + 1}" in caught.value.title
    assert "left as it is" in caught.value.hint
    assert path.read_bytes() == before


def add_step(monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    monkeypatch.setattr(schema, "STEPS", (*schema.STEPS, step))
    monkeypatch.setattr(schema, "VERSION", len(schema.STEPS))


def test_an_older_schema_is_migrated_after_a_copy(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = schema.VERSION
    with Store.open(path) as store:
        store.append(rows.small_run())
    add_step(monkeypatch, "ALTER TABLE samples ADD COLUMN note VARCHAR; CREATE TABLE extra (x INTEGER PRIMARY KEY)")
    with Store.open(path, read_only=True) as store, store.reader() as reader:  # looking at it is enough
        assert reader.sample("run-a", "s1")["response"] and store.read_only
    for _ in range(2):
        with Store.open(path) as store, store.reader() as reader:
            store.put({"samples": [rows.sample("s9", "i1", note="new")], "extra": [{"x": 1}]})
            assert len(reader.samples("run-a")) == 5
    backup = path.with_name(f"cai.duckdb.v{old}.backup")
    assert sorted(found.name for found in path.parent.iterdir()) == ["cai.duckdb", "cai.duckdb.commits", backup.name]
    assert backup.stat().st_mode & 0o777 == path.stat().st_mode & 0o777 == 0o600
    with duckdb.connect(str(backup)) as copy:
        assert copy.execute("SELECT max(version) FROM cai_schema").fetchall() == [(old,)]
        assert copy.execute("SELECT count(*) FROM samples").fetchall() == [(4,)]


@pytest.mark.integration
def test_a_migration_without_room_for_the_copy_and_the_change_begins_nothing(
    volume: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = volume / "cai.duckdb"
    with Store.open(path) as store:
        store.append(rows.small_run())
    free = shutil.disk_usage(volume).free
    (volume / "other").write_bytes(bytes(free - 2 * path.stat().st_size))  # room for both, and nothing beside
    before = {found.name: found.read_bytes() for found in volume.iterdir()}
    old = schema.VERSION
    add_step(monkeypatch, "ALTER TABLE samples ADD COLUMN note VARCHAR")
    with pytest.raises(StoreWriteFailed, match=f"schema {old}, and to bring it to {old + 1} takes") as caught:
        Store.open(path)
    assert "It was left as it is" in caught.value.hint and f"the volume {volume}" in caught.value.hint
    assert {found.name: found.read_bytes() for found in volume.iterdir()} == before
    (volume / "other").unlink()
    with Store.open(path) as store:
        assert store.reader().query("SELECT note FROM samples LIMIT 1") == [{"note": None}]
    assert path.with_name(f"cai.duckdb.v{old}.backup").exists()


def test_calls_made_before_prompts_were_compressed_are_found_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Step 9 copies both tables of calls: every row and the key must come through."""
    steps, calls = schema.STEPS, {"completions": [rows.completion(f"c{n}", prompt="long " * n) for n in range(300)]}
    calls["scores"] = [rows.score(f"q{n}", prompt="longer " * n) for n in range(300)]
    monkeypatch.setattr(schema, "STEPS", steps[:8])
    monkeypatch.setattr(schema, "VERSION", 8)
    with Store.open(path) as store, store.reader() as reader:
        store.append(calls)
        before = {table: reader.query(f"SELECT * FROM {table} ORDER BY request_id") for table in calls}
    before["scores"] = [row | {"readout": None} for row in before["scores"]]  # a column of step 10
    monkeypatch.undo()
    with Store.open(path) as store, store.reader() as reader:
        store.append(calls)  # found by their keys, so that nothing is there twice
        assert {table: reader.query(f"SELECT * FROM {table} ORDER BY request_id") for table in calls} == before
        told = reader.query(
            "SELECT DISTINCT compression FROM pragma_storage_info('scores') WHERE column_name = 'prompt'"
        )
        assert "ZSTD" in {row["compression"] for row in told}


def test_a_migration_that_fails_changes_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Store.open(path) as store:
        store.append(rows.small_run())
    steps, version = schema.STEPS, schema.VERSION
    add_step(monkeypatch, "ALTER TABLE samples ADD COLUMN note VARCHAR; SELECT * FROM nowhere")
    for _ in range(2):
        with pytest.raises(StoreWriteFailed, match="nowhere"):
            Store.open(path)
    names = [f"cai.duckdb.v{version}.backup", f"cai.duckdb.v{version}.backup-2"]
    assert all(path.with_name(name).exists() for name in names)
    monkeypatch.setattr(schema, "STEPS", steps)
    monkeypatch.setattr(schema, "VERSION", version)
    with Store.open(path) as store, store.reader() as reader:
        assert "note" not in reader.query("SELECT * FROM samples")[0]
        assert len(reader.samples("run-a")) == 4


def test_an_empty_file_is_named(path: Path) -> None:
    path.touch()
    with pytest.raises(StoreError, match="is an empty file"):
        Store.open(path)


def test_kill_9_while_a_store_is_created(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from store.db import Store\n"
        "print('ready', flush=True)\n"
        "for n in range(1000): Store.open(Path(sys.argv[1]) / f'{n}.duckdb').close()"
    )
    for number in range(4):
        folder = tmp_path / str(number)
        folder.mkdir()
        process = subprocess.Popen(
            [sys.executable, "-c", code, str(folder)], cwd=ROOT, text=True, stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(0.05 + 0.043 * number)
        process.kill()
        process.communicate()
        for found in folder.glob("[!.]*.duckdb"):
            with Store.open(found) as store:
                store.append(rows.small_run())


READER = """
import sys, time
from pathlib import Path
from store.db import Store
with Store.open(Path(sys.argv[1]), read_only=True):
    print("open", flush=True)
    time.sleep(float(sys.argv[2]))
"""


@pytest.mark.parametrize("seconds", [0.5, 60])
def test_who_writes_waits_a_moment_for_who_only_reads_the_file(path: Path, seconds: float) -> None:
    Store.open(path).close()
    reader = subprocess.Popen(
        [sys.executable, "-c", READER, str(path), str(seconds)], cwd=ROOT, text=True, stdout=subprocess.PIPE
    )
    try:
        assert reader.stdout is not None and reader.stdout.readline() == "open\n"
        began = time.monotonic()
        if seconds > 1:
            with pytest.raises(StoreLocked, match=f"process {reader.pid}"):
                Store.open(path)
            assert 2.0 <= time.monotonic() - began < 20.0
        else:
            with Store.open(path) as store:
                store.append({"runs": [rows.run()]})
    finally:
        reader.kill()
        reader.communicate()
