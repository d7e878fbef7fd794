"""Both kinds of requests in one stream, of models that compute in another process."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest

from engine.core.control import Control, Interrupted
from engine.models.answers import HELD, WINDOW, Answers
from engine.models.requests import Beside, Completion, Generate, LabelScores, Score
from store.db import Store
from tests.engine.fakes import FakeElsewhere, FakeModel
from tests.engine.models.model_server import serving
from tests.engine.models.openai_models import SHA, asked, opened
from tests.engine.models.vllm.test_vllm_backend import KnownEngine, asking, model_of

__all__ = ["opened"]  # a fixture
GRADE = Score("grade:", ("x", "y"))


class Asking:
    """Requests that are there when somebody says so; until then there are none."""

    def __init__(self, *requests: Generate | Score) -> None:
        self.waiting: list[Any] = list(requests)
        self.more = True

    def __iter__(self) -> Iterator[Any]:
        while self.more or self.waiting:
            yield self.waiting.pop(0) if self.waiting else None


def answers_of(stream: Iterator[Any], n: int) -> list[Any]:
    """The next n answers, whatever is said to be missing before and between them."""
    return [next(answer for answer in stream if answer is not None) for _ in range(n)]


def test_models_that_compute_here_are_none_of_these() -> None:
    assert isinstance(model_of(KnownEngine()), Beside) and not isinstance(FakeModel(), Beside)


def test_vllm_answers_both_kinds_and_waits_for_none_that_is_not_there() -> None:
    asked = Asking(*asking("ab", "cd"), GRADE)
    stream = model_of(KnownEngine()).together(asked)
    found = answers_of(stream, 3)
    assert {one.text for one in found if isinstance(one, Completion)} == {"ba", "dc"}
    assert [one.logprobs for one in found if isinstance(one, LabelScores)] == [(-ord("x") / 100, -ord("y") / 100)]
    assert [next(stream) for _ in range(3)] == [None] * 3
    asked.waiting += asking("ef")
    assert [one.text for one in answers_of(stream, 1)] == ["fe"]
    asked.more = False
    assert list(stream) == []


@pytest.mark.parametrize(("dies", "ends"), [((2, 7), False), ((2, 3), True)], ids=["long after", "at once"])
def test_an_engine_may_die_again_once_all_that_it_had_was_answered(dies: tuple[int, ...], ends: bool) -> None:
    engine = KnownEngine(dies=dies)
    asked = Asking(*asking("ab", "cd", "ef"))
    stream = model_of(engine).together(asked)
    with pytest.warns(RuntimeWarning, match="started again"):
        if ends:
            with pytest.raises(Exception, match="died again"):
                answers_of(stream, 3)
            return
        answers_of(stream, 3)
        asked.waiting += asking("gh", "ij", "kl")
        answers_of(stream, 3)
    assert engine.restarts == 2


def test_servers_answer_both_kinds_and_wait_for_none_that_is_not_there(opened: Callable[..., Any]) -> None:
    with serving() as server:
        waiting = Asking(*asked(5), Score("a river is", (" a", " b")))
        stream = opened(server, batch=2).together(waiting)
        found = answers_of(stream, 6)
        assert {one.request.seed for one in found if isinstance(one, Completion)} == set(range(5))
        assert sum(isinstance(one, LabelScores) for one in found) == 1
        assert [next(stream) for _ in range(2)] == [None, None]
        waiting.more = False
        assert list(stream) == []


def test_a_server_is_asked_for_the_adapter_that_was_in_use_when_it_was_asked(
    opened: Callable[..., Any], tmp_path: Any
) -> None:
    with serving() as server:
        model = opened(server)
        before = model._answer(asked(1)[0])  # its turn comes later
        model.use(tmp_path, SHA)
        model._servers.run(before)
        assert server.requests[-1]["body"]["model"] == "toy"
        model._servers.run(model._answer(asked(1)[0]))
        assert server.requests[-1]["body"]["model"] == SHA[:16]


@pytest.fixture
def store(tmp_path: Any) -> Iterator[Store]:
    with Store.open(tmp_path / "a.duckdb") as found:
        yield found


def committed(store: Store, table: str) -> int:
    return int(store.reader().query(f"SELECT count(*) AS n FROM {table}")[0]["n"])


def test_what_one_stream_holds_is_committed_while_another_is_read(store: Store) -> None:
    answers = Answers(FakeElsewhere(batch_size=4), store, "s", Control())
    asked = Asking(*asking(*"abcdefghijklmnop"))
    stream = answers.together(asked)
    found = next(stream)
    while not answers._streams[0].held:
        found += next(stream)
    list(answers.score([GRADE]))
    assert not answers._streams[0].held and committed(store, "completions") > len(found)
    while len(found) < 16:
        found += next(stream)
    asked.more = False
    assert committed(store, "completions") == 16 and not any(stream)


def test_an_answer_that_is_asked_for_again_is_the_stored_one(store: Store) -> None:
    model = FakeElsewhere(batch_size=8)
    answers = Answers(model, store, "s", Control())
    (request,) = asking("a text")
    requests: Iterable[Any] = iter([request, None, None, None, None, None, None, None, None, None, request, None])
    found = [answered for batch in answers.together(requests) for answered in batch]
    assert [answer.request for _, answer in found] == [request, request]
    assert len(model.generated) == 1 and answers.reused == 1


@pytest.mark.parametrize("beside", [False, True])
def test_what_is_stored_already_is_given_in_batches_between_which_a_run_may_stop(store: Store, beside: bool) -> None:
    control, n = Control(), 3 * HELD
    answers = Answers(FakeElsewhere(batch_size=8), store, "s", control)
    requests = asking(*map(str, range(n)))
    list(answers.complete(requests))
    read: list[Any] = []
    asked = (read.append(request) or request for request in requests)
    stream = answers.together(asked) if beside else answers.written(asked)
    assert len(next(stream)) == HELD and len(read) == (WINDOW if beside else n)
    control.stop()
    with pytest.raises(Interrupted):
        next(stream)
