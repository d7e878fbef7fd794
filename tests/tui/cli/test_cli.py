"""The command line: purity of --json, exit codes, errors without a traceback, the same run found again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from engine.run import engine
from engine.run import same as again
from engine.run.orders import NewRun, Order, Resume
from engine.spec.stage import load_spec
from store.db import Store
from store.names import COMMON_PHASES
from tests.store import rows
from tests.tui.cli_fakes import ROOT, RUN, command, install
from tests.tui.host.test_terminal import in_a_terminal
from tui.cli import entry
from tui.config.settings import Config
from tui.live.opener import opener

SMALL = "stage_1_small_model"
HOSTILE = "\x1b]0;title\x07[red]x[/red]\u202eabc"


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store with the small run, whose first answer is hostile."""
    path = tmp_path / "cai.duckdb"
    run = rows.small_run(RUN, state="gate_failed", reason="the pilot gate failed")
    run["samples"][0]["response"] = HOSTILE
    with Store.open(path) as opened:
        opened.append(run)
    return path


def run_cai(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = entry.main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def as_json(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, dict[str, Any]]:
    code, out, _ = run_cai(capsys, *arguments, "--json")
    found = json.loads(out)
    assert out.count("\n") == 1 and out.isascii()
    return code, found


def child(*arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "tui.cli", *map(str, arguments)]
    return subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=60, **options)


