"""Stores that an earlier version wrote: opened, resumed and exported by today's code, row by row as it did itself."""

from __future__ import annotations

import json
import lzma
from pathlib import Path
from typing import Any

import pytest

from engine.run.engine import Engine
from store.db import Store
from store.export import export
from tests.engine.fakes import run_engine
from tests.engine.phases.test_preferences import Critical, rows_of
from tests.tui.cli.commands import as_json

BEFORE = Path(__file__).parent / "before"
DATA_SETS = ("sft", "samples", "judgements", "pairs", "revisions")


def store_of(name: str, folder: Path) -> Path:
    path = folder / f"{name}.duckdb"
    path.write_bytes(lzma.decompress((BEFORE / f"{name}.duckdb.xz").read_bytes()))
    return path


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def exported(path: Path, out: Path) -> dict[str, list[dict[str, Any]]]:
    """All rows that are exported of the store's run as JSON lines, by data set and split."""
    with Store.open(path, read_only=True) as store, store.reader() as reader:
        for what in DATA_SETS:
            export(reader, reader.latest_run_id() or "", what, "jsonl", out / what)
    return {f"{file.parent.name}.{file.stem}": lines(file) for file in out.rglob("*.jsonl")}


def exports_of_then() -> dict[str, list[dict[str, Any]]]:
    return {file.stem: lines(file) for file in (BEFORE / "exports").glob("*.jsonl")}


def resumed(path: Path, monkeypatch: pytest.MonkeyPatch) -> Engine:
    model = Critical()
    opened = run_engine(path, monkeypatch, model, resume="")
    # Nothing that an audited critic decided is kept: then that was done, and today it is an empty part of the stage.
    assert opened.outcome is not None and opened.outcome.state == "gate_failed", opened.outcome
    assert opened.outcome.reason.endswith("kept best-of pairs, pairs decided by an audited critic")
    assert len(model.generated) == 112 - 82  # what was paid for then is not paid for again
    return opened


def test_a_finished_run_is_exported_as_it_was(tmp_path: Path) -> None:
    found = exported(store_of("finished", tmp_path), tmp_path / "out")
    assert {what for name in found for what in DATA_SETS if name.startswith(what)} == set(DATA_SETS)
    assert found == exports_of_then()


@pytest.mark.parametrize("name", ["finished", "stopped"])
def test_its_status_is_what_it_was(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, found = as_json(capsys, "status", "--store", store_of(name, tmp_path))
    was = json.loads((BEFORE / f"{name}.status.json").read_text())
    gates, then = found.pop("gates"), was.pop("gates")
    assert (code, {key: found[key] for key in was}) == (0, was)
    for now, before in zip(gates, then, strict=True):
        results = {check["check_name"]: (check.pop("result"), check.pop("untested")) for check in now["evidence"]}
        for check, stored in zip(now["evidence"], before["evidence"], strict=True):
            assert check | {"passed": None} == stored | {"passed": None}
            result, why = results[check["check_name"]]
            assert (result == "not tested") == bool(why) and (result == "passed") == check["passed"]
            assert check["passed"] == stored["passed"] or (stored["passed"] and why)  # of then, but showing nothing
    added = {key: value for key, value in found.items() if key not in was}
    accepted = added.pop("acceptance")
    assert not accepted["audited"] and accepted["told"].endswith(
        ("quality not audited · not read by a person", "nothing accepted")
    )
    assert {one["kind"]: one["part"] for one in added.pop("good_among_accepted")} == {
        "instruction": None,
        "sample": None,
    }
    assert added.pop("readings")["read"] == 0
    assert added.pop("stand_ins") == {} and added.pop("gpus") is None
    assert added.pop("self_check") is None
    assert added == {}  # what later versions tell as well is known: the audits of then do not tell it


def test_a_stopped_run_goes_on_to_the_same_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = resumed(store_of("stopped", tmp_path), monkeypatch)
    found = rows_of(opened)
    opened.close()
    assert exported(tmp_path / "stopped.duckdb", tmp_path / "out") == exports_of_then()
    whole = run_engine(store_of("finished", tmp_path), monkeypatch, Critical(), resume="")
    wanted = rows_of(whole)
    whole.close()
    assert {table for table, rows in wanted.items() if not rows} == set()
    assert found == wanted
