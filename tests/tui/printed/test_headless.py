"""A run without the control center: what is printed, what the exit code is, what a signal does."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from engine.core.events import Noted, PhaseProgressed, PhaseStarted, RunStarted
from store.db import Store
from tests.store import rows
from tests.tui.cli_fakes import ROOT, RUN, command
from tui.host.terminal import Terminal
from tui.live.state import RunState
from tui.printed.headless import Signals, what_next
from tui.printed.progress import LiveView, PlainView

pytestmark = pytest.mark.integration

CONTROL_CODES = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\x80-\x9f]")


def cai(part: str, store: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    argv = command(part, *arguments, "--store", store)
    return subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=60)


@contextmanager
def running(part: str, store: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A run that has printed its first lines."""
    argv = command(part, *arguments, "--store", store)
    process = subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        while "guard passed" not in process.stdout.readline():
            assert process.poll() is None
        yield process
    finally:
        process.kill()
        process.communicate()


def test_a_finished_run_says_what_was_made_under_which_spec_and_where(tmp_path: Path) -> None:
    ran = cai("done", tmp_path / "cai.duckdb", "run", "--headless")
    assert ran.returncode == 0, ran.stderr
    assert not CONTROL_CODES.search(ran.stdout)
    for words in (
        "Contamination guard passed",
        "Critic label of samples, own items: AUC 0.61, may not filter",
        "stage_1_small_model.md",
        "sha256 abababababab",
        "2 by form rules · quality not audited · not read by a person · 40 wanted",
        "! done",
        "token limit",
        "0.300",
        "– 0.070",
        "FAIL",
        str(tmp_path / "cai.duckdb"),
        str(tmp_path / "cai.log"),
        f"cai export {RUN}",
    ):
        assert words in ran.stdout
    assert ran.stderr == ""


def test_a_failed_gate_exits_4_and_says_what_to_do(tmp_path: Path) -> None:
    ran = cai("gate_failed", tmp_path / "cai.duckdb", "run", "--headless")
    assert ran.returncode == 4
    assert "A gate failed (token_limit)" in ran.stdout
    assert f"cai recheck {RUN} --set" in ran.stdout
    assert "Gate pilot FAILED" in ran.stdout


def test_json_puts_one_object_on_stdout_and_progress_on_stderr(tmp_path: Path) -> None:
    ran = cai("gate_failed", tmp_path / "cai.duckdb", "run", "--json")
    found = json.loads(ran.stdout)
    assert ran.returncode == found["exit_code"] == 4
    assert found["run"] == RUN
    assert {"spec", "spec_sha256", "model", "seed", "state", "phases", "gates", "counts", "elapsed_s"} <= set(found)
    assert "Contamination guard passed" in ran.stderr


@pytest.mark.parametrize(("part", "code", "words"), [("unknown_model", 1, "no model 'nope'"), ("broken", 1, "defect")])
def test_an_error_is_one_json_object_too(tmp_path: Path, part: str, code: int, words: str) -> None:
    ran = cai(part, tmp_path / "cai.duckdb", "run", "--json")
    found = json.loads(ran.stdout)
    assert ran.returncode == found["exit_code"] == code
    assert words in found["error"]["title"]
    assert found["error"]["hint"]
    assert "Traceback" not in ran.stdout + ran.stderr


def test_an_unexpected_error_leaves_its_traceback_in_the_log_only(tmp_path: Path) -> None:
    ran = cai("broken", tmp_path / "cai.duckdb", "run", "--headless")
    assert ran.returncode == 1
    assert "unexpected RuntimeError: a defect" in ran.stderr
    assert str(tmp_path / "cai.log") in ran.stderr
    assert "Traceback" not in ran.stdout + ran.stderr
    assert "Traceback" in (tmp_path / "cai.log").read_text()


def test_a_question_without_a_person_waits_with_exit_code_3(tmp_path: Path) -> None:
    ran = cai("question", tmp_path / "cai.duckdb", "run", "--headless")
    assert ran.returncode == 3
    assert f"cai resume {RUN}" in ran.stdout


