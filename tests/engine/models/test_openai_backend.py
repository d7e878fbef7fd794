"""The openai backend against servers whose every number is known: what is asked, told, checked and refused."""

# ruff: noqa: F811 (fixtures are imported, and named again as arguments)
from __future__ import annotations

import dataclasses
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from engine.core.errors import ModelError, ModelUnknown, PromptTooLong
from engine.models.files.source import local_folder, resolve
from engine.models.registry import load
from engine.models.requests import Decoding, Generate, LoraFiles, Score
from engine.models.served.servers import Patience
from tests.engine.models import model_server
from tests.engine.models.model_server import Ways, label_logprob, serving
from tests.engine.models.openai_models import asked, once_each, opened, server  # noqa: F401

# What a server tells


@pytest.mark.parametrize(
    "ways",
    [Ways(), Ways(extensions=False), Ways(extensions=False, top=5), Ways(extensions=False, top=1), Ways(bos=0)],
    ids=["by id", "first 20", "first 5", "by prompt", "no BOS"],
)
def test_labels_have_the_numbers_of_the_model_on_each_way(opened, ways):
    with serving(ways) as server:
        model = opened(server)
        labels = (" good", " bad", " Paris nine", " zebra", "!")
        prompts = ["Grade:", "Grade: the river\nGrade:", "Ünïcode 日本語 🙂 grade:"]
        for _ in range(2):  # the second time by what was learnt from the first
            for found in model.score(Score(prompt, labels) for prompt in prompts):
                wanted = [label_logprob(found.request.prompt, label) for label in labels]
                assert found.logprobs == pytest.approx(wanted, abs=1e-9)
                assert found.n_tokens == (1, 1, 2, 1, 1)


def test_labels_of_one_token_cost_one_request_once_they_are_known(opened, server):
    model = opened(server)
    list(model.score([Score("Grade:", (" good", " bad"))]))
    before = len(server.requests)
    list(model.score(Score(f"item {n}\n\n\n\nThe last\nGrade:", (" good", " bad")) for n in range(20)))
    first = [one["body"] for one in server.requests[before:]]
    assert len(first) <= 20 + 2 * 8  # those that were under way when nothing was known
    list(model.score(Score(f"thing {n}\n\n\n\nThe last\nGrade:", (" good", " bad")) for n in range(20)))
    assert len(server.requests) - before - len(first) == 20


def test_a_label_that_joins_the_prompts_last_token_is_refused(opened, server):
    with pytest.raises(ModelError, match="does not begin with a token of its own"):
        list(opened(server).score([Score("Gra", ("de",))]))


def test_only_raw_completions_are_asked_and_all_that_decides_is_sent(opened, server):
    model = opened(server)
    list(model.generate([Generate("x", Decoding(3, 0.7, 40, 0.9, ("\n###",)), 2**62 + 5)]))
    assert {one["path"] for one in server.requests} == {"/v1/completions"}
    body = server.requests[-1]["body"]
    assert body.pop("seed") < 2**31
    assert body == {
        "model": "toy", "prompt": "x", "max_tokens": 3, "temperature": 0.7, "top_p": 0.9, "top_k": 40, "min_p": 0.0,
        "stop": ["\n###"], "repetition_penalty": 1.0, "presence_penalty": 0.0, "frequency_penalty": 0.0, "n": 1,
        "stream": False, "skip_special_tokens": False, "spaces_between_special_tokens": False, "return_token_ids": True,
    }  # fmt: skip
    assert model.chat([], "hello") is None


@pytest.mark.parametrize("extensions", [True, False])
def test_a_server_that_does_not_name_its_stops_gives_the_same_answers(opened, extensions):
    found = []
    for names in (True, False):
        with serving(Ways(names_stops=names, extensions=extensions)) as server:
            answers = opened(server).generate(asked(60, stop=(" the", " new")))
            found.append(sorted((a.request.seed, a.text, a.token_ids, a.stop_reason, a.stop_text) for a in answers))
    assert found[0] == found[1] and {"stop", "length"} <= {row[3] for row in found[0]}


