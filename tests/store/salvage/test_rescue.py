"""What is saved of a damaged store: all that can be read, an account of the rest, and the damaged files as they were."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from store.db import Store
from store.errors import StoreError, StoreLocked
from store.salvage.rescue import REPORT, salvage
from tests.store import rows
from tests.store.salvage.damage import DAMAGES, NAME, ROOT, batches, files_of, flipped
from tests.store.test_opening import HOLDER

pytestmark = pytest.mark.integration

# The damage, batches that are saved of 80, and how the report says what is lost: 41 are in the file, the rest in its log.
SAVED = [
    ("nothing", 80, ""),
    ("log, byte 4", 80, ""),  # in its beginning, which can be made anew
    ("log, byte 40", 41, "39 of 80 commits"),  # in its first entry, on which the others rest
    ("log, flipped at 40%", 58, "22 of 80 commits"),
    ("log, cut to 80%", 73, "7 of 80 commits"),
    ("log with bytes before it", 80, ""),
    ("log of another store", 41, "39 of 80 commits"),
    ("file, byte 9", 80, ""),
    ("file, byte 4100", 80, ""),
    ("file of another store", 20, "all 80 commits of the store that lay here: this is another one"),
    ("file copied alone", 41, "what was committed after 2"),
    ("what is known removed", 80, ""),
]


@pytest.mark.parametrize(("name", "saved", "lost"), SAVED)
def test_what_can_be_read_is_saved_and_what_cannot_is_counted(
    name: str, saved: int, lost: str, left: Path, whole: tuple[int, int, list[str]], tmp_path: Path
) -> None:
    path = shutil.copytree(left, tmp_path / "copy", ignore=shutil.ignore_patterns("*.sock")) / NAME
    DAMAGES[name](path)
    damaged = files_of(path)
    report = salvage(path, tmp_path / "new")
    assert files_of(path) == damaged
    assert report == json.loads((tmp_path / "new" / REPORT).read_text())
    assert sorted(found.name for found in (tmp_path / "new").iterdir()) == [NAME, REPORT]
    assert (report["tables"]["completions"], report["commits"]["saved"]) == ({"saved": 5 * saved, "lost": 0}, saved)
    assert report["tables"]["metrics"] == {"saved": saved, "lost": 0}  # the table without a key
    assert report["whole"] == (not lost)
    assert report["lost"].startswith(lost)
    n_texts, n_events, texts = batches(Path(report["store"]))
    assert (n_texts, n_events) == (5 * saved, saved)
    if "file of another" not in name:
        assert texts == whole[2][: 5 * saved]  # not only as many, but the same


def test_rows_behind_a_damaged_block_are_counted_and_the_runs_say_so(tmp_path: Path) -> None:
    path = tmp_path / NAME
    with Store.open(path) as store:
        texts = [random.Random(n).randbytes(1000).hex() for n in range(4000)]
        store.append(
            {"runs": [rows.run()], "completions": [rows.completion(f"c{n}", text=t) for n, t in enumerate(texts)]}
        )
    flipped("file", 0.3)(path)
    report = salvage(path, tmp_path / "new")
    of = report["tables"]["completions"]
    assert of["saved"] + of["lost"] == 4000
    assert of["saved"] > 0 < of["lost"]
    assert report["lost"] == f"{of['lost']:,} of 4,000 rows of completions"
    with Store.open(Path(report["store"])) as store, store.reader() as reader:
        assert len(reader.query("SELECT DISTINCT request_id FROM completions")) == of["saved"]
        (noted,) = reader.events("run-a")
        assert noted["payload"]["text"] == f"this store was saved from a damaged one, without {report['lost']}"


def test_what_is_no_damaged_store_is_left_alone(tmp_path: Path) -> None:
    path, out = tmp_path / NAME, tmp_path / "new"
    with pytest.raises(StoreError, match="there is no store"):
        salvage(path, out)
    path.write_bytes(b"not a database " * 2000)
    with pytest.raises(StoreError, match="nothing can be read"):
        salvage(path, out)
    assert not out.exists()
    out.mkdir()
    with pytest.raises(StoreError, match="is there already"):
        salvage(path, out)
    assert files_of(path) == {NAME: b"not a database " * 2000}


def test_a_store_of_an_older_schema_is_saved_and_migrated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from store import schema

    steps = schema.STEPS
    path = tmp_path / NAME
    with Store.open(path) as store:
        store.append(rows.small_run())
    monkeypatch.setattr(schema, "STEPS", (*steps, "ALTER TABLE samples ADD COLUMN note VARCHAR"))
    monkeypatch.setattr(schema, "VERSION", len(steps) + 1)
    report = salvage(path, tmp_path / "new")
    assert report["whole"]
    assert sorted(found.name for found in (tmp_path / "new").iterdir()) == [NAME, REPORT]
    with Store.open(Path(report["store"])) as store, store.reader() as reader:
        assert [row["note"] for row in reader.query("SELECT note FROM samples")] == [None] * 4


def test_a_store_that_somebody_works_on_is_not_touched(tmp_path: Path) -> None:
    path = tmp_path / NAME
    with Store.open(path) as store:
        store.append(rows.small_run())
        with pytest.raises(StoreError, match="already open in this process"):
            salvage(path, tmp_path / "new")
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with holder:
        assert holder.stdout is not None and holder.stdout.readline() == "open\n"
        with pytest.raises(StoreLocked, match=f"process {holder.pid}"):
            salvage(path, tmp_path / "new")
        holder.communicate("")
    assert not (tmp_path / "new").exists()
