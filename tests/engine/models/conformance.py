"""What every backend must do, one check a function: the same requests, the same contract.

A backend's tests run all of `CHECKS` with a model and a `Case` that holds the independent reference.
"""

from __future__ import annotations

import math
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from engine.core.errors import ModelError, PromptTooLong
from engine.models.requests import Decoding, Generate, LoraFiles, Score, adapter_fingerprint
from engine.quality.guard import encoding_fault

RIVER = "The river that flows through Paris is"
COUNT = "1, 2, 3, 4, 5, 6,"


@dataclass(frozen=True)
class Case:
    """What is compared with. `logprob(prompt, label)` is the label's log-probability in float32, summed over tokens.

    `adapter` is a folder of the base that the model has loaded, and its hash. `ends` is a request that the model ends
    by itself. `same_text`: the same request has the same text in whatever company, which kernels of a GPU do not give.
    `top_k` is 0 for a backend that cannot follow one.
    """

    logprob: Callable[[str, str], float]
    tolerance_nats: float
    adapter: tuple[Path, str] | None
    ends: Generate | None
    same_text: bool = True
    top_k: int = 50

    def sampled(self, n: int, prompt: str = RIVER, first: int = 0, max_tokens: int = 4) -> list[Generate]:
        how = Decoding(max_tokens, 0.9, self.top_k, 0.95)
        return [Generate(f"{prompt} {i % 3}" if i % 3 else prompt, how, first + i) for i in range(n)]


Check = Callable[[Any, Case], None]
CHECKS: list[Check] = []


def check(function: Check) -> Check:
    CHECKS.append(function)
    return function


def texts(model: Any, requests: list[Generate]) -> dict[Generate, tuple[str, str, str | None]]:
    return {a.request: (a.text, a.stop_reason, a.stop_text) for a in model.generate(iter(requests))}


class Pulled:
    """An iterator that counts, and knows the thread it is pulled in."""

    def __init__(self, requests: list[Any]) -> None:
        self.n, self.threads = 0, set[int]()
        self._requests = iter(requests)

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        found = next(self._requests)
        self.n += 1
        self.threads.add(threading.get_ident())
        return found


@check
def requests_are_pulled_as_there_is_room(model: Any, case: Case) -> None:
    many = 40 * model.batch_size
    for ask, requests in (
        (model.generate, case.sampled(many, max_tokens=2)),
        (model.score, [Score(f"{RIVER} {n}", (" a", " the")) for n in range(many)]),
    ):
        pulled = Pulled(requests)
        stream = ask(pulled)
        assert pulled.n == 0
        next(stream)
        assert 0 < pulled.n <= 5 * model.batch_size
        stream.close()
        assert pulled.n <= 5 * model.batch_size
        assert pulled.threads == {threading.get_ident()}


@check
def every_request_has_one_answer_in_whatever_order(model: Any, case: Case) -> None:
    requests = case.sampled(3 * model.batch_size + 1)
    assert Counter(a.request for a in model.generate(requests)) == Counter(requests)
    scores = [Score(f"{RIVER} {n}", (" a", " the")) for n in range(3 * model.batch_size + 1)]
    assert Counter(a.request for a in model.score(scores)) == Counter(scores)
    assert list(model.generate([])) == [] and list(model.score([])) == []


@check
def the_same_request_has_the_same_text(model: Any, case: Case) -> None:
    requests = case.sampled(6)
    once = texts(model, requests)
    assert texts(model, requests) == once if case.same_text else texts(model, requests).keys() == once.keys()
    if case.same_text:
        assert texts(model, case.sampled(9, "Another thing", 50) + requests[::-1]).items() >= once.items()
        assert texts(model, requests[:1])[requests[0]] == once[requests[0]]


@check
def another_seed_has_another_text(model: Any, case: Case) -> None:
    requests = [Generate(RIVER, Decoding(8, 1.0), seed) for seed in (0, 1, 2, 2**62 + 7)]
    assert len({answer.text for answer in model.generate(requests)}) > 1


@check
def temperature_0_is_greedy_and_one_candidate_is_too(model: Any, case: Case) -> None:
    greedy = Generate("Water freezes at", Decoding(4), 0)
    one = Generate("Water freezes at", Decoding(4, 1.5, top_k=1), 3)
    found = texts(model, [greedy, one] if case.top_k else [greedy])
    assert found[greedy][0].startswith(" 32 degrees") and found.get(one, found[greedy]) == found[greedy]


