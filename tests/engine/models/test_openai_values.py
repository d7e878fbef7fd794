"""What servers tell in place of log-probabilities, and the causes that are told first."""

# ruff: noqa: F811 (fixtures are imported, and named again as arguments)
from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from engine.core.control import Control
from engine.core.errors import ModelError
from engine.models.answers import Answers
from engine.models.files.source import resolve
from engine.models.requests import Score
from engine.models.served.backend import OpenAIModel
from store.db import Store
from tests.engine.models import model_server
from tests.engine.models.model_server import Behaviour, Handler, Server, Ways, label_logprob, serving
from tests.engine.models.openai_models import FAST, asked, opened, server  # noqa: F401

LABELS = (" Yes", " No")
NO_NUMBERS = [float("-inf"), float("inf"), float("nan"), 3.0, None, "n/a", [], True, 10**400]
CLAMPS = [-9999.0, -1e9]


def telling(value: Any, labels: tuple[str, ...] = LABELS) -> Behaviour:
    """What the toy model answers, with `value` as the log-probability of labels."""

    def behaviour(handler: Handler) -> None:
        status, found = model_server.answer(handler.server.ways, handler.body, handler.server.adapters)
        told = found["choices"][0]["logprobs"]
        ids = {f"token_id:{model_server.id_of(label)}" for label in labels}
        for row in told["top_logprobs"] if told else []:
            for token in row or {}:
                if token in labels or token in ids:
                    row[token] = value
        if told:
            values = zip(told["tokens"], told["token_logprobs"], strict=True)
            told["token_logprobs"] = [value if token in labels else had for token, had in values]
        handler.send(status, json.dumps(found))

    return behaviour


@pytest.fixture(scope="module", params=[True, False], ids=["by id", "by prompt"])
def met(request: pytest.FixtureRequest) -> Iterator[tuple[Server, OpenAIModel]]:
    """A server and its model, which are asked of many values."""
    with serving(Ways(extensions=request.param, top=1)) as server:
        model = OpenAIModel.load(resolve(server.url), batch_size=1, patience=FAST)
        yield server, model
        model.close()


@pytest.mark.parametrize("value", [*NO_NUMBERS, *CLAMPS], ids=lambda value: str(value)[:9])
def test_what_is_no_log_probability_fails_the_request_with_server_and_value(met, value, monkeypatch):
    monkeypatch.setattr("engine.models.served.backend.UNUSABLE_AT_MOST", 1)
    server, model = met
    server.always = telling(value)
    with pytest.raises(ModelError, match="can't be used") as caught:
        list(model.score([Score("a river is", LABELS)]))
    assert caught.value.title.startswith(f"{server.url}: ") and "safe" in caught.value.hint
    assert str(value)[:50] in caught.value.title and len(caught.value.title) < 300


@pytest.mark.parametrize(
    ("value", "labels", "taken"),
    [(-100.0, LABELS, False), (-100.0, LABELS[:1], True), (-100.25, LABELS, True), (-3.0, LABELS, True)],
    ids=["the same clamp", "one is low", "no clamp", "both likely"],
)
def test_the_same_clamp_for_every_label_is_no_measurement(met, value, labels, taken, monkeypatch):
    monkeypatch.setattr("engine.models.served.backend.UNUSABLE_AT_MOST", 1)
    server, model = met
    wanted = tuple(value if label in labels else label_logprob("a river is", label) for label in LABELS)
    server.always = telling(value, labels)
    if taken:
        (found,) = model.score([Score("a river is", LABELS)])
        assert found.logprobs == pytest.approx(wanted)
        return
    with pytest.raises(ModelError, match=r"-100.0 for ' Yes', ' No'"):
        list(model.score([Score("a river is", LABELS)]))


def test_a_long_label_may_be_as_unlikely_as_it_is(met):
    server, model = met
    server.always = None
    label = " zebra" * 900
    (found,) = model.score([Score("a river is", (label,))])
    assert found.logprobs[0] < -9999.0 and found.logprobs[0] == pytest.approx(label_logprob("a river is", label))


def test_what_rounding_leaves_above_zero_is_zero(met):
    server, model = met
    server.always = telling(1e-6, LABELS[:1])
    (found,) = model.score([Score("a river is", LABELS)])
    assert found.logprobs[0] == 0.0


@pytest.mark.parametrize("value", [3.0, float("nan"), None, "n/a"], ids=str)
def test_a_server_that_tells_such_values_from_the_start_is_refused(opened, server, value):
    server.always = telling(value, (" Paris",))
    with pytest.raises(ModelError) as caught:
        opened(server)
    assert server.url in caught.value.title and "log-probabilit" in caught.value.title


def test_one_bad_value_is_asked_for_again_and_what_came_before_is_committed(opened, server, tmp_path, monkeypatch):
    monkeypatch.setattr("engine.models.served.backend.UNUSABLE_AT_MOST", 2)
    model = opened(server, batch=1)
    requests = [Score(f"a river {n} is", LABELS) for n in range(8)]
    server.script = [model_server.good, telling(None), *[model_server.good] * 40]
    with Store.open(tmp_path / "a.duckdb") as store:
        answers = Answers(model, store, "session", Control())
        assert len(list(answers.score(requests))) == 8
        server.script, server.always = [model_server.good] * 3, telling("n/a")
        with pytest.raises(ModelError, match="n/a"):
            list(answers.score([Score(f"a castle {n} is", LABELS) for n in range(8)]))
        with store.reader() as reader:
            (kept,) = reader.query("SELECT count(*) AS n FROM scores")
        assert 8 < kept["n"] < 16


# The cause comes first


def test_a_server_that_becomes_another_model_is_told_of_before_the_time(opened):
    with ExitStack() as later:
        with serving() as first:
            model = opened(first, batch=2)
            port = first.server_address[1]
        other = later.enter_context(serving(Ways(name="else", root="/models/else"), port))
        time.sleep(0.2)
        with pytest.raises(ModelError) as caught:
            list(model.generate(asked(5)))
        title = caught.value.title
        assert title.startswith(f"{other.url}: it serves id else") and "the first one id toy" in title
        assert title.index("id toy") < title.index("no server of the model answered") and "safe" in caught.value.hint


def test_a_server_that_wants_to_be_asked_much_later_says_so_first(opened, server):
    model = opened(server, batch=2)
    server.always = model_server.status(429, "quota used up", Retry_After="7200")
    with pytest.raises(ModelError, match="no server of the model answered") as caught:
        list(model.generate(asked(3)))
    assert caught.value.title.startswith(f"{server.url}: 429: quota used up (it asks for 7200 s")


def test_servers_with_one_cause_are_named_together(opened):
    with serving() as first, serving() as second:
        model = opened(first, second, batch=2)
        for one in (first, second):
            one.always = model_server.status(503, "loading")
        with pytest.raises(ModelError) as caught:
            list(model.generate(asked(3)))
        assert caught.value.title.startswith(f"{first.url}, {second.url}: 503: loading; no server")
    assert FAST.give_up_s < 5
