"""What is typed wrong is refused as a wrong value, by the right exit code, and what was meant is named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from store.db import Store
from tests.store import rows
from tests.tui.cli.commands import as_json, child, run_cai


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (["statsu"], "status"),
        (["smaples"], "samples"),
        (["review", "lsit"], "list"),
        (["run", "--heedless"], "--headless"),
        (["run", "--sede=3"], "--seed"),
        (["export", "--out", "x", "--what", "smaples"], "samples"),
        (["train", "sff"], "sft"),
    ],
)
def test_a_mistyped_word_names_the_one_that_was_meant(
    capsys: pytest.CaptureFixture[str], arguments: list[str], meant: str
) -> None:
    code, found = as_json(capsys, *arguments)
    assert code == 2
    assert f"did you mean '{meant}'?" in found["error"]["title"]


def test_a_word_near_nothing_names_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert "did you mean" not in as_json(capsys, "xqzzy")[1]["error"]["title"]


def test_an_option_that_a_command_does_not_know_leads_to_the_help_of_that_command(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert as_json(capsys, "review", "list", "--al")[1]["error"]["hint"] == "see: cai review list --help"


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "--pilot", "99999999999999999999"],
        ["run", "--target", "9" * 5000],
        ["run", "--batch-size", "1000000001"],
        ["run", "--seed", str(2**63)],
        ["run", "--seed", "9" * 5000],
        ["samples", "--limit", "99999999999999999999"],
        ["plan", "--interim", "1", "2", "3", "99999999999999999999"],
    ],
    ids=["pilot", "target", "batch", "seed", "long seed", "limit", "interim"],
)
def test_a_number_that_no_column_holds_is_a_wrong_value(
    capsys: pytest.CaptureFixture[str], arguments: list[str], tmp_path: Path
) -> None:
    code, found = as_json(capsys, *arguments, "--store", tmp_path / "cai.duckdb")
    assert code == 2
    assert "is not a whole number" in found["error"]["title"] and len(found["error"]["title"]) < 200
    assert list(tmp_path.iterdir()) == []


@pytest.mark.integration
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("seed", str(2**63)), ("target", "99999999999999999999"), ("pilot", "2026-13-45"),
        ("critics.accept_above", ".inf"), ("responses.temperature", "9" * 400), ("critics.sample", "[" * 3000),
    ],
    ids=["64 bits", "digits", "a date", "infinity", "400 digits", "brackets"],
)  # fmt: skip
def test_a_setting_that_no_column_holds_is_a_wrong_value(key: str, value: str, tmp_path: Path) -> None:
    store = tmp_path / "cai.duckdb"
    ran = child("run", "--headless", "--json", "--set", f"{key}={value}", "--store", store)
    found = json.loads(ran.stdout)
    assert ran.returncode == found["exit_code"] == 1
    assert key in found["error"]["title"] and "unexpected" not in found["error"]["title"]
    assert len(found["error"]["title"]) < 400 and not store.exists()


@pytest.mark.parametrize("runs", [[], ["run-a"], ["run-a", "run-a"], ["nobody"]])
@pytest.mark.parametrize("there", [True, False])
def test_a_comparison_of_fewer_than_two_is_a_usage_error(
    capsys: pytest.CaptureFixture[str], store: Path, runs: list[str], there: bool
) -> None:
    code, found = as_json(capsys, "compare", *runs, "--store", store if there else store.with_name("none"))
    assert code == found["exit_code"] == 2


def test_samples_say_how_many_there_are(capsys: pytest.CaptureFixture[str], store: Path) -> None:
    with Store.open(store) as opened:
        opened.append({"samples": [rows.sample(f"x{n}", "i1", "run-a") for n in range(60)]})
    code, found = as_json(capsys, "samples", "--store", store)
    shown, total = found["shown"], found["total"]
    assert (code, shown, len(found["samples"]), found["more"]) == (0, 50, 50, True) and total > 60
    _, out, err = run_cai(capsys, "samples", "--json", "--store", store)
    assert out.count("\n") == 1 and f"50 of {total} samples; --limit N shows more" in err
    assert f"50 of {total} samples" in run_cai(capsys, "samples", "--store", store)[1]
    _, found = as_json(capsys, "samples", "--accepted", "--store", store)
    assert (found["shown"], found["total"], found["more"]) == (2, 2, False)
    assert "2 accepted samples" in run_cai(capsys, "samples", "--accepted", "--store", store)[1]


LONG = "20261129-035028-de02"


@pytest.mark.parametrize("width", [None, 40, 80])
def test_ids_are_never_wrapped(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, width: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = rows.small_run(LONG)
    run["runs"][0] |= {"spec": "a_spec_with_a_name_that_takes_a_lot_of_room.md", "model": "Qwen/Qwen2.5-32B-and-more"}
    with Store.open(tmp_path / "s.duckdb") as opened:
        opened.append(run)
    if width is not None:
        monkeypatch.setenv("COLUMNS", str(width))
        monkeypatch.setattr("tui.host.terminal.Outlet.isatty", lambda _: True)
    out = run_cai(capsys, "runs", "--store", tmp_path / "s.duckdb")[1]
    assert LONG in out
    if width is None:  # whoever reads a pipe gets a run a line
        [line] = [line for line in out.split("\n") if LONG in line]
        assert "a_spec_with_a_name_that_takes_a_lot" in line
