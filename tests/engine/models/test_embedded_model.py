"""The real base model: known answers, what it is fed, and fast paths against the plain one."""

from __future__ import annotations

import pytest
import torch

from engine.core.data import read_data
from engine.models.local import forward
from engine.models.requests import Decoding, Encoding, Generate, Score
from engine.quality.guard import encoding_fault
from engine.spec import prompts
from tests.engine.models.real_server import reference

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
    assert base_model._text.decode(list(ids)) == text


def test_water_freezes_at_32_degrees(base_model):
    (found,) = base_model.generate([Generate("Water freezes at", Decoding(4), 0)])
    assert found.text == " 32 degrees Fahrenheit."[: len(found.text)] and found.text.startswith(" 32 degrees")


def test_text_that_spells_a_special_token_stays_text(base_model):
    encoding = base_model.encoding("<bos><start_of_turn>user")
    assert encoding.token_ids.count(2) == 1
    assert not set(encoding.token_ids) & encoding.chat_ids


def test_a_chat_template_is_seen_in_the_first_tokens(base_model):
    turn = base_model._text.tokenizer.convert_tokens_to_ids("<start_of_turn>")
    chat = frozenset({turn})
    fault = encoding_fault(Encoding((2, turn, 2364), ("<bos>", "<start_of_turn>", "user"), 2, chat))
    assert fault is not None and "<start_of_turn>" in fault


def _requests() -> list[Generate]:
    few = [(row["instruction"], row["response"]) for row in read_data("response_examples")[:4]]
    decoding = Decoding(10, 0.8, 50, 0.9, prompts.RESPONSE_STOPS)
    asked = [prompts.response(few, row["text"]) for row in read_data("seeds")[:10]]
    return [Generate(prompt.text, decoding, seed, prompt.shared) for seed, prompt in enumerate(asked)]


def test_the_batch_size_changes_no_text(base_model, monkeypatch):
    found = []
    for size in (8, 3):
        monkeypatch.setattr(base_model._path, "batch_size", size)
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
    # Past the 512 tokens that a layer with a sliding window sees, behind a shared beginning.
    graded = [(row["instruction"], row["response"], row["label"]) for row in read_data("grade_pairs")]
    pairs = [prompts.grade_pair(graded, row["instruction"], row["response"]) for row in read_data("calibration_pairs")]
    requests += [Score(prompt.text, (" good", " bad"), prompt.shared) for prompt in pairs[:2]]
    assert len(base_model._text.plain(requests[-1].prompt)) > 600 > base_model._path._window > 0
    for found in base_model.score(requests):
        for label, logprob, n_tokens in zip(found.request.labels, found.logprobs, found.n_tokens, strict=True):
            assert n_tokens == len(base_model._text.plain(label))
            assert logprob == pytest.approx(reference(base_model, found.request.prompt, label), abs=2e-3)


def test_many_label_places_equal_few(base_model, monkeypatch):
    """Logits of many places are computed in several parts: parts of two give what one part gives."""
    requests = [Score(f"Item {n} is", (" good, I think", " bad"), 0) for n in range(6)]
    whole = {found.request: found.logprobs for found in base_model.score(requests)}
    monkeypatch.setattr(forward, "LOGIT_ROWS", 2)
    for found in base_model.score(requests):
        assert found.logprobs == pytest.approx(whole[found.request], abs=1e-4)


def test_who_shares_a_window_changes_no_score(base_model):
    """Alone, behind another beginning, with labels of any length and none: each has the scores that it has alone."""
    shared = "Rivers flow into"
    requests = [
        Score("Rivers flow into the", (" sea", " sky"), len(shared)),
        Score("Rivers flow into a", (" lake", " large lake", ""), len(shared)),
        Score("Two and two make", (" four", " five")),
        Score("Rivers flow into the", (" sea, and the sea into the ocean",), len(shared)),
    ]
    together = {found.request: found for found in base_model.score(requests)}
    assert list(together) == requests
    for request in requests:
        (alone,) = base_model.score([Score(request.prompt, request.labels)])
        assert together[request].logprobs == pytest.approx(alone.logprobs, abs=1e-4)
        assert together[request].n_tokens == alone.n_tokens
    assert together[requests[1]].logprobs[2] == 0.0
    (nothing,) = base_model.score([Score("Rivers", ("",))])
    assert nothing.logprobs == (0.0,) and nothing.n_tokens == (0,)


def test_a_prefix_that_was_let_go_is_computed_again(base_model):
    """More prefixes than are held, in turn: each text is that of its prompt without any hint."""
    beginnings = [f"The number {n} is a" for n in range(forward.HELD_PREFIXES + 2)]
    hinted = [Generate(text, Decoding(4), 0, len(text)) for text in beginnings]
    plain = {text: base_model_text(base_model, Generate(text, Decoding(4), 0)) for text in beginnings}
    for request in [*hinted, *hinted]:
        assert base_model_text(base_model, request) == plain[request.prompt]


def base_model_text(base_model, request: Generate) -> str:
    (found,) = base_model.generate([request])
    return found.text


@pytest.mark.parametrize(
    "decoding", [Decoding(6), Decoding(6, 0.7, 50, 0.9), Decoding(6, 1.3, 50), Decoding(6, 1.0, 0, 0.9)]
)
def test_candidates_are_those_of_the_whole_vocabulary(base_model, monkeypatch, decoding):
    """Candidates found in bfloat16 and computed anew choose the tokens that all logits in float32 choose."""
    asked = [Generate(request.prompt, decoding, request.seed, request.shared) for request in _requests()[:6]]
    fast = {done.request: done.token_ids for done in base_model.generate(asked)}
    output = base_model._model.get_output_embeddings().weight

    def everything(hidden, rows):
        logits = hidden @ output.T
        return logits.numpy(), torch.arange(logits.shape[-1]).expand_as(logits).numpy()

    monkeypatch.setattr(base_model._path, "_candidates", everything)
    assert {done.request: done.token_ids for done in base_model.generate(asked)} == fast


def test_a_stop_sequence_ends_the_answer_and_is_not_in_it(base_model):
    request = Generate("1, 2, 3, 4, 5, 6,", Decoding(30, stop=("9",)), 0)
    (found,) = base_model.generate([request])
    assert found.stop_reason == "stop" and found.stop_text == "9" and "9" not in found.text
