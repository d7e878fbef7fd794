"""The same settings find the same run again: gone on with, told of, or begun anew."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from engine.run import same as again
from engine.run.orders import NewRun, Order
from engine.spec.stage import load_spec
from store.db import Store
from tests.store import rows
from tests.tui.cli.commands import SMALL, child
from tests.tui.cli_fakes import ROOT, RUN, command, install
from tests.tui.host.test_terminal import in_a_terminal
from tui.live.opener import opener

pytestmark = pytest.mark.integration


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
