"""Tokens a second as the screen shows them: over a window, never over the time between two commits."""

import pytest

from engine.run.engine import Throughput


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_commits_that_follow_each_other_at_once_tell_no_rate(clock: Clock) -> None:
    throughput = Throughput(clock)
    throughput.begin()
    clock.now += 0.001
    assert throughput.add(57, 0) is None  # 57,000 tokens a second by the time since the last commit
    clock.now += 0.999
    assert throughput.add(43, 0) == pytest.approx((100.0, 0.0))


def test_the_rate_is_that_of_the_last_ten_seconds(clock: Clock) -> None:
    throughput = Throughput(clock)
    throughput.begin()
    rates = []
    for second in range(40):
        clock.now += 1
        rates.append(throughput.add(200 if second < 20 else 50, 3))
    assert rates[19] == pytest.approx((200.0, 3.0))
    assert rates[24] == pytest.approx((125.0, 3.0))
    assert rates[39] == pytest.approx((50.0, 3.0))


def test_a_batch_that_takes_longer_than_the_window_is_measured_whole(clock: Clock) -> None:
    throughput = Throughput(clock)
    throughput.begin()
    for _ in range(3):
        clock.now += 60
        assert throughput.add(600, 0) == pytest.approx((10.0, 0.0))


def test_a_phase_and_the_end_of_a_pause_begin_anew(clock: Clock) -> None:
    throughput = Throughput(clock)
    throughput.begin()
    clock.now += 5
    throughput.add(5000, 0)
    clock.now += 1000  # paused
    throughput.begin()
    clock.now += 2
    assert throughput.add(20, 4) == pytest.approx((10.0, 2.0))


def test_work_that_no_phase_announced_is_not_measured() -> None:
    assert Throughput(Clock()).add(10, 0) is None