@check
def a_stop_sequence_ends_the_answer_and_is_not_in_it(model: Any, case: Case) -> None:
    plain, stopped, two = (Generate(COUNT, Decoding(30, stop=stop), 0) for stop in ((), ("9",), (" 11", "9, 1", "9")))
    found = {a.request: a for a in model.generate([plain, stopped, two])}
    assert "9" in found[plain].text and found[plain].stop_reason == "length" and found[plain].stop_text is None
    assert (found[stopped].stop_reason, found[stopped].stop_text) == ("stop", "9")
    assert found[stopped].text == found[plain].text[: found[plain].text.find("9")]
    # Tokens are counted with those of the stop sequence, and not with those that would come after it.
    assert 0 < len(found[stopped].token_ids) < len(found[plain].token_ids)
    assert found[two].text == found[stopped].text and found[two].stop_text == "9"  # the first one in the text


@check
def a_stop_sequence_may_come_first(model: Any, case: Case) -> None:
    (found,) = model.generate([Generate(COUNT, Decoding(10, stop=(" ", "7")), 0)])
    assert (found.text, found.stop_reason) == ("", "stop") and found.token_ids


@check
def the_limit_of_tokens_is_kept(model: Any, case: Case) -> None:
    for n in (1, 2, 7):
        (found,) = model.generate([Generate(COUNT, Decoding(n), 0)])
        assert (found.stop_reason, len(found.token_ids), found.stop_text) == ("length", n, None)


@check
def an_end_by_itself_is_told_apart(model: Any, case: Case) -> None:
    if case.ends is None:
        pytest.skip("no request is known that this model ends")
    (found,) = model.generate([case.ends])
    assert (found.stop_reason, found.stop_text) == ("eos", None)
    assert 0 < len(found.token_ids) < case.ends.decoding.max_tokens and "<eos>" not in found.text


@check
def an_empty_prompt_is_answered_or_refused(model: Any, case: Case) -> None:
    """With a BOS there is something to continue; without one, and before vLLM's server, it is refused with a reason."""
    try:
        (found,) = model.generate([Generate("", Decoding(3), 0)])
    except ModelError as error:
        assert error.hint
    else:
        assert len(found.token_ids) == 3 and found.n_prompt_tokens == 1


@check
def text_is_fed_as_it_is(model: Any, case: Case) -> None:
    for text in ("two  spaces", "naïve 日本語 🙂", "a\n\n\nb\tc", "Instruction: x\nResponse:"):
        encoding = model.encoding(text)
        assert encoding_fault(encoding) is None and len(encoding.tokens) == len(encoding.token_ids)
        (found,) = model.generate([Generate(text, Decoding(1), 0)])
        assert found.n_prompt_tokens == len(encoding.token_ids)


@check
def unicode_comes_back_whole(model: Any, case: Case) -> None:
    prompt = "日本の首都は東京です。フランスの首都はパリです。イタリアの首都は"
    (found,) = model.generate([Generate(prompt, Decoding(4, stop=("。",)), 0)])
    assert "\ufffd" not in found.text and any(ord(letter) > 0x3000 for letter in found.text)


