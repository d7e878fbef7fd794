"""Servers that fail in every way a server can: no answer is lost, and none comes twice."""

# ruff: noqa: F811 (fixtures are imported, and named again as arguments)
from __future__ import annotations

import threading
import time
from contextlib import ExitStack
from dataclasses import replace

import pytest

from engine.core.control import Control
from engine.core.errors import Interrupted, ModelError
from engine.models.answers import Answers
from engine.models.requests import adapter_fingerprint
from store.db import Store
from tests.engine.models import model_server
from tests.engine.models.model_server import Ways, serving, spawned
from tests.engine.models.openai_models import FAST, SHA, asked, once_each, opened, server  # noqa: F401


@pytest.mark.parametrize(
    "behaviour",
    [
        model_server.status(500), model_server.status(503), model_server.dropped, model_server.cut_off,
        model_server.aborted, model_server.status(429, Retry_After="0.1"), model_server.status(408),
    ],
    ids=["500", "503", "dropped", "cut", "aborted", "429", "408"],
)  # fmt: skip
def test_a_fault_costs_no_answer(opened, server, behaviour):
    model = opened(server)
    wanted = {a.request.seed: a.text for a in model.generate(asked(20))}
    server.script = [model_server.good, behaviour, model_server.good, behaviour]
    found = list(model.generate(asked(20)))
    once_each(found, 20)
    assert {a.request.seed: a.text for a in found} == wanted


def test_a_server_that_asks_for_time_gets_it(opened, server):
    model = opened(server, batch=1)
    server.script = [model_server.status(429, Retry_After="0.6")]
    began = time.monotonic()
    once_each(list(model.generate(asked(2))), 2)
    assert time.monotonic() - began >= 0.6


def test_a_request_that_no_server_survives_ends_the_stream_and_keeps_the_other_answers(opened, server):
    model = opened(server)

    def poisoned(handler: model_server.Handler) -> None:
        (model_server.status(500, "CUDA error") if handler.body["seed"] == 3 else model_server.good)(handler)

    server.always = poisoned
    found = []
    with pytest.raises(ModelError, match=r"CUDA error.*no answer in 5 tries") as caught:
        found.extend(answer for answer in model.generate(asked(8)) if found.append(answer))
    assert sorted(answer.request.seed for answer in found) == [0, 1, 2, 4, 5, 6, 7]
    assert "cai resume" in caught.value.hint


# Servers that go and come


def test_one_of_two_servers_is_killed_and_nothing_is_lost_or_twice(opened, tmp_path):
    n = 200
    with spawned(tmp_path, 2, "--delay", "0.03") as (first, second):
        model = opened(first, second, batch=8)
        wanted = {a.request.seed: a.text for a in model.generate(asked(n))}
        had = len(first.answered())

        def kill_in_mid_run() -> None:
            while len(first.answered()) - had < 30:
                time.sleep(0.005)
            first.kill()

        killer = threading.Thread(target=kill_in_mid_run)
        killer.start()
        with Store.open(tmp_path / "a.duckdb") as store:
            answers = Answers(model, store, "session", Control())
            seen = list(answers.complete(asked(n)))
            killer.join()
            once_each([answer for _, answer in seen], n)
            assert {a.request.seed: a.text for _, a in seen} == wanted
            assert answers.computed == n and len({key for key, _ in seen}) == n
            with store.reader() as reader:
                counted = "SELECT count(*) AS n, count(DISTINCT request_id) AS k FROM completions"
                assert reader.query(counted) == [{"n": n, "k": n}]
            again = Answers(model, store, "later", Control())
            once_each([answer for _, answer in again.complete(asked(n))], n)
            assert again.computed == 0 and again.reused == n
        assert model._servers.servers[0].up is False and model._servers.servers[0].failures > 0
        assert 30 <= len(first.answered()) - had < 90


def test_a_server_that_comes_back_is_used_again(opened, tmp_path):
    with spawned(tmp_path, 2, "--delay", "0.02") as (first, second):
        model = opened(first, second, batch=4)
        stream = model.generate(asked(400))
        found = [next(stream) for _ in range(30)]
        first.kill()
        found += [next(stream) for _ in range(30)]
        had = len(first.answered())
        first.start()
        found += list(stream)
        once_each(found, 400)
        assert len(first.answered()) > had + 20


def test_a_server_that_comes_back_as_another_model_is_left_alone(opened):
    with serving() as first, ExitStack() as later:
        with serving() as second:
            model = opened(first, second)
            port = second.server_address[1]
        once_each(list(model.generate(asked(40))), 40)
        other = later.enter_context(serving(Ways(weights=-1.0), port))
        time.sleep(0.5)
        first.ways.delay_s = 0.01
        once_each(list(model.generate(asked(40))), 40)
        gone = model._servers.servers[1]
        assert not gone.up and "another model" in gone.said
        assert all(one["body"].get("echo") for one in other.requests)


def test_a_server_that_hangs_is_given_up_and_its_requests_go_to_the_other(opened):
    with serving() as first, serving() as second:
        model = opened(first, second)
        second.always = model_server.hanging
        second.sick.set()
        began = time.monotonic()
        once_each(list(model.generate(asked(40))), 40)
        assert time.monotonic() - began < 10


def test_a_server_that_is_away_at_the_start_joins_when_it_comes(opened):
    with serving() as first, ExitStack() as later:
        with serving() as second:
            pass
        model = opened(first, second)
        assert len(model.facts["away_at_start"]) == 1
        late = later.enter_context(serving(port=second.server_address[1]))
        first.ways.delay_s = 0.02
        once_each(list(model.generate(asked(200))), 200)
        assert any(not one["body"].get("echo") for one in late.requests)


