"""Who follows the owner of a store: told all that is told, never waited for, and what it asks for is done once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from store.db import Store
from store.errors import OwnerGone, StoreError
from store.serving import channel
from store.serving.following import Following
from tests.store.serving.owners import ROOT

TELLS = """
import sys
from pathlib import Path
from store.db import Store
with Store.open(Path(sys.argv[1])) as store:
    store.channel.serve(lambda: {"run": "run-a"}, lambda asked, process: True)
    print("open", flush=True)
    for line in sys.stdin:
        store.channel.tell({"event": line.strip()})
"""
FOLLOWS = """
import sys
from pathlib import Path
from store.serving.following import Following
for message in Following.to(Path(sys.argv[1])).messages():
    pass
"""


def followed(path: Path) -> Following:
    found = Following.to(path)
    assert found is not None
    return found


def wait_until(true: Callable[[], object]) -> None:
    until = time.monotonic() + 10
    while not true():
        assert time.monotonic() < until
        time.sleep(0.01)


def test_who_comes_later_is_told_what_was_told_before_and_then_all_that_comes(tmp_path: Path) -> None:
    path = tmp_path / "a.duckdb"
    assert Following.to(path) is None
    with Store.open(path) as store:
        assert followed(path).about == {} and not store.channel._closed
        early = followed(path)
        store.channel.serve(lambda: {"run": "r1"}, lambda asked, process: True)
        for number in range(3):
            store.channel.tell({"event": "begun", "n": number})
            store.channel.tell({"event": "figure", "n": number}, "figure")
            store.channel.tell({"event": "streams by", "n": number}, None)
        assert list(early.messages()) == []  # what it was told of is over: it comes back and is told anew
        one = followed(path)
        assert one.about == {"run": "r1"} and one.owner == os.getpid()
        assert [(told["event"], told["n"]) for told in one.told] == [
            ("begun", 0), ("begun", 1), ("begun", 2), ("figure", 2)
        ]  # fmt: skip
        store.channel.tell({"event": "figure", "n": 3}, "figure")
        store.channel.tell({"event": "streams by", "n": 3}, None)
        other, came = followed(path), one.messages()
        assert [next(came)["event"], next(came)["event"]] == ["figure", "streams by"]
        assert other.told[-1] == {"event": "figure", "n": 3} and len(other.told) == 4
        store.channel.tell({"event": "last"})
    assert [message["event"] for message in came] == ["last"]  # what was told before the end arrives, and then the end
    assert [message["event"] for message in other.messages()] == ["last"]


def test_a_follower_that_is_slow_is_let_go_and_nobody_waits_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channel, "BEHIND", 50)
    path, said = tmp_path / "a.duckdb", "x" * 10_000
    with Store.open(path) as store:
        slow, quick = followed(path), followed(path)
        seen: list[int] = []
        thread = threading.Thread(target=lambda: seen.extend(message["n"] for message in quick.messages()))
        thread.start()
        began = time.monotonic()
        for number in range(400):
            store.channel.tell({"n": number, "said": said})
            time.sleep(0.001)
        assert time.monotonic() - began < 5
        read: list[int] = []
        with pytest.raises(StoreError, match="fell behind"):
            read.extend(message["n"] for message in slow.messages())
        again = followed(path)
        assert again.told[-1]["n"] == 399  # whoever comes back is told all of it anew
        again.close()
    thread.join(10)
    assert seen == list(range(400))


def test_what_is_asked_is_done_by_the_owner_and_said_whose_it_was(tmp_path: Path) -> None:
    path = tmp_path / "a.duckdb"
    asked: list[tuple[str, int]] = []
    answered = threading.Lock()

    def act(wanted: Mapping[str, Any], process: int) -> bool:
        if wanted["act"] == "break":
            raise StoreError("it cannot be done", "Nothing was changed.")
        asked.append((wanted["act"], process))
        return answered.acquire(blocking=False)

    with Store.open(path) as store:
        one = followed(path)
        with pytest.raises(StoreError, match="works on no run"):
            one.act("pause")
        store.channel.serve(dict, act)
        taken: list[bool] = []
        threads = [threading.Thread(target=lambda: taken.append(one.act("answer", run="r1"))) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
        assert sorted(taken) == [False] * 7 + [True]
        assert asked == [("answer", os.getpid())] * 8
        with pytest.raises(StoreError, match="it cannot be done") as caught:
            one.act("break")
        assert caught.value.hint == "Nothing was changed."
    with pytest.raises(OwnerGone):
        one.act("answer", run="r1")


def test_whether_somebody_follows_is_known_and_a_short_absence_forgiven(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.duckdb"
    with Store.open(path) as store:
        assert not store.channel.followed()
        one = followed(path)
        wait_until(store.channel.followed)
        one.close()
        time.sleep(0.5)  # by now the owner has seen it
        assert store.channel.followed()
        monkeypatch.setattr(channel, "BACK_S", 0.1)
        assert not store.channel.followed()


def test_an_owner_that_is_suspended_or_killed_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "a.duckdb"
    owner = subprocess.Popen(
        [sys.executable, "-c", TELLS, str(path)], cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert owner.stdin is not None and owner.stdout is not None and owner.stdout.readline() == "open\n"
        one = followed(path)
        assert (one.owner, one.about) == (owner.pid, {"run": "run-a"})
        asleep: list[bool] = []
        came = one.messages(asleep.append)
        owner.stdin.write("first\n")
        owner.stdin.flush()
        assert next(came)["event"] == "first"
        seen: list[str] = []
        thread = threading.Thread(target=lambda: seen.extend(message["event"] for message in came))
        thread.start()
        owner.send_signal(signal.SIGSTOP)
        wait_until(lambda: asleep == [True])
        owner.send_signal(signal.SIGCONT)
        wait_until(lambda: asleep == [True, False])
        owner.stdin.write("second\n")
        owner.stdin.flush()
        wait_until(lambda: seen == ["second"])
        owner.kill()
        thread.join(5)
        assert not thread.is_alive()
    finally:
        owner.kill()
        owner.communicate()
    assert Following.to(path) is None


def test_a_follower_that_is_suspended_follows_and_cannot_answer(tmp_path: Path) -> None:
    path = tmp_path / "a.duckdb"
    with Store.open(path) as store:
        assert not store.channel.watched()
        follower = subprocess.Popen([sys.executable, "-c", FOLLOWS, str(path)], cwd=ROOT)
        try:
            wait_until(store.channel.watched)
            follower.send_signal(signal.SIGSTOP)
            wait_until(lambda: not store.channel.watched())
            assert store.channel.followed()  # what streams by waits for it
            follower.send_signal(signal.SIGCONT)
            wait_until(store.channel.watched)
        finally:
            follower.kill()
            follower.wait()
