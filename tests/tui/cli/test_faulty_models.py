"""`cai run` and `cai doctor` with a model's folder: what is wrong is said in few lines, and no row of the store changes."""

from __future__ import annotations

import hashlib
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from store.db import Store
from tests.engine.models.files.faulty_folders import FAULTS, Fault, removed
from tests.engine.training.training_run import tiny_model
from tests.store import rows
from tests.tui.cli.commands import as_json, run_cai
from tests.tui.cli_fakes import RUN
from tui.host.terminal import Terminal


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("sound"))


@pytest.fixture
def folder(sound: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sound, tmp_path / "model"))


@pytest.fixture(autouse=True)
def streams_of_the_test(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command sends its process's descriptors to the log for good; here they stay what they are."""
    monkeypatch.setattr(Terminal, "take_over", lambda *_: None)


def of(at_load: bool) -> list[Any]:
    return [pytest.param(fault, id=fault.name) for fault in FAULTS if fault.at_load is at_load]


@pytest.mark.parametrize("fault", of(at_load=False))
def test_a_folder_that_is_seen_to_be_wrong_touches_no_store(
    folder: Path, store: Path, fault: Fault, capsys: pytest.CaptureFixture[str]
) -> None:
    fault.plant(folder)
    before = hashlib.sha256(store.read_bytes()).hexdigest()
    code, out, err = run_cai(capsys, "run", "--headless", "--model", folder, "--store", store)
    assert code == 1 and out == ""
    assert len(err.splitlines()) <= 3 and re.search(fault.says, err) and re.search(fault.advises, err)
    assert hashlib.sha256(store.read_bytes()).hexdigest() == before
    code, found = as_json(capsys, "run", "--model", folder, "--store", store.with_name("new.duckdb"))
    assert code == found["exit_code"] == 1 and re.search(fault.says, found["error"]["title"])
    assert not store.with_name("new.duckdb").exists()


@pytest.mark.integration
@pytest.mark.parametrize("fault", of(at_load=True))
def test_a_fault_in_the_weights_ends_the_run_and_changes_no_other(
    folder: Path, store: Path, fault: Fault, capsys: pytest.CaptureFixture[str]
) -> None:
    fault.plant(folder)
    code, out, err = run_cai(capsys, "run", "--headless", "--model", folder, "--store", store)
    told = [line for line in f"{out}{err}".splitlines() if "error:" in line]
    assert code == 1 and len(told) == 1 and re.search(fault.says, told[0]) and re.search(fault.advises, told[0])
    assert "Traceback" not in f"{out}{err}"
    with Store.open(store, read_only=True) as opened, opened.reader() as reader:
        [run] = [run for run in reader.query("SELECT * FROM runs") if run["run_id"] != RUN]
        assert run["state"] == "failed" and re.search(fault.says, run["reason"])
        kept = reader.query("SELECT sample_id FROM samples WHERE run_id = ?", [RUN])
    assert len(kept) == len(rows.small_run(RUN)["samples"])


def test_doctor_prints_a_table_or_json_and_refuses_what_is_faulty(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = tmp_path / "none.duckdb"
    code, out, _ = run_cai(capsys, "doctor", "--model", folder, "--store", store)
    assert code == 0 and "LlamaForCausalLM" in out and not store.exists()
    code, found = as_json(capsys, "doctor", "--model", folder, "--store", store)
    assert code == found["exit_code"] == 0 and found["self_check"]["path"] == "fast path"
    removed("model.safetensors")(folder)
    code, found = as_json(capsys, "doctor", "--model", folder, "--store", store)
    assert code == 1 and "no weights" in found["error"]["title"]
