"""Times of rows never go back, whatever the machine's clock does."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from store.db import Store
from store.salvage import clock
from store.salvage.clock import Given, utc_now
from tests.store import rows

Wall = Callable[[timedelta], datetime]
HOUR, DAY, SECOND = timedelta(hours=1), timedelta(days=1), timedelta(seconds=1)


@pytest.fixture
def pass_(monkeypatch: pytest.MonkeyPatch) -> Wall:
    """A machine's clock that is moved by hand, forward and back."""
    at = [datetime(2026, 11, 29, 12, tzinfo=UTC)]
    monkeypatch.setattr(clock, "machine_now", lambda: at[0])
    monkeypatch.setattr(clock, "GIVEN", Given())

    def moved(by: timedelta) -> datetime:
        at[0] += by
        return at[0]

    return moved


def test_times_go_on_from_where_the_clock_was_set_back_and_meet_it_again(pass_: Wall) -> None:
    noon = pass_(0 * SECOND)
    assert utc_now() == noon and utc_now() == noon
    pass_(-HOUR)
    assert utc_now() == noon and clock.behind_s() == 3600
    pass_(30 * SECOND)
    assert utc_now() == noon + 30 * SECOND
    pass_(-HOUR)  # and again
    assert utc_now() == noon + 30 * SECOND and clock.behind_s() == 7200
    now = pass_(2 * HOUR + SECOND)  # set right
    assert utc_now() == now == noon + 31 * SECOND and clock.behind_s() == 0


def test_times_wait_for_a_clock_that_was_a_day_ahead(pass_: Wall) -> None:
    ahead = pass_(DAY)
    assert utc_now() == ahead
    pass_(-DAY)
    pass_(HOUR)
    assert utc_now() == ahead
    pass_(HOUR)
    assert utc_now() == ahead + HOUR


def test_another_process_gives_no_time_before_the_stores_last_commit(
    pass_: Wall, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "cai.duckdb"
    with Store.open(path) as store:
        store.append({"runs": [rows.run(created_at=utc_now())]})
        last = utc_now()
    pass_(-DAY)
    monkeypatch.setattr(clock, "GIVEN", Given())  # as a process that begins
    with Store.open(path, read_only=True):
        assert utc_now() < last
    with Store.open(path) as store:
        assert last <= utc_now() <= last + SECOND
        store.append({"runs": [rows.run("run-b", created_at=utc_now())]})
        assert store.reader().latest_run_id() == "run-b"