def trained(part: str, store: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`cai train sft` on a store that is there; the fake engine fills it."""
    Store.open(store).close()
    with Store.open(store) as opened:
        opened.append({"runs": [rows.run("run-0")]})
    return cai(part, store, "train", "sft", "run-0", *arguments)


def test_a_training_tells_its_steps_and_what_came_out(tmp_path: Path) -> None:
    ran = trained("trained", tmp_path / "cai.duckdb", "--headless")
    assert ran.returncode == 0, ran.stderr
    assert "SFT training sft-1 begins: 2 steps on CPU, 69 examples" in ran.stdout
    assert re.search(r"SFT step \d/2 · loss \d\.\d{4} · ", ran.stdout)
    for words in ("2.0000 → 1.5000 nats", "1.5000 → 1.2500 nats", "2 of 2 steps on 69 examples", "sft-1/adapter"):
        assert words in ran.stdout
    assert f"cai train dpo {RUN}" in ran.stdout and "cai export" not in ran.stdout


def test_a_locked_training_exits_4_with_the_lock_and_its_key(tmp_path: Path) -> None:
    ran = trained("locked", tmp_path / "cai.duckdb", "--json")
    found = json.loads(ran.stdout)
    assert ran.returncode == found["exit_code"] == 4 and found["trainings"] == []
    assert "Training is locked: enough examples: 12 of 16. Take the run further." in ran.stderr
    assert f"cai train sft {RUN} --plan" in ran.stderr and "A gate failed" not in ran.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_first_signal_stops_at_the_next_commit(tmp_path: Path, number: int) -> None:
    with running("until_stopped", tmp_path / "cai.duckdb", "run", "--headless") as process:
        process.send_signal(number)
        out, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert f"resume with: cai resume {RUN}" in out
    assert "Traceback" not in out + err


def test_the_second_interrupt_quits_at_once(tmp_path: Path) -> None:
    with running("deaf", tmp_path / "cai.duckdb", "run", "--headless") as process:
        process.send_signal(signal.SIGINT)
        assert process.stdout is not None
        while "Stopping at the next commit" not in process.stdout.readline():
            assert process.poll() is None
        asked_at = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=20)
    assert time.monotonic() - asked_at < 5
    assert process.returncode == 130
    assert f"resume with: cai resume {RUN}" in err


def test_a_run_outlives_the_reader_of_its_output(tmp_path: Path) -> None:
    argv = command("chatty", "run", "--headless", "--store", tmp_path / "cai.duckdb")
    process = subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait(60) == 0
    process.stderr.close()


def feed(view: Any, state: RunState, *events: Any) -> None:
    for event in events:
        state.apply(event)
        view.tell(event)
        view.tick()


def test_plain_lines_come_at_most_every_few_seconds() -> None:
    now = [0.0]
    out = io.StringIO()
    state = RunState(clock=lambda: now[0])
    view = PlainView(Console(file=out, force_terminal=False, width=120), state, clock=lambda: now[0])
    feed(view, state, RunStarted(RUN, "spec", "model", 7, 40, False), PhaseStarted(RUN, "responses", 1_000))
    for done in range(1, 1_001):
        now[0] += 0.6
        feed(view, state, PhaseProgressed(RUN, "responses", done, 1_000, done // 2))
    lines = [line for line in out.getvalue().splitlines() if "/1,000" in line]
    assert 15 < len(lines) < 60
    assert "50 %" in lines[-1] and "1.7/s" in lines[-1] and "left" in lines[-1]


def test_each_phase_that_is_under_way_has_a_line() -> None:
    out = io.StringIO()
    state = RunState()
    view = PlainView(Console(file=out, force_terminal=False, width=120), state)
    view.tick = lambda: None  # type: ignore[method-assign]
    begun = [PhaseStarted(RUN, name, 40) for name in ("responses", "response_judgements")]
    feed(view, state, *begun, PhaseProgressed(RUN, "response_judgements", 3, 40, 2))
    feed(view, state, PhaseProgressed(RUN, "responses", 9, 40, None))
    PlainView.tick(view)
    assert "Responses 9/40" in out.getvalue() and "3/40" in out.getvalue()


def test_text_of_others_cannot_move_the_cursor() -> None:
    out = io.StringIO()
    state = RunState()
    view = PlainView(Console(file=out, force_terminal=False, width=120), state)
    feed(view, state, Noted(RUN, "error", "\x1b]0;title\x07[bold]x[/bold]\x9b2J"))
    assert not CONTROL_CODES.search(out.getvalue())
    assert "[bold]x[/bold]" in out.getvalue()


@pytest.mark.parametrize("colour", [True, False])
def test_bars_on_a_terminal_and_no_colour_where_it_is_unwanted(monkeypatch: pytest.MonkeyPatch, colour: bool) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    if not colour:
        monkeypatch.setenv("NO_COLOR", "1")
    out = io.StringIO()
    state = RunState()
    view = LiveView(Console(file=out, force_terminal=True, width=100, color_system="256"), state)
    feed(view, state, PhaseStarted(RUN, "responses", 40), PhaseProgressed(RUN, "responses", 10, 40, 5))
    view.close()
    shown = out.getvalue()
    assert "10/40" in shown and "5 accepted" in shown
    assert bool(re.search(r"\x1b\[[0-9;]*(3[0-7]|38;5)", shown)) is colour
    assert "\x1b[?25h" in shown  # the cursor is back


def test_the_descriptors_are_not_taken_before_the_store_folder_is_known_to_be_writable(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        folder = Path("/proc/no-such-folder")
    else:
        folder = tmp_path / "closed"
        folder.mkdir(mode=0o500)
    ran = cai("done", folder / "cai.duckdb", "run", "--json")
    assert ran.returncode == 1
    assert "cannot be written" in json.loads(ran.stdout)["error"]["title"]


def test_what_is_offered_after_a_failed_guard_can_be_done() -> None:
    status = {"run": RUN, "reason": "the contamination guard failed, and no approval opens that lock"}
    told = "\n".join(what_next(status, [], 4))
    assert "no samples exist yet" in told and "--model" in told and "--set guard.KEY=VALUE" in told
    assert "cai samples" not in told and "gate.KEY" not in told
    check = {"check_name": "runaway share", "passed": False, "result": "failed"}
    assert "cai samples" in "\n".join(what_next(status, [check], 4))


def test_what_another_machine_is_to_compute_is_no_decision_of_a_person() -> None:
    reason = "24 requests were written to asked.jsonl. Compute them where the model is (cai answer), then: cai resume"
    assert what_next({"run": RUN, "reason": reason}, [], 3) == [f"reason: {reason}"]
    assert "a decision" in what_next({"run": RUN, "reason": "the pilot waits for a person"}, [], 3)[-1]


def test_a_signal_before_the_run_that_a_library_makes_its_own_error_of_is_still_one() -> None:
    """DuckDB raises "Query interrupted" where a signal comes while a statement runs."""
    with pytest.raises(KeyboardInterrupt), Signals(Terminal.standard()):
        with contextlib.suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGHUP)
        raise RuntimeError("Query interrupted")
    with pytest.raises(RuntimeError), Signals(Terminal.standard()):
        raise RuntimeError("an error of its own")
