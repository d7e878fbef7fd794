"""What readers may take of the owner's cores: at once what they saved, and a small share in the long run."""

from __future__ import annotations

import threading

import pytest

from store.serving.turns import AT_ONCE, SAVED_S, ReadingTurns


class Clock:
    """A clock that only waiting moves, and the processor's time that turns take."""

    def __init__(self) -> None:
        self.now = self.used = 0.0

    def wait(self, seconds: float) -> None:
        self.now += seconds


@pytest.mark.parametrize("kind", ["turn", "counted"])
def test_what_was_saved_is_taken_at_once_and_a_share_after_that(kind: str) -> None:
    clock = Clock()
    turns = ReadingTurns(0.02, lambda: clock.now, lambda: clock.used, clock.wait)

    def reads(n: int) -> float:
        began = clock.now
        for _ in range(n):
            with getattr(turns, kind)():
                clock.used += 0.01
        return clock.now - began

    assert reads(round(SAVED_S / 0.01)) == 0
    waited = reads(200)  # two seconds of a core, of which there is a fiftieth
    assert 95 < waited < 105
    clock.now += 10_000  # nobody read for hours: no more is saved than before
    assert reads(round(SAVED_S / 0.01)) == 0
    assert reads(100) > 45


def test_a_few_at_once_and_none_waits_when_the_store_closes() -> None:
    turns = ReadingTurns(1e-9)
    inside, go_on = threading.Semaphore(0), threading.Event()

    def read() -> None:
        with turns.turn():
            inside.release()
            go_on.wait(10)

    threads = [threading.Thread(target=read) for _ in range(AT_ONCE + 1)]
    for thread in threads:
        thread.start()
    for _ in range(AT_ONCE):
        assert inside.acquire(timeout=10)
    assert not inside.acquire(timeout=0.1)
    with turns.counted():  # what is answered from memory waits for no statement
        pass
    turns._left = -1.0  # as after a long read
    turns.end()
    go_on.set()
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()