def test_all_gone_ends_in_a_bounded_time_with_what_is_safe(opened, tmp_path):
    with serving() as first, serving() as second:
        model = opened(first, second, batch=2)
    began = time.monotonic()
    with pytest.raises(ModelError, match="no server of the model answered") as caught:
        list(model.generate(asked(5)))
    assert FAST.give_up_s < time.monotonic() - began < FAST.give_up_s + 5
    assert "safe" in caught.value.hint and "cai resume" in caught.value.hint


def test_what_was_answered_before_all_were_gone_is_committed(opened, tmp_path):
    with serving() as only, Store.open(tmp_path / "a.duckdb") as store:
        model = opened(only, batch=2)
        only.script = [model_server.good] * 10
        only.always = model_server.dropped
        answers = Answers(model, store, "session", Control())
        with pytest.raises(ModelError):
            list(answers.complete(asked(50)))
        assert answers.computed == 10


def test_a_server_that_asks_for_no_time_is_not_asked_without_end(opened, tmp_path):
    """503 with Retry-After: 0, for ever: it is backed off from, and the run ends in the time that it has."""
    with serving() as only:
        model = opened(only, batch=2)
        before = len(only.requests)
        only.always = model_server.status(503, Retry_After="0")
        began = time.monotonic()
        with pytest.raises(ModelError, match="no server of the model answered"):
            list(model.generate(asked(5)))
        assert time.monotonic() - began < FAST.give_up_s + 5 and len(only.requests) - before < 200


def test_requests_that_fail_together_are_one_failure(opened, server):
    model = opened(server, batch=16)
    server.script = [model_server.status(503)] * 16
    once_each(list(model.generate(asked(32))), 32)
    (known,) = model._servers.servers
    server.script = [model_server.status(503)] * 16
    stream = model.generate(asked(32))
    next(stream)
    assert known.failures <= 4
    stream.close()


def test_what_goes_to_this_machine_goes_through_no_proxy(opened, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    with serving() as only:
        once_each(list(opened(only).generate(asked(3))), 3)


def test_a_server_that_takes_a_connection_and_never_answers_is_told_of_soon(opened):
    with serving() as good, serving() as mute:
        mute.always = model_server.hanging
        began = time.monotonic()
        with pytest.raises(ModelError, match="no server of the model answers"):
            opened(mute, patience=replace(FAST, check_s=0.5))
        assert time.monotonic() - began < 10
        once_each(list(opened(good, mute, patience=replace(FAST, check_s=0.5)).generate(asked(3))), 3)


def test_a_run_that_is_told_to_stop_does_not_wait_for_servers_to_come_back(opened, tmp_path):
    """It is stopped, not failed, and what came before is committed."""
    with serving() as only, Store.open(tmp_path / "a.duckdb") as store:
        model = opened(only, batch=2, patience=replace(FAST, give_up_s=600.0, tries=10_000))
        only.script = [model_server.good] * 10
        only.always = model_server.dropped
        control = Control()
        answers = Answers(model, store, "session", control)
        began = time.monotonic()
        threading.Timer(1.5, control.stop).start()
        with pytest.raises(Interrupted):
            list(answers.complete(asked(50)))
        assert 1.5 <= time.monotonic() - began < 6 and answers.computed == 10


# Adapters


def test_an_adapter_is_loaded_where_that_is_allowed_and_taken_away_again(opened, server, tmp_path):
    model = opened(server)
    base = {a.request.seed: a.text for a in model.generate(asked(5))}
    fingerprint = model.fingerprint
    model.use(tmp_path, SHA)
    assert model.fingerprint == adapter_fingerprint(fingerprint, SHA)
    assert server.adapters == {SHA[:16]: str(tmp_path)}
    assert {a.request.seed: a.text for a in model.generate(asked(5))} != base
    assert server.requests[-1]["body"]["model"] == SHA[:16]
    model.use(None)
    assert model.fingerprint == fingerprint and {a.request.seed: a.text for a in model.generate(asked(5))} == base


def test_an_adapter_that_is_served_already_is_found(opened, server, tmp_path):
    server.ways.adapters = False
    server.adapters["mine"] = str(tmp_path)
    opened(server).use(tmp_path, SHA)


def test_an_adapter_that_no_server_has_says_to_merge(opened, server, tmp_path):
    server.ways.adapters = False
    model = opened(server)
    with pytest.raises(ModelError, match="does not have the adapter") as caught:
        model.use(tmp_path, SHA)
    assert "cai merge" in caught.value.hint and model.fingerprint == model.facts["base_fingerprint"]


def test_a_server_that_comes_back_gets_the_adapter_again(opened, tmp_path):
    with serving() as first, ExitStack() as later:
        with serving() as second:
            model = opened(first, second)
            model.use(tmp_path / "before", "ef" * 32)  # requests that began by then may still name it
            model.use(tmp_path, SHA)
            assert second.adapters
        once_each(list(model.generate(asked(20))), 20)
        back = later.enter_context(serving(port=second.server_address[1]))
        first.ways.delay_s = 0.02
        once_each(list(model.generate(asked(200))), 200)
        assert back.adapters == {SHA[:16]: str(tmp_path), "ef" * 8: str(tmp_path / "before")}
        assert {one["body"]["model"] for one in back.requests if "prompt" in one["body"]} >= {SHA[:16]}


def test_a_server_that_forgot_its_adapter_unseen_gets_it_again(opened, server, tmp_path):
    model = opened(server)
    model.use(tmp_path, SHA)
    server.adapters.clear()  # it was started anew while nothing was in flight
    once_each(list(model.generate(asked(20))), 20)
    assert server.adapters == {SHA[:16]: str(tmp_path)}