def test_ends_are_told_apart(opened, server):
    found = list(opened(server).generate(asked(300, max_tokens=20, stop=(" nine",))))
    assert {answer.stop_reason for answer in found} == {"stop", "eos", "length"}
    for answer in found:
        assert (answer.stop_text is None) == (answer.stop_reason != "stop") and "<eos>" not in answer.text
        assert (answer.token_ids[-1] == 1) == (answer.stop_reason == "eos")
        assert (len(answer.token_ids) == 20) or answer.stop_reason != "length"


def test_top_k_that_a_server_ignores_is_refused_where_it_is_wanted(opened):
    with serving(Ways(extensions=False)) as server:
        model = opened(server)
        assert model.facts["top_k"] == "not followed"
        once_each(list(model.generate(asked(3))), 3)
        with pytest.raises(ModelError, match="top_k"):
            list(model.generate(asked(3, top_k=5)))


def test_what_does_not_fit_is_said_and_the_model_goes_on(opened, server):
    model = opened(server)
    with pytest.raises(PromptTooLong, match="context"):
        list(model.generate(asked(1, max_tokens=10_000)))
    once_each(list(model.generate(asked(3))), 3)


def test_what_is_fed_is_shown(opened, server):
    encoding = opened(server).encoding("a river")
    assert encoding.tokens == ("<bos>", "a", " river") and encoding.token_ids[0] == 2 == encoding.declared_bos


# What is found at the start


@pytest.mark.parametrize(
    ("ways", "said"),
    [
        (Ways(bos=2), "adds tokens that nobody asked for"),
        (Ways(echo=False), "can't score prompts"),
        (Ways(shift=1.0), "contradict each other"),
        (Ways(bos=0, tokenizer_info={"add_bos_token": True}), "wants a BOS in front"),
        (Ways(tokenizer_info={"add_bos_token": False}), "wants no BOS in front"),
    ],
)
def test_a_server_that_feeds_or_tells_wrongly_is_refused(opened, ways, said):
    with serving(ways) as server, pytest.raises(ModelError, match=said) as caught:
        opened(server)
    assert caught.value.hint


def test_an_unverified_bos_is_said(opened, server):
    assert opened(server).facts["bos_check"].startswith("not verified")
    with serving(Ways(tokenizer_info={"add_bos_token": True})) as telling:
        assert opened(telling).facts["bos_check"].startswith("verified")


def test_the_fingerprint_is_what_the_servers_say_and_neither_where_nor_when(opened):
    found = []
    for ways in (Ways(), Ways(), Ways(root="/models/other"), Ways(bos=0)):
        with serving(ways) as server:
            model = opened(server)
            found.append(model.fingerprint)
            assert "not verified" in model.facts["weights"]
    assert found[0] == found[1] and len(set(found)) == 3


@pytest.mark.parametrize(
    ("other", "said"),
    [(Ways(root="/models/other"), "the same model"), (Ways(weights=-1.0), "answers as another model")],
)
def test_servers_of_two_models_are_refused(opened, server, other, said):
    with serving(other) as second, pytest.raises(ModelError) as caught:
        opened(server, second)
    assert said in f"{caught.value.title} {caught.value.hint}" and second.url in caught.value.title


def test_a_name_chooses_among_what_is_served(opened, server):
    assert opened(server, name="#toy").facts["served"]["id"] == "toy"
    with pytest.raises(ModelError, match="'else'") as caught:
        opened(server, name="#else")
    assert "toy" in caught.value.hint


def test_no_server_at_all_is_said_at_once(opened):
    with serving() as gone:
        pass
    with pytest.raises(ModelError, match="no server of the model answers"):
        opened(gone)


def test_addresses_are_read_before_anything_is_asked(monkeypatch):
    source = resolve("http://a:8000/v1/,https://b/x/v1,http://a:8000#Qwen/Qwen2.5-32B")
    assert source.servers == ("http://a:8000/v1", "https://b/x/v1") and local_folder(source) is None
    for wrong in ("http://", "http://a,b", "http://me:secret@a/v1", "http://a/v1?key=secret", "http://a#x,http://b#y"):
        with pytest.raises(ModelUnknown) as caught:
            resolve(wrong)
        assert "secret" not in f"{caught.value.title}{caught.value.hint}"
    from engine.models.files.weights import files_of

    with pytest.raises(ModelError, match="behind servers"):
        files_of(source)
    with pytest.raises(ModelError, match="chat template"):
        load("http://a/v1", chat=True)


