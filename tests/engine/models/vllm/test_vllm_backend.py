"""The vLLM backend with an engine whose every answer is known: streams, labels, stops, and an engine that dies.

What vLLM itself does is in test_vllm_real.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from engine.core.errors import ModelError, PromptTooLong
from engine.critics import Subject
from engine.critics.others import PmiCritic
from engine.models.files.source import Source
from engine.models.files.tokenizer import Text
from engine.models.requests import Decoding, Generate, LoraFiles, Score, adapter_fingerprint
from engine.models.vllm.backend import VllmModel
from engine.models.vllm.choice import is_wanted
from engine.models.vllm.engine import EngineDied, EngineRequest, LoraAdapter, Produced, Settings
from engine.models.vllm.labels import MOST_LABELS, as_prompts, places_of, sums
from engine.models.vllm.worker import top_k_then_top_p

BOS, EOS = 1, 2


class Letters:
    """A tokenizer of one token a character."""

    chat_template = None
    bos_token_id, eos_token_id, pad_token_id, unk_token_id = BOS, EOS, None, None
    all_special_ids = (BOS, EOS)

    def __call__(self, text: str, add_special_tokens: bool = True, split_special_tokens: bool = False) -> Any:
        ids = [ord(letter) for letter in text]
        return SimpleNamespace(input_ids=[BOS, *ids] if add_special_tokens else ids)

    def decode(self, ids: list[int], **_: Any) -> str:
        return "".join(map(chr, ids))

    def convert_ids_to_tokens(self, ids: Any) -> Any:
        return [chr(i) for i in ids] if isinstance(ids, list) else chr(ids)


class KnownEngine:
    """Answers a prompt with its own letters reversed, each step the newest request; a token weighs -token/100.

    `dies` holds the numbers of the steps at which it dies. It remembers whatever it was told.
    """

    def __init__(self, sequences: int = 2, dies: Iterable[int] = ()) -> None:
        self.settings = Settings("path", "float32", False, 1, sequences, (EOS,), True)
        self.max_model_len, self.lacking_mib = 64, 0
        self.facts: dict[str, Any] = {}
        self.dies, self.steps, self.restarts = set(dies), 0, 0
        self.under_way: dict[str, EngineRequest] = {}
        self.asked: list[str] = []
        self.told: list[EngineRequest] = []
        self.most = 0
        self.aborted: list[str] = []
        self.ending: Callable[[str, EngineRequest], dict[str, Any]] = lambda name, ask: {}

    def add(self, name: str, ask: EngineRequest) -> None:
        self.asked.append(name)
        self.told.append(ask)
        self.under_way[name] = ask
        self.most = max(self.most, len(self.under_way))

    def step(self) -> list[Produced]:
        self.steps += 1
        if self.steps in self.dies:
            self.under_way.clear()
            raise EngineDied("signal 9")
        name, ask = self.under_way.popitem()
        found = Produced(
            name, tuple(reversed(ask.token_ids[1:])), "length", None, "", {t: -t / 100 for t in ask.labels},
            tuple(-token / 100 for token in ask.token_ids[1:]) if ask.weighed else (),
        )  # fmt: skip
        return [replace(found, **self.ending(name, ask))]

    def abort(self, names: Iterable[str]) -> None:
        for name in names:
            self.aborted.append(name)
            self.under_way.pop(name, None)

    def admit(self, adapter: LoraAdapter) -> None:
        if adapter.name == "wrong":
            raise RuntimeError("its shapes are another model's")

    def restart(self, lora_rank: int | None = None) -> None:
        self.restarts += 1
        self.under_way.clear()
        if lora_rank is not None:
            self.settings = replace(self.settings, lora_rank=lora_rank)

    def stop(self) -> None:
        self.under_way.clear()


def model_of(engine: KnownEngine) -> VllmModel:
    return VllmModel(Source("known", "path", "", "", embedded=False), engine, Text(Letters()), "base", {})


def asking(*prompts: str, stop: tuple[str, ...] = ()) -> list[Generate]:
    return [Generate(prompt, Decoding(8, stop=stop), seed) for seed, prompt in enumerate(prompts)]


WORDS = tuple(f"word{n}" for n in range(20))


def test_every_request_has_one_answer_of_its_own():
    found = list(model_of(KnownEngine()).generate(asking(*WORDS)))
    assert {one.request.prompt: one.text for one in found} == {word: word[::-1] for word in WORDS}
    assert [one.request.prompt for one in found] != list(WORDS)  # as they finish, not as they were asked


def test_requests_are_pulled_as_there_is_room():
    engine = KnownEngine(sequences=2)
    pulled = []

    def requests() -> Iterator[Generate]:
        for request in asking(*WORDS):
            pulled.append(request)
            yield request

    stream = model_of(engine).generate(requests())
    assert pulled == []
    next(stream)
    assert len(pulled) == 4 and engine.most == 4  # two that are computed, two that wait for them
    assert len(list(stream)) == len(WORDS) - 1 and engine.most == 4


def test_a_stream_that_is_closed_takes_its_requests_back():
    engine = KnownEngine()
    model = model_of(engine)
    stream = model.generate(asking(*WORDS))
    next(stream)
    stream.close()
    assert len(engine.aborted) == 3 and not engine.under_way
    assert len(list(model.generate(asking("one more")))) == 1


def test_two_streams_are_read_in_turns():
    model = model_of(KnownEngine())
    texts = model.generate(asking("ab", "cd", "ef"))
    first = next(texts)
    (scored,) = model.score([Score("grade:", ("x", "y"))])
    assert scored.logprobs == (-ord("x") / 100, -ord("y") / 100)
    assert {first.text, *(one.text for one in texts)} == {"ba", "dc", "fe"}


def test_labels_of_several_tokens_are_summed():
    engine = KnownEngine()
    (found,) = model_of(engine).score([Score("p", ("ab", "ac", "b"))])
    assert not any(ask.weighed for ask in engine.told)
    assert found.n_tokens == (2, 2, 1)
    assert found.logprobs == pytest.approx([-(97 + 98) / 100, -(97 + 99) / 100, -98 / 100])
    assert len(engine.asked) == 2  # the first tokens together, the second ones after an a


def test_a_response_is_weighed_by_one_prefill_under_its_instruction_and_one_under_none():
    engine = KnownEngine()
    engine.max_model_len = 512
    response = "It is the capital of France, on the Seine, yes"
    asks = PmiCritic().asks(Subject("id", "Where is Paris?", response))
    found = {one.request: one for one in model_of(engine).score([ask.request for ask in asks])}
    assert len(engine.asked) == len(asks) == 2
    expected = -sum(map(ord, f" {response}")) / 100
    for one in found.values():
        assert one.n_tokens == (len(response) + 1,) and one.logprobs == pytest.approx([expected])
    text = Text(Letters())
    assert {ask.token_ids for ask in engine.told} == {
        (*text.encoding(ask.request.prompt).token_ids, *map(ord, f" {response}")) for ask in asks
    }


def test_a_label_that_fills_the_context_is_asked_for_token_by_token():
    engine = KnownEngine()  # 64 tokens, of which a prefill may have 63: vLLM writes one behind every prompt
    (found,) = model_of(engine).score([Score("p" * 60, ("abc",))])
    assert len(engine.asked) == 3 and found.logprobs == pytest.approx([-2.94])
    (found,) = model_of(engine).score([Score("p" * 59, ("abc",))])
    assert len(engine.asked) == 4 and found.logprobs == pytest.approx([-2.94])


@pytest.mark.parametrize(
    ("labels", "prompt", "shared", "whole"),
    [
        ([(1,), (2,)], 5, 0, False),  # one question for both
        ([tuple(range(21))], 40, 0, True),
        ([tuple(range(21)), tuple(range(5, 26))], 40, 0, True),
        ([(1, 2, 3), (4, 5, 6)], 1500, 1400, False),  # the rubric is in the cache
        ([tuple(range(21)), ()], 40, 0, False),
        ([(1, 2), (1, 3), (2,)], 2, 0, False),  # as many prefills as there would be questions, or more
    ],
)
def test_labels_are_prompts_where_that_is_fewer_requests_and_no_more_tokens(labels, prompt, shared, whole):
    assert as_prompts(labels, prompt, shared) is whole


def test_one_token_labels_are_one_question():
    assert list(places_of([(5,), (6,), (5,)]).values()) == [((), (5, 6))]


def test_more_labels_than_one_question_takes():
    labels = [(n,) for n in range(MOST_LABELS + 2)]
    places = places_of(labels)
    assert [len(wanted) for _, wanted in places.values()] == [MOST_LABELS, 2]
    found = {name: {token: float(token) for token in wanted} for name, (_, wanted) in places.items()}
    assert sums(labels, found) == tuple(map(float, range(MOST_LABELS + 2)))


def test_labels_without_tokens_weigh_nothing():
    (found,) = model_of(KnownEngine()).score([Score("p", ("",))])
    assert found.logprobs == (0.0,) and found.n_tokens == (0,)


def ended(**how: Any) -> VllmModel:
    engine = KnownEngine()
    engine.ending = lambda name, ask: how
    return model_of(engine)


def test_a_stop_sequence_is_not_in_the_text_but_in_the_tokens():
    ids = tuple(map(ord, "one\n\ntwo"))
    (found,) = ended(token_ids=ids, reason="stop", stop="\n\n").generate(asking("p", stop=("two", "\n\n")))
    assert (found.text, found.stop_reason, found.stop_text) == ("one", "stop", "\n\n")
    assert found.token_ids == ids and found.n_prompt_tokens == 2


@pytest.mark.parametrize("stop", [None, EOS])
def test_an_end_token_is_not_in_the_text(stop):
    (found,) = ended(token_ids=(97, 98, EOS), reason="stop", stop=stop).generate(asking("p"))
    assert (found.text, found.stop_reason, found.stop_text) == ("ab", "eos", None)
    assert found.token_ids == (97, 98, EOS)


def test_a_stop_that_begins_within_the_prompt_is_vllms_to_find():
    (found,) = ended(token_ids=(97, 98), reason="stop", stop=" b", text="a").generate(asking("p", stop=(" b",)))
    assert (found.text, found.stop_reason, found.stop_text) == ("a", "stop", " b")


def test_a_prompt_that_is_too_long_is_never_sent():
    engine = KnownEngine()
    model = model_of(engine)
    with pytest.raises(PromptTooLong, match="64"):
        list(model.generate(asking("x" * 60)))
    with pytest.raises(PromptTooLong):
        list(model.score([Score("x" * 62, ("ab",))]))
    assert engine.asked == []
    assert len(list(model.score([Score("x" * 62, ("a",))]))) == 1


def test_a_request_that_vllm_gives_up_is_an_error():
    with pytest.raises(ModelError, match="abort"):
        list(ended(reason="abort").generate(asking("p")))


def test_an_engine_that_dies_is_started_again_and_nothing_is_answered_twice():
    engine = KnownEngine(dies=(6,))
    model = model_of(engine)
    with pytest.warns(RuntimeWarning, match="signal 9.*4 requests are asked again"):
        found = [one.request.prompt for one in model.generate(asking(*WORDS))]
    assert sorted(found) == sorted(WORDS)
    assert engine.restarts == 1 and model.facts["restarts"] == 1
    assert len(engine.asked) == len(WORDS) + 4


def test_an_engine_that_dies_while_scores_are_half_answered():
    engine = KnownEngine(dies=(2,))
    with pytest.warns(RuntimeWarning):
        (found,) = model_of(engine).score([Score("p", ("ab", "ac", "b"))])
    assert found.logprobs == pytest.approx([-1.95, -1.96, -0.98])


def test_an_engine_that_dies_twice_is_an_error_and_the_next_stream_has_a_new_one():
    engine = KnownEngine(dies=(2, 3))
    model = model_of(engine)
    with pytest.warns(RuntimeWarning), pytest.raises(ModelError, match="died again"):
        list(model.generate(asking(*WORDS)))
    assert len(list(model.generate(asking(*WORDS)))) == len(WORDS)


def adapter_at(folder: Path, rank: int = 8) -> Path:
    folder.mkdir()
    (folder / "adapter_config.json").write_text(f'{{"r": {rank}}}')
    return folder


def test_an_adapter_is_part_of_the_request_and_of_the_fingerprint(tmp_path):
    engine = KnownEngine()
    model = model_of(engine)
    first, second = adapter_at(tmp_path / "one"), adapter_at(tmp_path / "two", rank=16)
    with pytest.warns(RuntimeWarning, match="rank 8.*started for rank 0.*again"):
        model.use(first, "aa" * 32)
    assert model.fingerprint == adapter_fingerprint("base", "aa" * 32)
    assert model.in_use == LoraFiles(first, "aa" * 32) and model.adaptable == "path"
    list(model.generate(asking("p")))
    with pytest.warns(RuntimeWarning, match="rank 16.*started for rank 8.*again"):
        model.use(second, "bb" * 32)
    model.use(first, "aa" * 32)
    assert engine.restarts == 2 and engine.settings.lora_rank == 16
    stream = model.generate(asking("p", "q"))
    next(stream)
    assert {ask.adapter.number for ask in engine.under_way.values() if ask.adapter} == {1}
    stream.close()
    model.use(None)
    assert model.fingerprint == "base"
    stream = model.generate(asking("p", "q"))
    next(stream)
    assert [ask.adapter for ask in engine.under_way.values()] == [None]


@pytest.mark.filterwarnings("error")
def test_an_engine_that_was_started_for_the_spec_s_rank_takes_its_adapters_as_it_is(tmp_path):
    engine = KnownEngine()
    engine.settings = replace(engine.settings, lora_rank=16)
    model = model_of(engine)
    model.use(adapter_at(tmp_path / "critic", rank=8), "aa" * 32)
    model.use(adapter_at(tmp_path / "trained", rank=16), "bb" * 32)
    assert engine.restarts == 0


@pytest.mark.parametrize("name", ["wrong", "empty"])
@pytest.mark.filterwarnings("ignore:.*it is started again")
def test_an_adapter_that_does_not_fit_is_an_error_and_not_used(tmp_path, name):
    model = model_of(KnownEngine())
    folder = adapter_at(tmp_path / "wrong") if name == "wrong" else tmp_path / "empty"
    with pytest.raises(ModelError, match="could not be loaded"):
        model.use(folder)
    assert model.fingerprint == "base"


def test_memory_that_does_not_come_back_is_told():
    engine = KnownEngine()
    engine.lacking_mib = 9000
    with pytest.warns(RuntimeWarning, match="9000 MiB"):
        model_of(engine).close()


def test_the_backend_is_chosen_by_name_or_by_what_is_there(monkeypatch):
    monkeypatch.setenv("CAI_BACKEND", "vllm")
    assert is_wanted()
    monkeypatch.setenv("CAI_BACKEND", "transformers")
    assert not is_wanted()
    monkeypatch.setenv("CAI_BACKEND", "vlm")
    with pytest.raises(ModelError, match="vlm"):
        is_wanted()
    monkeypatch.delenv("CAI_BACKEND")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    assert not is_wanted()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    assert is_wanted()
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert not is_wanted()


def plain_filter(logits: torch.Tensor, k: int, p: float) -> torch.Tensor:
    """By the definition, with a sort of the whole row."""
    values, ids = logits.sort(descending=True)
    values = values[:k].double()
    mass = values.softmax(0)
    keep = 1 + int((mass.cumsum(0) < p).sum()) if p < 1 else k
    kept = torch.full_like(logits, -torch.inf)
    kept[ids[:keep]] = logits[ids[:keep]]
    return kept


def test_top_k_first_keeps_what_a_full_sort_keeps():
    torch.manual_seed(3)
    logits = torch.randn(6, 500) * 3
    ks, ps = [1, 64, 500, 20, 500, 64], [0.9, 0.9, 0.5, 1.0, 1.0, 0.0001]
    found = top_k_then_top_p(logits.clone(), torch.tensor(ks), torch.tensor(ps))
    for row, (k, p) in enumerate(zip(ks, ps, strict=True)):
        assert torch.equal(found[row], plain_filter(logits[row], k, p)), (k, p)
