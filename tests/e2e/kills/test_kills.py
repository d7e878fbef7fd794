"""A part of all kills and signals of the real program; `python -m tests.e2e.kills` does the rest."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.kills.files import cut_exports, cut_migrations
from tests.e2e.kills.playing import Playing, playing
from tests.e2e.kills.runs import Tally, Whole, cut_runs, whole_run
from tests.e2e.kills.signalled import signalled_runs

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(600), pytest.mark.xdist_group("kills")]

SEED = 24


@pytest.fixture(scope="module")
def model() -> Iterator[Playing]:
    with playing() as found:
        yield found


@pytest.fixture(autouse=True)
def own_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAI_CONFIG", str(tmp_path / "config.toml"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, model: Playing) -> Whole:
    return whole_run(tmp_path_factory.mktemp("whole") / "run", model)


def held(tally: Tally, kills: int) -> None:
    assert tally.problems == []
    assert tally.killed == kills


def test_a_run_of_all_phases_is_what_it_is_undisturbed(model: Playing, whole: Whole, tmp_path: Path) -> None:
    tally = cut_runs(tmp_path, model, whole, random.Random(SEED), 6, a_run=6)
    held(tally, 6)
    assert tally.figures["read_attached"] >= 5


def test_an_export_is_there_whole_or_not_at_all(whole: Whole, tmp_path: Path) -> None:
    tally = cut_exports(tmp_path / "exports", whole.store, random.Random(SEED), 3)
    assert tally.problems == [] and tally.killed >= 3


def test_a_migration_begins_anew_or_is_done(tmp_path: Path) -> None:
    tally = cut_migrations(tmp_path / "migrations", random.Random(SEED), 3)
    assert tally.problems == [] and tally.killed >= 3


def test_a_signal_stops_a_run_that_goes_on_to_the_same_rows(model: Playing, whole: Whole, tmp_path: Path) -> None:
    tally = signalled_runs(tmp_path / "signals", model, whole, random.Random(SEED), 8, a_run=8)
    assert tally.problems == []