# -- starting ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["--version"], ["run", "--pilot", "0", "--json"]])
def test_nothing_heavy_is_imported_for_help_and_usage(arguments: list[str]) -> None:
    program = (
        "import sys; from tui.cli.entry import main; main(sys.argv[1:]); "
        "heavy = {'duckdb', 'pyarrow', 'numpy', 'pydantic', 'textual', 'torch', 'rich', 'engine.run', 'store.db'}; "
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


def test_a_store_in_use_says_by_whom(store: Path) -> None:
    with Store.open(store):
        ran = child("status", "--json", "--store", store)
    found = json.loads(ran.stdout)
    assert ran.returncode == 1
    assert f"process {os.getpid()}" in found["error"]["title"]
    assert ran.stderr == ""


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
    check = {"name": "runaway share", "measured": 0.2, "lo": 0.1, "hi": 0.3, "n": 10, "op": "<", "threshold": 0.1}
    asked: list[Any] = []

    def fake(_reader: Any, run_id: str, overrides: dict[str, str]) -> dict[str, Any]:
        asked.append((run_id, overrides))
        counts = {"sample": {"accepted": 1, "rejected": 1, "unsure": 0}}
        before = {"counts": counts, "checks": [{**check, "passed": True, "subject_ids": []}], "passed": True}
        after = {"counts": counts, "checks": [{**check, "passed": False, "subject_ids": ["s1"]}], "passed": False}
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


def test_doctor_exits_by_health(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from engine import doctor

    check = {"name": "torch", "state": "hung", "detail": "not imported", "elapsed_s": 60.0}
    monkeypatch.setattr(doctor, "examine", lambda *_, **__: {"healthy": False, "checks": [check]})
    code, found = as_json(capsys, "doctor")
    assert code == found["exit_code"] == 1
    code, out, _ = run_cai(capsys, "doctor")
    assert code == 1 and "hung" in out


# -- the same run again --------------------------------------------------------------------------------------------------


def small_run(**fields: Any) -> dict[str, Any]:
    """A stored run of the small spec as it is now, without --set."""
    spec = load_spec(SMALL)
    settings = spec.settings
    same = {
        "spec": spec.name,
        "spec_sha256": spec.sha256,
        "seed": settings.seed,
        "model": "gemma-3-270m",
        "pilot": settings.pilot,
        "target": settings.pilot,
    }
    return rows.run(**{**same, "overrides": {}, **fields})


def stored(path: Path, *runs: dict[str, Any]) -> Path:
    with Store.open(path) as opened:
        opened.append({"runs": list(runs)})
    return path


@pytest.mark.parametrize(
    ("fields", "options", "found"),
    [
        ({"state": "stopped"}, {}, True),
        ({"state": "done"}, {}, True),
        ({"state": "stopped"}, {"seed": 1}, False),
        ({"state": "stopped"}, {"pilot": 12}, False),
        ({"state": "stopped", "pilot": 12, "target": 12}, {"pilot": 12}, True),
        ({"state": "stopped", "target": 900}, {"target": 900}, True),
        ({"state": "stopped", "spec_sha256": "00"}, {}, False),
        ({"state": "stopped", "model": "Qwen/Qwen2.5-0.5B"}, {}, False),
        ({"state": "stopped"}, {"overrides": {"responses.temperature": "0.2"}}, False),
        (
            {"state": "stopped", "overrides": {"responses.temperature": [0.7, 0.2]}},
            {"overrides": {"responses.temperature": "0.2"}},
            True,
        ),
    ],
)
def test_the_same_settings_find_the_same_run(
    tmp_path: Path, fields: dict[str, Any], options: dict[str, Any], found: bool
) -> None:
    path = stored(tmp_path / "cai.duckdb", small_run(**fields))
    assert (again.same_run(NewRun(path, **options)) is not None) is found


def opened_with(monkeypatch: pytest.MonkeyPatch, order: Order) -> tuple[Any, list[Any]]:
    asked = install("done", monkeypatch.setattr)
    opened = opener()(order, lambda _: None)
    opened.close()
    return opened, asked


@pytest.mark.parametrize(
    ("fields", "options", "resumed"),
    [
        ({"state": "stopped"}, {}, True),
        ({"state": "done"}, {}, None),
        ({"state": "gate_failed"}, {}, None),
        ({"state": "done", "until": "guard"}, {}, True),
        ({"state": "done", "until": "guard"}, {"until": "guard"}, None),
        ({"state": "done"}, {"until": "guard"}, None),
        ({"state": "stopped", "seed": 3}, {}, False),
    ],
)
def test_unfinished_runs_go_on_and_finished_ones_are_told(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    fields: dict[str, Any],
    options: dict[str, Any],
    resumed: bool | None,
) -> None:
    """`resumed` is None where the engine is not even opened."""
    path = stored(tmp_path / "cai.duckdb", small_run(**fields))
    opened, asked = opened_with(monkeypatch, NewRun(path, **options))
    assert isinstance(opened, again.EndedRun) is (resumed is None)
    assert [item.resume for item in asked] == ([] if resumed is None else [RUN if resumed else None])


def test_new_begins_another_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = stored(tmp_path / "cai.duckdb", small_run(state="stopped"))
    _, asked = opened_with(monkeypatch, NewRun(path, another=True))
    assert [item.resume for item in asked] == [None]


@pytest.mark.parametrize(("state", "code"), [("done", 0), ("gate_failed", 4)])
def test_a_run_that_ended_is_reported_within_seconds(tmp_path: Path, state: str, code: int) -> None:
    path = stored(tmp_path / "cai.duckdb", small_run(state=state))
    began = time.monotonic()
    ran = child("run", "--headless", "--store", path)
    assert time.monotonic() - began < 10
    assert ran.returncode == code, ran.stderr
    assert "has ended already; --new begins another" in ran.stdout


def test_the_control_center_shows_a_run_in_a_terminal_and_keeps_noise_out(tmp_path: Path) -> None:
    """The fake engine prints to the descriptors, from Python and from a child; then q."""
    argv = command("noisy", "run", "--store", tmp_path / "cai.duckdb")
    code, shown = in_a_terminal(argv, cwd=ROOT, keys=("✓ done".encode(), b"q"))
    assert code == 0, shown
    log = (tmp_path / "cai.log").read_text()
    for words in ("native words on descriptor one", "python words on stdout", "python words on stderr", "child words"):
        assert words in log
        assert words not in shown


# -- what a person set ---------------------------------------------------------------------------------------------------


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configuration of its own, not there yet, and nothing in the environment."""
    for name in ("CAI_STORE", "CAI_MODEL", "CAI_THEME", "CAI_PRICE_PER_GPU_HOUR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CAI_CONFIG", str(tmp_path / "config.toml"))
    return tmp_path / "config.toml"


def test_config_shows_what_is_in_force_and_from_where(
    capsys: pytest.CaptureFixture[str], settings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, out, err = run_cai(capsys, "config")
    assert (code, err) == (0, "")
    assert f"{settings}  (not there: the defaults hold)" in out
    settings.write_text("theme = 'cai-light'\nprice_per_gpu_hour = 2\n[keymap]\n'run.pause' = 'f12'\n")
    monkeypatch.setenv("CAI_MODEL", "some/model")
    code, found = as_json(capsys, "config", "--store", "/given")
    assert code == 0 and found["path"] == str(settings) and found["problems"] == []
    told = {name: (item["value"], item["from"]) for name, item in found["settings"].items()}
    assert told["theme"] == ("cai-light", "file") and told["price_per_gpu_hour"] == (2.0, "file")
    assert told["model"] == ("some/model", "environment") and told["store"] == ("/given", "command line")
    assert told["bell"] == (True, "default") and found["keymap"] == {"run.pause": "f12"}


def test_config_lists_every_mistake_and_says_so_by_its_exit_code(
    capsys: pytest.CaptureFixture[str], settings: Path
) -> None:
    settings.write_text("theme = 'cai-drak'\nbel = 1\n[keymap]\n'run.puase' = 'x'\n")
    code, found = as_json(capsys, "config")
    assert code == found["exit_code"] == 1
    for told, nearest in zip(found["problems"], ("'bell'", "'cai-dark'", "'run.pause'"), strict=True):
        assert f"the nearest is {nearest}" in told
    code, out, err = run_cai(capsys, "config")
    assert code == 1 and err.count("config: ") == 3 and "config: " not in out


def test_a_broken_configuration_is_said_once_and_stops_nothing(
    capsys: pytest.CaptureFixture[str], settings: Path, store: Path
) -> None:
    settings.write_text("theme = \x1b")
    code, out, err = run_cai(capsys, "status", "--store", store, "--json")
    assert code == 0 and json.loads(out)["run"] == RUN
    assert err.count("is not TOML") == 1 and "\x1b" not in err


def test_the_store_is_that_of_the_command_line_then_the_environment_then_the_file(
    capsys: pytest.CaptureFixture[str], settings: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.write_text(f"store = '{store}'\n")
    assert as_json(capsys, "status")[1]["run"] == RUN
    monkeypatch.setenv("CAI_STORE", str(store.with_name("other.duckdb")))
    assert as_json(capsys, "status")[0] == 1
    assert as_json(capsys, "status", "--store", store)[1]["run"] == RUN


@pytest.mark.parametrize(
    ("arguments", "environment", "model"),
    [
        ([], "", "from/file"),
        ([], "from/environment", "from/environment"),
        (["--model", "given"], "from/environment", "given"),
    ],
)
def test_the_model_of_a_new_run(
    capsys: pytest.CaptureFixture[str],
    settings: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    environment: str,
    model: str,
) -> None:
    settings.write_text("model = 'from/file'\n")
    monkeypatch.setenv("CAI_MODEL", environment)
    found = commands_options(monkeypatch, "run", "--headless", "--store", settings.with_name("a.duckdb"), *arguments)
    assert found.model == model


def test_a_run_that_is_resumed_keeps_its_model(
    settings: Path, store: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings.write_text("model = 'from/file'\n")
    found = commands_options(monkeypatch, "resume", "--headless", "--store", store)
    assert found.model is None and found.resume == ""


def commands_options(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> Order:
    """The options that a headless run would be opened with."""
    from tui.cli import run
    from tui.printed import headless

    opened: list[Order] = []

    def run_headless(_open: Any, options: Order, _terminal: Any, **_: Any) -> tuple[int, dict[str, Any]]:
        opened.append(options)
        return 0, {}

    monkeypatch.setattr(headless, "run_headless", run_headless)
    monkeypatch.setattr(run, "with_log", lambda *_: None)
    assert entry.main([str(argument) for argument in arguments]) == 0
    return opened[0]


def test_what_is_configured_reaches_the_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Order] = []
    monkeypatch.setattr(engine, "open_engine", lambda options, _: asked.append(options))
    monkeypatch.setattr(again, "same_run", lambda _: None)
    config = Config(tmp_path / "c", model="from/file", price_per_gpu_hour=2.5, reviewer="chain")
    open_engine = opener(config, present=True)
    for options in (NewRun(tmp_path), NewRun(tmp_path, model="own"), Resume(tmp_path, "r")):
        open_engine(options, lambda _: None)
    assert [options.model for options in asked] == ["from/file", "own", None]
    assert {(o.price_per_gpu_hour, o.review.reviewer, o.review.present) for o in asked} == {(2.5, "chain", True)}


@pytest.mark.parametrize("arguments", [["--no-tmux", "runs"], ["runs", "--no-tmux"]])
def test_no_tmux_may_stand_anywhere(capsys: pytest.CaptureFixture[str], store: Path, arguments: list[str]) -> None:
    assert as_json(capsys, *arguments, "--store", store)[0] == 0