@check
def label_logprobs_are_those_of_the_reference(model: Any, case: Case) -> None:
    requests = [
        Score("The capital of France is", (" Paris", " Rome")),
        Score("The capital of France is", (" Paris", " Rome", " purple", " stapler", " the")),
        Score("Water freezes at", (" 32", " seventeen", " 0")),
        Score("The capital of France is", (" Paris, of course, and has been for long.", " banana")),
        Score("naïve 日本語 🙂\nGrade:", (" good", " bad", " très 🙂", " 日本語")),
    ]
    for _ in range(2):  # what a backend learnt of a label must not change it
        for found in model.score(iter(requests)):
            for label, logprob in zip(found.request.labels, found.logprobs, strict=True):
                wanted = case.logprob(found.request.prompt, label)
                assert logprob == pytest.approx(wanted, abs=case.tolerance_nats * max(1, len(label) // 8)), label


@check
def tokens_of_labels_are_counted(model: Any, case: Case) -> None:
    (found,) = model.score([Score("The capital of France is", (" Paris", " Paris, of course"))])
    assert found.n_tokens == (1, 4) and found.logprobs[1] < found.logprobs[0] < 0


@check
def a_score_does_not_depend_on_its_company(model: Any, case: Case) -> None:
    one = Score("The opposite of hot is", (" cold", " window"))
    (alone,) = model.score([one])
    beside = [f"{RIVER} {'very ' * n}" + "long is" for n in range(6)]
    many = {a.request: a for a in model.score([*(Score(text, (" a", " the")) for text in beside), one])}
    assert many[one].logprobs == pytest.approx(alone.logprobs, abs=case.tolerance_nats)
    assert all(math.isfinite(value) and value < 0 for a in many.values() for value in a.logprobs)


@check
def a_shared_beginning_is_a_hint_and_no_more(model: Any, case: Case) -> None:
    prefix = "Q: What is 1 + 1?\nA: 2\n" * 4
    items = [f"{prefix}Q: What is {n} + {n}?\nA:" for n in range(2, 6)]
    plain = [Score(text, (" 4", " 6", " 8")) for text in items]
    hinted = [Score(text, (" 4", " 6", " 8"), len(prefix)) for text in items]
    wanted = {a.request.prompt: a.logprobs for a in model.score(plain)}
    for found in model.score(hinted):
        assert found.logprobs == pytest.approx(wanted[found.request.prompt], abs=case.tolerance_nats)


@check
def closing_in_mid_stream_ends_the_work_and_the_model_goes_on(model: Any, case: Case) -> None:
    pulled = Pulled(case.sampled(20 * model.batch_size, max_tokens=16))
    stream = model.generate(pulled)
    next(stream)
    stream.close()
    n = pulled.n
    assert next(stream, None) is None and pulled.n == n
    assert len(texts(model, case.sampled(4))) == 4


@check
def two_streams_may_be_open_at_once(model: Any, case: Case) -> None:
    wanted = texts(model, case.sampled(6))
    stream = model.generate(case.sampled(6))
    first = next(stream)
    scores = list(model.score([Score(RIVER, (" a", " the"))]))
    found = {a.request: (a.text, a.stop_reason, a.stop_text) for a in (first, *stream)}
    assert len(scores) == 1 and found.keys() == wanted.keys()
    assert not case.same_text or found == wanted


@check
def what_does_not_fit_is_said_and_the_model_goes_on(model: Any, case: Case) -> None:
    with pytest.raises(PromptTooLong) as caught:
        list(model.generate([Generate(RIVER, Decoding(10_000_000), 0)]))
    assert "safe" in caught.value.hint
    with pytest.raises(PromptTooLong):
        list(model.score([Score("a river " * 40_000, (" Yes", " No"))]))
    assert len(texts(model, case.sampled(4))) == 4


@check
def a_failure_of_the_requests_is_raised_as_it_is(model: Any, case: Case) -> None:
    def broken() -> Iterator[Generate]:
        yield from case.sampled(2)
        raise KeyError("the store")

    with pytest.raises(KeyError, match="the store"):
        list(model.generate(broken()))
    assert len(texts(model, case.sampled(4))) == 4


@check
def an_adapter_changes_fingerprint_and_answers_and_goes_away_again(model: Any, case: Case) -> None:
    if case.adapter is None:
        pytest.skip("this backend was started without adapters")
    folder, sha256 = case.adapter
    asked = Score("The capital of France is", (" Paris", " Rome"))
    (before,), fingerprint = list(model.score([asked])), model.fingerprint
    model.use(folder, sha256)
    try:
        (adapted,) = model.score([asked])
        assert model.fingerprint == adapter_fingerprint(fingerprint, sha256)
        assert model.in_use == LoraFiles(folder, sha256)
        assert max(abs(a - b) for a, b in zip(adapted.logprobs, before.logprobs, strict=True)) > 0.05
    finally:
        model.use(None)
    (after,) = model.score([asked])
    assert model.fingerprint == fingerprint and model.in_use is None
    assert after.logprobs == pytest.approx(before.logprobs, abs=case.tolerance_nats)


@check
def it_says_what_it_is(model: Any, case: Case) -> None:
    assert model.name and len(model.fingerprint) == 16 and model.facts["backend"]
    assert model.facts["base_fingerprint"] == model.fingerprint
    assert model.chat([("hi", "hello")], "hi") is None
