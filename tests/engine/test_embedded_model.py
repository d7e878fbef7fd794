"""The real base model: known answers, what it is fed, and fast paths against the plain one."""

from __future__ import annotations

import pytest
import torch

from engine import prompts
from engine.critics import read_data
from engine.guard import encoding_fault
from engine.models import Decoding, Encoding, Generate, Score

pytestmark = [pytest.mark.model, pytest.mark.xdist_group("model")]


def test_the_tokenizer_gives_the_documented_ids(base_model):
    encoding = base_model.encoding("The capital of France is")
    assert encoding.declared_bos == 2
    assert encoding.token_ids == (2, 818, 5279, 529, 7001, 563)
    assert encoding_fault(encoding) is None


@pytest.mark.parametrize(
    "text", ["two  spaces", "naïve 日本語 🙂", "a\n\n\nb\tc", "\x07 bell", "Instruction: x\nResponse:"]
)
def test_encoding_loses_nothing(base_model, text):
    ids = base_model.encoding(text).token_ids[1:]
    assert base_model._decode(list(ids)) == text


def test_water_freezes_at_32_degrees(base_model):
    (found,) = base_model.generate([Generate("Water freezes at", Decoding(4), 0)])
    assert found.text == " 32 degrees Fahrenheit."[: len(found.text)] and found.text.startswith(" 32 degrees")


def test_text_that_spells_a_special_token_stays_text(base_model):
    encoding = base_model.encoding("<bos><start_of_turn>user")
    assert encoding.token_ids.count(2) == 1
    assert not set(encoding.token_ids) & encoding.chat_ids


def test_a_chat_template_is_seen_in_the_first_tokens(base_model):
    turn = base_model._tokenizer.convert_tokens_to_ids("<start_of_turn>")
    chat = frozenset({turn})
    fault = encoding_fault(Encoding((2, turn, 2364), ("<bos>", "<start_of_turn>", "user"), 2, chat))
    assert fault is not None and "<start_of_turn>" in fault


def _requests() -> list[Generate]:
    few = [(row["instruction"], row["response"]) for row in read_data("response_examples")[:4]]
    decoding = Decoding(20, 0.8, 50, 0.9, prompts.RESPONSE_STOPS)
    asked = [prompts.response(few, row["text"]) for row in read_data("seeds")[:10]]
    return [Generate(prompt.text, decoding, seed, prompt.shared) for seed, prompt in enumerate(asked)]


def test_the_batch_size_changes_no_text(base_model, monkeypatch):
    found = []
    for size in (8, 3):
        monkeypatch.setattr(base_model, "batch_size", size)
        found.append({c.request.seed: (c.text, c.token_ids) for c in base_model.generate(_requests())})
    assert found[0] == found[1]


def test_a_shared_prefix_changes_no_text(base_model):
    shared = {c.request.seed: c.text for c in base_model.generate(_requests()[:4])}
    plain = [Generate(r.prompt, r.decoding, r.seed) for r in _requests()[:4]]
    assert shared == {c.request.seed: c.text for c in base_model.generate(plain)}


def test_scores_equal_a_plain_forward_pass(base_model):
    examples = [(row["text"], row["label"]) for row in read_data("grade_instructions")]
    items = [prompts.grade_instruction(examples, row["text"]) for row in read_data("seeds")[:3]]
    requests = [Score(prompt.text, (" Yes", " No"), prompt.shared) for prompt in items]
    requests.append(Score("The capital of France is", (" Paris, of course", " Rome")))
    for found in base_model.score(requests):
        for label, logprob, n_tokens in zip(found.request.labels, found.logprobs, found.n_tokens, strict=True):
            ids = [2, *base_model._plain(found.request.prompt), *base_model._plain(label)]
            logits = base_model._model(torch.tensor([ids])).logits[0].double().log_softmax(-1)
            places = range(len(ids) - n_tokens - 1, len(ids) - 1)
            assert logprob == pytest.approx(sum(float(logits[i, ids[i + 1]]) for i in places), abs=2e-3)


def test_a_stop_sequence_ends_the_answer_and_is_not_in_it(base_model):
    request = Generate("1, 2, 3, 4, 5, 6,", Decoding(30, stop=("9",)), 0)
    (found,) = base_model.generate([request])
    assert found.stop_reason == "stop" and found.stop_text == "9" and "9" not in found.text