def test_the_key_goes_to_its_servers_only_and_into_nothing_else(opened, server, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-reviewer-0123456789")
    opened(server)
    assert all("authorization" not in one["headers"] for one in server.requests)
    monkeypatch.setenv("CAI_MODEL_KEY", "sk-model-9876543210")
    model = opened(server)
    assert server.requests[-1]["headers"]["authorization"] == "Bearer sk-model-9876543210"
    assert "9876543210" not in f"{model.facts} {model.__dict__}"
    server.always = model_server.status(401, "bad key sk-model-9876543210")
    with pytest.raises(ModelError, match="CAI_MODEL_KEY|another key") as caught:
        list(model.generate(asked(1)))
    assert "9876543210" not in f"{caught.value.title}{caught.value.hint}{caught.value.__context__}"
    with pytest.raises(ModelError, match="clear text"):
        load("http://192.0.2.1:8000/v1")


# Streams


def test_requests_are_pulled_as_there_is_room_and_closing_drops_the_rest(opened, server):
    model = opened(server, batch=4)
    server.ways.delay_s = 0.05
    pulled = 0

    def requests() -> Iterator[Generate]:
        nonlocal pulled
        for request in asked(1000):
            pulled += 1
            yield request

    stream = model.generate(requests())
    assert pulled == 0
    for n in range(1, 11):
        next(stream)
        assert pulled < n + 4
    stream.close()
    time.sleep(0.2)
    sent = len(server.requests)
    time.sleep(0.3)
    assert len(server.requests) == sent and pulled < 15
    assert all(one.outstanding == 0 for one in model._servers.servers)
    once_each(list(model.generate(asked(5))), 5)


def test_the_least_busy_server_is_asked(opened):
    with serving() as fast, serving() as slow:
        model = opened(fast, slow, batch=4)
        before = len(fast.requests), len(slow.requests)
        fast.ways.delay_s, slow.ways.delay_s = 0.01, 0.2
        once_each(list(model.generate(asked(80))), 80)
        counts = len(fast.requests) - before[0], len(slow.requests) - before[1]
    assert sum(counts) == 80 and counts[0] > 3 * counts[1] > 0


def test_closing_leaves_no_thread_and_no_connection(server):
    model = load(server.url)
    list(model.generate(asked(3)))
    model.close()
    model.close()
    time.sleep(0.1)
    assert not [thread for thread in threading.enumerate() if thread.name == "model-servers"]


def test_the_patience_as_it_comes_is_bounded():
    for name, value in dataclasses.asdict(Patience()).items():
        assert 0 < value <= 1800, name


@pytest.mark.parametrize(
    ("loads", "here", "adaptable"), [(True, True, True), (False, True, False), (True, False, False)]
)
def test_an_adapter_can_be_trained_where_servers_load_one_and_the_weights_are_here(
    opened, tmp_path, loads, here, adaptable
):
    if here:
        (tmp_path / "config.json").write_text("{}")
    with serving(Ways(root=str(tmp_path), adapters=loads)) as server:
        model = opened(server)
        assert model.adaptable == (str(tmp_path) if adaptable else None)
        assert server.adapters == {} and model.in_use is None  # to ask loads none
        asked_for = [call["path"] for call in server.requests if call["path"].endswith("load_lora_adapter")]
        assert len(asked_for) == here


def test_without_the_library_of_the_hub_no_adapter_can_be_trained(opened, monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with serving(Ways(root="someone/model", adapters=True)) as server:
        assert opened(server).adaptable is None


def test_the_adapter_that_answers_is_named_until_it_is_taken_away(opened, server, tmp_path):
    model = opened(server)
    model.use(tmp_path, "ab" * 32)
    assert model.in_use == LoraFiles(tmp_path, "ab" * 32)
    model.use(None)
    assert model.in_use is None
