"""The command line: purity of --json, exit codes, errors without a traceback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from store.db import Store
from store.names import COMMON_PHASES
from tests.store import rows
from tests.tui.cli.commands import HOSTILE, as_json, child, run_cai
from tests.tui.cli_fakes import ROOT, RUN
from tests.tui.host.test_terminal import in_a_terminal
from tui.host.busy import there

# -- starting ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["--version"], ["run", "--pilot", "0", "--json"]])
def test_nothing_heavy_is_imported_for_help_and_usage(arguments: list[str]) -> None:
    program = (
        "import sys; from tui.cli.entry import main; main(sys.argv[1:]); "
        "heavy = {'duckdb', 'pyarrow', 'numpy', 'pydantic', 'textual', 'torch', 'rich', 'engine.run.engine', 'store.db'}; "
        "heavy &= set(sys.modules); "
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    ran = subprocess.run([sys.executable, "-c", program, *arguments], cwd=ROOT, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr


def test_the_control_center_needs_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run_cai(capsys)
    assert code == 2
    assert "cai run --headless" in err


def test_the_control_center_opens_in_a_terminal_and_leaves_it_clean(tmp_path: Path) -> None:
    """Pressing q once the first frame is there."""
    argv = [sys.executable, "-m", "tui.cli", "--store", str(tmp_path / "cai.duckdb")]
    code, shown = in_a_terminal(argv, cwd=ROOT, keys=(b"\x1b[?1004h", b"q"))
    assert code == 0, shown
    assert "\x1b[?1049l" in shown
    assert "Traceback" not in shown


# -- usage ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "--pilot", "3", "--target", "4"], "not allowed with"),
        (["run", "--pilot", "none"], "not a whole number"),
        (["run", "--set", "novalue"], "not KEY=VALUE"),
        (["run", "--until", "nowhere"], "invalid choice: 'nowhere'"),
        (["run", "--head"], "unrecognized arguments"),
        (["export", "--out", "x", "--format", "csv"], "invalid choice: 'csv'"),
        (["nonsense"], "invalid choice: 'nonsense'"),
    ],
)
def test_usage_errors_exit_2(capsys: pytest.CaptureFixture[str], arguments: list[str], words: str) -> None:
    code, out, err = run_cai(capsys, *arguments)
    assert code == 2
    assert out == ""
    assert words in err and "--help" in err
    code, found = as_json(capsys, *arguments)
    assert code == found["exit_code"] == 2
    assert words in found["error"]["title"]


def test_an_unknown_setting_names_the_nearest_and_starts_nothing(tmp_path: Path) -> None:
    path = tmp_path / "cai.duckdb"
    ran = child("run", "--headless", "--json", "--store", path, "--set", "response.temprature=0.5")
    found = json.loads(ran.stdout)
    assert ran.returncode == found["exit_code"] == 1
    assert "responses.temperature" in found["error"]["title"]
    assert not path.exists()


# -- reading -------------------------------------------------------------------------------------------------------------


def test_status_holds_what_a_script_needs(capsys: pytest.CaptureFixture[str], store: Path) -> None:
    code, found = as_json(capsys, "status", "--store", store)
    assert code == 0
    assert found["run"] == RUN and found["state"] == "gate_failed"
    assert [phase["name"] for phase in found["phases"]] == list(COMMON_PHASES)
    assert {"name", "passed", "evidence"} <= set(found["gates"][0])
    assert {"spec", "spec_sha256", "model", "seed", "counts", "elapsed_s"} <= set(found)


def test_the_store_comes_from_the_environment_and_before_or_after_the_command(
    capsys: pytest.CaptureFixture[str], store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert as_json(capsys, "--store", store, "status")[1]["run"] == RUN
    monkeypatch.setenv("CAI_STORE", str(store))
    assert as_json(capsys, "status")[1]["run"] == RUN
    assert as_json(capsys, "status", "--store", store.with_name("other"))[0] == 1


def test_runs_and_a_run_by_the_beginning_of_its_id(capsys: pytest.CaptureFixture[str], store: Path) -> None:
    _, found = as_json(capsys, "runs", "--store", store)
    assert [(run["run"], run["accepted"]) for run in found["runs"]] == [(RUN, 2)]
    assert as_json(capsys, "status", "run", "--store", store)[1]["run"] == RUN
    code, found = as_json(capsys, "status", "rnu-a", "--store", store)
    assert code == 1 and RUN in found["error"]["hint"]


def test_samples_are_filtered_limited_and_inert(capsys: pytest.CaptureFixture[str], store: Path) -> None:
    _, found = as_json(capsys, "samples", "--accepted", "--store", store)
    assert [sample["verdict"] for sample in found["samples"]] == ["accepted", "accepted"]
    assert found["samples"][0]["response"] == HOSTILE
    _, found = as_json(capsys, "samples", "--limit", "1", "--store", store)
    assert len(found["samples"]) == 1 and found["more"] is True
    code, out, _ = run_cai(capsys, "samples", "--store", store)
    assert code == 0
    assert "\x1b" not in out and "\x07" not in out and "\u202e" not in out
    assert "[red]x[/red]" in out


@pytest.mark.parametrize("arguments", [["status"], ["runs"], ["samples"]])
def test_what_people_read_has_no_control_codes_in_a_pipe(
    capsys: pytest.CaptureFixture[str], store: Path, arguments: list[str]
) -> None:
    code, out, err = run_cai(capsys, *arguments, "--store", store)
    assert (code, err) == (0, "")
    assert "\x1b" not in out
    assert out.strip()


@pytest.mark.parametrize("arguments", [["status"], ["resume"], ["samples"], ["recheck"], ["export", "--out", "x"]])
def test_a_store_that_is_not_there_is_not_made(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, arguments: list[str]
) -> None:
    path = tmp_path / "none.duckdb"
    code, found = as_json(capsys, *arguments, "--store", path)
    assert code == 1
    assert "there is no store" in found["error"]["title"] and "cai run" in found["error"]["hint"]
    assert list(tmp_path.iterdir()) == []


def test_a_store_in_use_is_read_and_who_wants_to_write_is_told_by_whom(store: Path) -> None:
    with Store.open(store):
        ran = child("status", "--json", "--store", store)
        assert (ran.returncode, ran.stderr) == (0, "")
        assert json.loads(ran.stdout)["run"] == RUN
        ran = child("preregister", "--json", "--store", store)
        assert "e in the room Evaluation, then p" in json.loads(ran.stdout)["error"]["hint"]
        ran = child("label", "s1", "good", "--json", "--store", store)
    assert "repeats are begun by this command alone" in there("repeat")  # which needs a trained run
    error = json.loads(ran.stdout)["error"]
    assert ran.returncode == 1
    assert f"process {os.getpid()}" in error["title"] and "room Samples (2)" in error["hint"]
    assert "reads works meanwhile" in error["hint"] and "kill" not in error["hint"]


def test_a_closed_pipe_is_quiet(store: Path) -> None:
    with Store.open(store) as opened:
        opened.append({"samples": [rows.sample(f"x{n}", "i1", RUN, response="words " * 200) for n in range(400)]})
    argv = [sys.executable, "-m", "tui.cli", "samples", "--limit", "400", "--store", str(store)]
    process = subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None and process.stderr is not None
    process.stdout.read(10)
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(30) == 0


def test_recheck_compares_and_exits_by_the_gate(
    capsys: pytest.CaptureFixture[str], store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check = {"name": "runaway share", "measured": 0.2, "lo": 0.1, "hi": 0.3, "n": 10, "op": "<", "threshold": 0.1,
             "untested": ""}  # fmt: skip
    asked: list[Any] = []

    def fake(_reader: Any, run_id: str, overrides: dict[str, str]) -> dict[str, Any]:
        asked.append((run_id, overrides))
        counts = {"sample": {"accepted": 1, "rejected": 1, "unsure": 0}}
        before = {"counts": counts, "checks": [{**check, "result": "passed", "subject_ids": []}], "result": "passed"}
        after = {"counts": counts, "checks": [{**check, "result": "failed", "subject_ids": ["s1"]}], "result": "failed"}
        return {"run": run_id, "spec": "spec", "overrides": overrides, "before": before, "after": after}

    monkeypatch.setattr("engine.analyses.offers.recheck", fake)
    code, found = as_json(capsys, "recheck", "--store", store, "--set", "gate.runaway_below=0.1")
    assert code == found["exit_code"] == 4
    assert asked == [(RUN, {"gate.runaway_below": "0.1"})]
    code, out, _ = run_cai(capsys, "recheck", "--store", store)
    assert code == 4
    assert "FAIL" in out and "nothing stored was changed" in out


def test_export_prints_the_files(store: Path, tmp_path: Path) -> None:
    out = tmp_path / "data"
    ran = child("export", "--store", store, "--what", "sft", "--format", "jsonl", "--out", out, "--json")
    found = json.loads(ran.stdout)
    assert ran.returncode == 0 and ran.stderr == ""
    assert str(out / "README.md") in found["files"]
    again_ = child("export", "--store", store, "--out", out)
    assert again_.returncode == 1
    assert "is there already" in again_.stderr and again_.stdout == ""


def test_a_snapshot_is_a_store_of_its_own(store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copy = tmp_path / "copies" / "copy.duckdb"
    with Store.open(store):
        ran = child("export", "--store", store, "--snapshot", copy, "--json")
    found = json.loads(ran.stdout)
    assert ran.returncode == 0 and found["snapshot"] == str(copy) and found["rows"]["samples"] == 4
    assert as_json(capsys, "samples", "--store", copy)[1] == as_json(capsys, "samples", "--store", store)[1]
    code, _, err = run_cai(capsys, "export", RUN, "--store", store, "--snapshot", tmp_path / "b.duckdb")
    assert code == 2 and "all runs" in err
    assert run_cai(capsys, "export", "--store", store, "--snapshot", copy)[0] == 1
    assert run_cai(capsys, "export", "--store", store)[0] == 2


def test_doctor_exits_by_health(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from engine.doctor import machine

    check = {"name": "torch", "state": "hung", "detail": "not imported", "elapsed_s": 60.0}
    monkeypatch.setattr(machine, "examine", lambda *_, **__: {"healthy": False, "checks": [check]})
    code, found = as_json(capsys, "doctor")
    assert code == found["exit_code"] == 1
    code, out, _ = run_cai(capsys, "doctor")
    assert code == 1 and "hung" in out


def test_what_can_be_read_of_a_damaged_store_is_saved(
    capsys: pytest.CaptureFixture[str], store: Path, tmp_path: Path
) -> None:
    code, found = as_json(capsys, "salvage", store, "--out", tmp_path / "saved")
    assert (code, found["whole"], found["tables"]["runs"]) == (0, True, {"saved": 1, "lost": 0})
    assert as_json(capsys, "status", "--store", found["store"])[1]["run"] == RUN
    held = store.read_bytes()
    store.write_bytes(held[:10] + b"damage" + held[16:])
    code, _, err = run_cai(capsys, "status", "--store", store)
    assert code == 1 and f"cai salvage {store} --out" in " ".join(err.split())
    code, out, _ = run_cai(capsys, "salvage", "--store", store, "--out", tmp_path / "again")
    assert code == 0
    assert "the block that names the file was made anew" in out and "runs: 1 saved, 0 lost" in out
    assert "nothing is known to be lost" in out
    assert store.read_bytes() == held[:10] + b"damage" + held[16:]
