"""Text of models in everything that is written to files: no line too many, no formula, no markup, no other's eyes."""

from __future__ import annotations

import csv
import json
import os
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from store import disk
from store.db import Store
from store.disk import sweep, whole_file, whole_folder
from store.errors import StoreError
from store.export import export
from store.inert.markdown import inline, prose
from store.inert.spreadsheet import cell, lines
from tests.store import rows
from tests.store.test_export import jsonl

ENDS = "a\nb\rc\x0bd\x0ce\x1cf\x1dg\x1eh\x85i\u2028j\u2029k"
LIVE = "![x](http://evil.example/p.png) [go](javascript:alert(1)) <script> <img src=x> https://evil.example www.evil.example"
LIVE_TOKENS = {"link_open", "image", "html_inline", "html_block", "fence", "code_inline", "code_block"}
ROOT = Path(__file__).parents[2]


def kinds(markdown: str) -> list[str]:
    """What a renderer of Markdown finds in a text."""
    found = MarkdownIt("commonmark", {"html": True}).enable("table").parse(markdown)
    return [token.type for block in found for token in (block, *(block.children or ()))]


def live(markdown: str) -> set[str]:
    return LIVE_TOKENS & set(kinds(markdown))


def test_a_reader_that_splits_lines_gets_as_many_as_there_are_rows(small_store: Store, tmp_path: Path) -> None:
    small_store.put({"samples": [rows.sample("s1", "i1", response=ENDS)]})
    export(small_store.reader(), "run-a", "samples", "jsonl", tmp_path / "out")
    for path in (tmp_path / "out").glob("*.jsonl"):
        text = path.read_text(encoding="utf-8")
        assert len(text.splitlines()) == text.count("\n") == len(jsonl(path))
    assert jsonl(tmp_path / "out" / "train.jsonl")[0]["response"] == ENDS


@pytest.mark.parametrize(
    "text",
    [
        "=1+1", "+1", "-1", "@SUM(A1)", " =1", "\t=1", "\r=1", "\n=1", "\x00=1", '"=1', "'=1", "\uff1d1", "\uff0b1",
        '=HYPERLINK("http://evil.example","x")', "=cmd|' /C calc'!A0", "\u00a0=1", "\ufeff=1", "\u200b=1",
    ],
)  # fmt: skip
def test_no_cell_of_a_csv_is_a_formula(text: str) -> None:
    found = cell(text)
    assert found[0] not in "=+-@\t\r\n \uff1d\uff0b" and "\x00" not in found and "\ufeff" not in found
    [read] = csv.reader([lines([[text]])])
    assert read == [found]


def test_numbers_and_plain_texts_are_written_as_they_are() -> None:
    assert [cell(value) for value in (-1, -1.5, None, True, "a = b", "1-2", "")] == [
        -1,
        -1.5,
        None,
        True,
        "a = b",
        "1-2",
        "",
    ]
    assert cell(["=1"]) == '["=1"]' and cell({"a": "\x1b[2J"}) == '{"a": "\\u001b[2J"}'
    assert cell("\x1b]0;title\x07") == "␛]0;title␇"


def test_the_card_shows_hostile_text_of_every_carrier_as_text(small_store: Store, tmp_path: Path) -> None:
    """Names, notes of the run, critics and checks: whatever stands in a card that a model or a file's name can say."""
    hostile = f"{LIVE} | `x` **b** \x1b[2J\u202e\n# heading"
    small_store.update_run(
        "run-a", model=hostile, spec=hostile, reason=hostile, overrides={hostile: [hostile, "b"]},
        manifest={"constitution": {"version": hostile, "principles": [1], "sha256": hostile}, "model_license": hostile},
    )  # fmt: skip
    small_store.put(
        {
            "events": [rows.event(99, "Noted", {"level": "warning", "text": hostile})],
            "gates": [rows.gate(hostile, passed=False)],
            "instructions": [rows.instruction("i1", split=hostile)],
        }
    )
    export(small_store.reader(), "run-a", "samples", "parquet", tmp_path / "out", verdicts=["rejected"])
    card = (tmp_path / "out" / "README.md").read_text()
    body = card.split("---\n", 2)[2]
    assert body.count("evil.example") > 10
    assert live(body) == set()
    assert kinds(body).count("heading_open") == body.count("\n#") and "\n# heading" not in body
    for sign in ("\x1b", "\u202e", "https:", "www.e", "**b"):
        assert sign not in body, sign
    wide = {line.replace("\\|", "").count("|") for line in body.splitlines() if line.startswith("| ")}
    assert wide <= {3, 4, 5, 8, 12}


