"""A model on a real cluster of two workers on this machine: answers, deaths, foreign weights."""

from __future__ import annotations

import functools
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("ray", reason="Ray is not installed: pip install -e '.[scale]'")

from ray.cluster_utils import Cluster

from engine.core.errors import ModelError, PromptTooLong
from engine.core.events import Event, Noted
from engine.models import registry
from engine.models.files.source import Source, resolve
from engine.models.ray import backend, nodes
from engine.models.ray.backend import RayModel, _together
from engine.models.requests import Beside, Completion, Decoding, Generate, Read, Score, adapter_fingerprint
from engine.run.engine import open_engine
from engine.run.orders import NewRun
from tests.engine.fakes import FakeModel, data_rows, run_engine
from tests.engine.models.ray.workers import Differing, Shallow, SlowModel, broken
from tests.engine.models.test_together import Asking, answers_of

pytestmark = [pytest.mark.slow, pytest.mark.integration, pytest.mark.xdist_group("ray")]

SOURCE = Source("fake", "fake", "", "", embedded=False)
NAMES = ("Paris", "Rome", "London", "Madrid", "Vienna", "Prague")
SETTINGS = {
    "critics.instruction": "[grade]", "critics.sample": "[grade, ended]", "instructions.round": "4",
    "responses.drafts": "1", "expected_candidates_per_accepted": "1.5",
}  # fmt: skip


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A head without work, and two nodes with one core each."""
    room = {"object_store_memory": 80 * 2**20}
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False, **room})
    for _ in range(2):
        made.add_node(num_cpus=1, **room)
    yield made
    made.shutdown()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nodes, "LOOK_S", 0.2)
    monkeypatch.setattr(nodes, "PAUSE_S", 0.1)


@pytest.fixture
def loaded(cluster: Cluster, tmp_path: Path) -> Iterator[RayModel]:
    model = RayModel.load(SOURCE, cluster.address, functools.partial(SlowModel, tmp_path))
    yield model
    model.close()


def asking(n: int) -> list[Generate]:
    return [Generate(f"prompt {i % 7}", Decoding(8), i) for i in range(n)]


def pids(folder: Path) -> list[int]:
    return [int(file.stem) for file in folder.glob("*.pid") if Path(f"/proc/{file.stem}").exists()]


def test_requests_are_shared_and_each_is_answered_once(loaded, tmp_path):
    assert loaded.facts["workers"] == [os.uname().nodename] * 2 and loaded.batch_size == 8
    assert [file.read_text() for file in tmp_path.glob("*.pid")] == ["", ""]  # none goes on a cluster itself
    alone = {answer.request: answer for answer in FakeModel().generate(asking(60))}
    stream = loaded.generate(iter(asking(60)))
    first = next(stream)
    scores = [Score(f"rubric {n}", ("A", "B")) for n in range(40)]
    assert Counter(answer.request for answer in loaded.score(scores)) == Counter(scores)  # two streams in turns
    found = [first, *stream]
    assert len(found) == 60 and {answer.request: answer for answer in found} == alone
    told = [len(file.read_text()) for file in tmp_path.glob("*.answers")]
    assert len(told) == 2 and min(told) > 15
    assert loaded.encoding("abc") == FakeModel().encoding("abc") and loaded.chat([], "hi") is None


def test_both_kinds_are_asked_in_one_stream_that_waits_for_none_that_is_not_there(loaded):
    assert isinstance(loaded, Beside)
    grades = [Score(f"rubric {n}", ("A", "B")) for n in range(20)]
    asked = Asking(*asking(20), *grades)
    stream = loaded.together(asked)
    found = answers_of(stream, 40)
    assert Counter(answer.request for answer in found) == Counter([*asking(20), *grades])
    assert next(stream) is None and next(stream) is None
    asked.waiting += asking(21)[20:]
    assert [type(answer) for answer in answers_of(stream, 1)] == [Completion]
    asked.more = False
    assert list(stream) == []
    refused = loaded.together(iter([*grades, Generate("long", Decoding(4000), 0)]))
    with pytest.raises(PromptTooLong):
        next(refused)
        loaded.use(None)  # what was asked before is answered first, and this never is
        list(refused)


def test_an_error_of_the_model_is_told_and_no_death(loaded):
    told: list[str] = []
    loaded.tell(told.append)
    with pytest.raises(ModelError, match="the tokenizer fails"):
        loaded.encoding("broken")
    assert not told and len(loaded._nodes.workers) == 2


def test_a_pause_is_no_silence_of_the_workers(loaded, monkeypatch):
    told: list[str] = []
    loaded.tell(told.append)
    stream = loaded.generate(asking(60))
    next(stream)
    later = SimpleNamespace(monotonic=lambda: time.monotonic() + 2 * nodes.STALLED_S, sleep=time.sleep)
    for module in (backend, nodes):
        monkeypatch.setattr(module, "time", later)
    assert len(list(stream)) == 59 and not told


def test_a_stream_that_is_closed_or_refused_leaves_the_others_alone(loaded):
    stream = loaded.generate(asking(200))
    next(stream)
    stream.close()
    assert not loaded._asked
    with pytest.raises(PromptTooLong, match="too long") as caught:
        list(loaded.generate([*asking(3), Generate("long", Decoding(4000), 0), *asking(30)[10:]]))
    assert "safe" in caught.value.hint and not loaded._asked
    assert len(list(loaded.generate(asking(9)))) == 9


def test_an_adapter_is_used_everywhere_or_nowhere(loaded, tmp_path, monkeypatch):
    folder = tmp_path / "adapter"
    with pytest.raises(ModelError, match="there is no"):
        loaded.use(folder, "ab" * 32)
    assert loaded.in_use is None and loaded.fingerprint == "fa" * 8
    folder.mkdir()
    (folder / "weights").write_text("w")
    with pytest.raises(ModelError, match="are others on"):
        loaded.use(folder, "ab" * 32)
    loaded.use(folder)
    assert loaded.fingerprint != "fa" * 8 and loaded.in_use is not None
    loaded.use(None)
    assert loaded.fingerprint == "fa" * 8
    monkeypatch.setattr(backend, "adapter_fingerprint", lambda *_: "another")
    with pytest.raises(ModelError, match="with the adapter in use, which is another"):
        loaded.use(folder)
    assert loaded.in_use is None and loaded.fingerprint == "fa" * 8


def test_an_adapter_has_its_own_fingerprint_where_no_worker_lives_to_tell_it(loaded, tmp_path):
    told: list[str] = []
    loaded.tell(told.append)
    folder, before = tmp_path / "adapter", pids(tmp_path)
    folder.mkdir()
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    loaded.use(folder)
    assert sum("is lost" in line for line in told) == 2
    assert loaded.fingerprint == adapter_fingerprint("fa" * 8, "")
    (answer,) = loaded.generate(asking(1))  # of a worker that was started again and has it, which is compared
    assert answer.request == asking(1)[0]


def test_a_worker_that_is_killed_costs_no_answer_and_is_started_again(loaded, tmp_path):
    told: list[str] = []
    loaded.tell(told.append)
    before, found = pids(tmp_path), []
    for n, answer in enumerate(loaded.generate(asking(400))):
        found.append(answer.request)
        if n == 20:
            os.kill(before[0], signal.SIGKILL)
    assert Counter(found) == Counter(asking(400))
    assert "is lost" in told[0] and "started again" in told[0] and "asked again" in told[1]
    until = time.monotonic() + 60
    while len(loaded._nodes.workers) < 2:
        assert time.monotonic() < until
        list(loaded.generate(asking(5)))
    assert len(set(pids(tmp_path)) - set(before)) == 1
    assert loaded.batch_size == 8


def test_a_worker_that_dies_at_once_is_given_up_and_the_end_is_said(cluster, tmp_path, monkeypatch):
    monkeypatch.setattr(backend, "GIVE_UP_S", 0.5)
    monkeypatch.setattr(nodes, "DEATHS", 1)
    model = RayModel.load(SOURCE, cluster.address, functools.partial(SlowModel, tmp_path))
    told: list[str] = []
    model.tell(told.append)
    with pytest.raises(ModelError, match="no worker of the Ray cluster answers") as caught:
        for _ in model.generate(asking(500)):
            for pid in pids(tmp_path):
                os.kill(pid, signal.SIGKILL)
    model.close()
    assert "cai resume" in caught.value.hint and sum("it stays out" in line for line in told) == 2


def test_a_sigterm_is_still_this_programs_own(cluster, tmp_path):
    told: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: told.append(number))
    make = functools.partial(SlowModel, tmp_path)
    try:
        with ThreadPoolExecutor(1) as thread:  # as the engine does
            model = thread.submit(RayModel.load, SOURCE, cluster.address, make).result()
        os.kill(os.getpid(), signal.SIGTERM)
        left_s = signal.getitimer(signal.ITIMER_REAL)[0]
        model.close()
        assert told == [signal.SIGTERM]
        assert not 0 < left_s <= 3  # of the alarm that would abort this process
    finally:
        signal.signal(signal.SIGTERM, before)


def test_workers_with_other_weights_or_layers_are_no_cluster(cluster, tmp_path):
    with pytest.raises(ModelError, match="have not the same model: layers"):
        RayModel.load(SOURCE, cluster.address, functools.partial(Shallow, tmp_path))
    with pytest.raises(ModelError, match="have not the same model: fingerprint 0") as caught:
        RayModel.load(SOURCE, cluster.address, functools.partial(Differing, tmp_path))
    assert "the same files" in caught.value.hint


def test_why_no_worker_could_load_the_model_is_said(cluster):
    with (
        pytest.warns(RuntimeWarning, match="it stays out"),
        pytest.raises(ModelError, match=r"answers: .*could not be loaded: no memory\. Free some"),
    ):
        RayModel.load(SOURCE, cluster.address, broken)


def test_a_cluster_that_is_not_there_is_said(monkeypatch):
    def init(**_: Any) -> None:  # of which the real one finds that of the other tests
        raise ConnectionError("Could not find any running Ray instance.")

    monkeypatch.setattr("ray.init", init)
    with pytest.raises(ModelError, match="no Ray cluster was reached at auto: Could not find any") as caught:
        RayModel.load(SOURCE, "auto", broken)
    assert "ray start --head" in caught.value.hint


def killing(folder: Path, told: list[Event]) -> Callable[[Event], None]:
    """A listener that kills one worker once, when some responses are there."""

    def listen(event: Event) -> None:
        told.append(event)
        answered = sum(file.stat().st_size for file in folder.glob("*.answers"))
        if answered > 30 and not (folder / "killed").exists():
            (folder / "killed").touch()
            os.kill(pids(folder)[0], signal.SIGKILL)

    return listen


def test_a_run_whose_worker_is_killed_has_the_rows_of_one_machine(cluster, tmp_path, monkeypatch):
    options: dict[str, Any] = {"pilot": 8, "overrides": SETTINGS}
    alone = run_engine(tmp_path / "alone.duckdb", monkeypatch, FakeModel(), **options)
    wanted = data_rows(alone)
    alone.close()
    told: list[Event] = []
    make = functools.partial(SlowModel, tmp_path)
    monkeypatch.setattr("engine.models.registry.load", lambda *_, **__: RayModel.load(SOURCE, cluster.address, make))
    opened = open_engine(NewRun(tmp_path / "many.duckdb", **options), killing(tmp_path, told))
    opened.start()
    assert opened.join(200) and opened.error is None
    assert (tmp_path / "killed").exists()
    assert data_rows(opened) == wanted
    notes = [event.text for event in told if isinstance(event, Noted)]
    assert any("is lost" in text for text in notes)
    computed = opened.store.reader().query("SELECT value FROM metrics WHERE name = 'model_calls_computed'")
    kept = opened.store.reader().query("SELECT (SELECT count(*) FROM completions) + (SELECT count(*) FROM scores) AS n")
    assert computed[0]["value"] == kept[0]["n"]
    opened.close()


@pytest.mark.model
def test_the_base_model_answers_on_workers_as_in_this_process(cluster, base_model):
    here = functools.partial(registry.load, "gemma-3-270m", batch_size=2)
    model = RayModel.load(resolve(None), cluster.address, here)
    try:
        asked = [Generate(f"The river that flows through {name} is", Decoding(8, 0.9, 50), 3) for name in NAMES]
        alone = {answer.request: (answer.text, answer.token_ids) for answer in base_model.generate(asked)}
        assert {answer.request: (answer.text, answer.token_ids) for answer in model.generate(asked)} == alone
        scores = [Score(f"The capital of {name} is", (" Paris", " Rome, of course")) for name in NAMES]
        near = {answer.request: answer.logprobs for answer in base_model.score(scores)}
        for found in model.score(scores):
            assert found.logprobs == pytest.approx(near[found.request], abs=2e-3)
        (states,) = model.hidden([Read("a text", (1, model.layers))])
        (wanted,) = base_model.hidden([Read("a text", (1, base_model.layers))])
        assert abs(states.states - wanted.states).max() < 1e-2
        assert model.fingerprint == base_model.fingerprint and model.facts["base_fingerprint"] == model.fingerprint
        assert model.encoding("two  spaces") == base_model.encoding("two  spaces")
    finally:
        model.close()


def test_devices_are_added_up():
    assert _together(["8 x NVIDIA H100", "8 x NVIDIA H100", "1 x NVIDIA L40S"]) == "16 x NVIDIA H100, NVIDIA L40S"
    assert _together(["cpu", "cpu"]) == "cpu"