def test_markdown_of_models_is_inert_in_one_line_and_in_many() -> None:
    for found in (inline(LIVE), prose(f"- one\n{LIVE}\n[ref]: javascript:x\n# no heading\n```\n<!-- -->")):
        assert not live(found) | {kind for kind in kinds(found) if kind == "heading_open"}
        assert "https:" not in found and "www.e" not in found  # which some renderers take for links by themselves
    assert prose("- *one*\n- two") == "- *one*\n- two"
    assert inline("0.5 and 2026. 1.") == "0.5 and 2026. 1."
    assert inline("1. first") == "1\\. first"


@pytest.mark.parametrize("fmt", ["jsonl", "parquet", "hf"])
def test_an_export_is_for_its_owner_alone(small_store: Store, tmp_path: Path, fmt: str) -> None:
    before = os.umask(0)
    try:
        export(small_store.reader(), "run-a", "sft", fmt, tmp_path / "out")  # type: ignore[arg-type]
        with whole_file(tmp_path / "a.csv") as aside:
            aside.write_text("a")
    finally:
        os.umask(before)
    found = [tmp_path / "out", *(tmp_path / "out").rglob("*"), tmp_path / "a.csv"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in found if path.is_dir()} == {0o700}
    assert {stat.S_IMODE(path.stat().st_mode) for path in found if path.is_file()} == {0o600}


def test_a_new_store_and_its_log_are_for_their_owner_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with Store.open(tmp_path / "s.duckdb") as store:
            store.append(rows.small_run())
            log = tmp_path / "s.duckdb.wal"
            assert stat.S_IMODE(log.stat().st_mode) == stat.S_IMODE(store.path.stat().st_mode) == 0o600
            store.path.chmod(0o640)  # shared on purpose
            store.update_run("run-a", reason="x")
            assert stat.S_IMODE(log.stat().st_mode) == 0o640
    finally:
        os.umask(before)


KILLED = """
import sys, time
from pathlib import Path
from store.disk import whole_file, whole_folder
with whole_folder(Path(sys.argv[1]) / "set") as folder, whole_file(Path(sys.argv[1]) / "a.csv") as file:
    (folder / "part.jsonl").write_text("x")
    print("writing", flush=True)
    time.sleep(600)
"""


def test_what_a_killed_export_left_goes_at_the_next_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stdout.readline() == "writing\n"
    left = sorted(tmp_path.iterdir())
    assert len(left) == 2 and all(path.name.endswith(".cai-aside") for path in left)
    other = tmp_path / ".mine.partial"
    other.mkdir()
    monkeypatch.setattr(disk, "_YOUNG_S", 0.0)
    time.sleep(0.05)
    sweep(tmp_path)
    assert all(path.exists() for path in left), "its writer lives"
    process.kill()
    process.communicate()
    Store.open(tmp_path / "s.duckdb").close()
    assert sorted(path.name for path in tmp_path.iterdir()) == [".mine.partial", "s.duckdb"]


def test_what_another_host_is_writing_stays_for_a_day(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with disk.aside(tmp_path / "set") as mine:
        name = mine.name
    there = tmp_path / name.replace(socket.gethostname(), "another-node")
    there.mkdir()  # its lock is not seen here, as on disks whose locks are each node's own
    an_hour_ago, yesterday = time.time() - 3600, time.time() - 90_000
    os.utime(there, (an_hour_ago, an_hour_ago))
    sweep(tmp_path)
    assert there.name != name and there.exists()
    os.utime(there, (yesterday, yesterday))
    sweep(tmp_path)
    assert not there.exists()


def test_a_name_taken_while_a_file_is_written_is_left_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(FileExistsError), whole_file(tmp_path / "a.csv") as aside:
        aside.write_text("new")
        (tmp_path / "a.csv").write_text("old")
    with pytest.raises(ZeroDivisionError), whole_folder(tmp_path / "b") as folder:
        (folder / "x").write_text(json.dumps(1 // 0))
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("a.csv", "old")]


def test_what_is_no_file_is_refused_at_once(tmp_path: Path) -> None:
    import socket
    import sqlite3

    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to(tmp_path / "fifo")
    bound = socket.socket(socket.AF_UNIX)
    bound.bind(str(tmp_path / "socket"))
    with sqlite3.connect(tmp_path / "sqlite") as other:
        other.execute("CREATE TABLE a (b)")
    other.close()
    began = time.monotonic()
    for name, says in (
        ("fifo", "is a FIFO, not a store"), ("link", "is a FIFO, not a store"), ("socket", "is a socket, not a store"),
        ("sqlite", "is an SQLite database, not a store"), (".", "is a folder, not a store"),
        ("/dev/null", "is a device, not a store"),
    ):  # fmt: skip
        for read_only in (True, False):
            with pytest.raises(StoreError) as caught:
                Store.open(tmp_path / name, read_only=read_only)
            assert says in caught.value.title and caught.value.hint
    assert time.monotonic() - began < 20
    bound.close()
