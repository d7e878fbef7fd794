"""A run whose model calls other machines compute: the same rows as on one machine, and foreign answers stay out."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.core.errors import AnsweredElsewhere, ModelError
from engine.models.answer_lines import ANSWERS, FileHead, answer_line, write
from engine.models.elsewhere.backend import WritingModel
from engine.models.files.source import Source
from engine.models.requests import (
    Adapted,
    Completion,
    Decoding,
    Encoding,
    Generate,
    LabelScores,
    LoraFiles,
    Score,
    request_id,
)
from engine.phases.elsewhere import answer_share, import_answers
from store.db import Store
from store.errors import CaiError
from tests.engine.fakes import FakeModel, data_rows, run_engine
from tests.store import rows

SETTINGS = {
    "critics.instruction": "[grade]", "critics.sample": "[ended]", "instructions.round": "4",
    "responses.drafts": "1", "expected_candidates_per_accepted": "1.5",
}  # fmt: skip
SOURCE = Source("fake", "fake", "", "", embedded=False)
PRINT = "fa" * 8
ADAPTED = Adapted("rubric", LoraFiles(Path("adapter"), "ab" * 32), ("A", "B"))


class OnPaper(WritingModel):
    """Reads text as the fake model does, for there is no tokenizer."""

    def encoding(self, text: str) -> Encoding:
        return FakeModel().encoding(text)


@pytest.mark.integration
def test_a_run_that_is_answered_elsewhere_has_the_rows_of_one_machine(tmp_path, monkeypatch):
    whole = run_engine(tmp_path / "whole.duckdb", monkeypatch, FakeModel(), pilot=2, overrides=SETTINGS)
    wanted, state = data_rows(whole), whole.outcome and whole.outcome.state
    whole.close()
    path, requests = tmp_path / "cai.duckdb", tmp_path / "requests.jsonl"
    run_engine(path, monkeypatch, FakeModel(), pilot=2, overrides=SETTINGS, until="guard").close()
    shares = gates = 0
    while True:
        opened = run_engine(path, monkeypatch, OnPaper(SOURCE, requests, PRINT), resume="")  # type: ignore[arg-type]
        outcome = opened.outcome
        assert outcome is not None and opened.error is None
        if outcome.state != "waiting":
            break
        opened.close()
        if not requests.exists():
            assert "the model is needed" in outcome.reason
            run_engine(path, monkeypatch, FakeModel(), resume="", until="gate").close()
            gates += 1
            continue
        assert "requests were written" in outcome.reason
        monkeypatch.setattr("engine.models.registry.load", lambda *_, **__: FakeModel())
        files = [tmp_path / f"answers-{k}.jsonl" for k in (1, 2)]
        told = [answer_share(requests, file, (k, 2)) for k, file in enumerate(files, 1)]
        with Store.open(path) as store:
            taken = import_answers(store, [file for file in files if file.exists()])
        assert not any(one["refused"] for one in taken)
        assert sum(one["new"] for one in taken) == sum(one["answers"] for one in told) > 0
        shares += len(taken)
        for file in (requests, *files):
            file.unlink(missing_ok=True)
    assert outcome.state == state and gates == 1 and shares > 4
    assert data_rows(opened) == wanted
    noted = opened.store.reader().query(
        "SELECT payload FROM events WHERE payload->>'$.text' LIKE '%computed elsewhere%'"
    )
    assert len(noted) == shares and "backend fake" in noted[0]["payload"]
    assert opened.store.reader().run(opened.run_id)["manifest"]["model"] == {"backend": "fake"}
    opened.close()


def scores(n: int) -> list[LabelScores]:
    return [LabelScores(Score(f"rubric {i}", ("A", "B")), (-0.25, -1.5), (1, 1)) for i in range(n)]


def texts(n: int) -> list[Completion]:
    return [Completion(Generate(f"prompt {i}", Decoding(3), i), "abc", (1, 2, 3), 5, "length", None) for i in range(n)]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "cai.duckdb") as opened:
        opened.append({"runs": [rows.run(fingerprint=PRINT)]})
        yield opened


def file_of(path: Path, answers: list[Any], fingerprint: str = PRINT) -> Path:
    head = FileHead(ANSWERS, "fake", fingerprint, {"host": "there"})
    write(path, head, [answer_line(fingerprint, answer) for answer in answers])
    return path


def counts(store: Store) -> list[int]:
    tables = ("completions", "scores", "sessions", "events")
    return [store.reader().query(f"SELECT count(*) AS n FROM {table}")[0]["n"] for table in tables]


def test_files_are_taken_once_and_counted(store, tmp_path):
    file = file_of(tmp_path / "a.jsonl", [*scores(300), *texts(300)])
    (first,), (again,) = import_answers(store, [file]), import_answers(store, [file])
    assert (first["answers"], first["new"], again["answers"], again["new"]) == (600, 600, 600, 0)
    assert counts(store) == [300, 300, 1, 1]  # a file that brought nothing leaves no session
    found = store.reader().completions([request_id(PRINT, texts(1)[0].request)])
    assert [row["text"] for row in found.values()] == ["abc"]
    more = file_of(tmp_path / "b.jsonl", scores(301))
    assert import_answers(store, [more])[0] | {"file": ""} == {"file": "", "answers": 301, "new": 1, "refused": None}


def test_a_file_that_is_refused_leaves_the_store_as_it_was_and_others_are_taken(store, tmp_path):
    bad = file_of(tmp_path / "bad.jsonl", scores(3))
    bad.write_text(bad.read_text().replace("rubric 2", "rubric 3"))
    foreign = file_of(tmp_path / "foreign.jsonl", scores(3), "fb" * 8)
    good = file_of(tmp_path / "good.jsonl", texts(2))
    missing = tmp_path / "missing.jsonl"
    found = import_answers(store, [bad, foreign, missing, good])
    assert [one["answers"] for one in found] == [0, 0, 0, 2] and counts(store) == [2, 0, 1, 1]
    assert "bad.jsonl, line 4: its id is not the hash" in found[0]["refused"]
    assert "no run of this store is of a model with the fingerprint fbfbfb" in found[1]["refused"]
    assert "can't be read" in found[2]["refused"] and "nothing was changed" in found[2]["refused"]


def test_another_answer_to_a_stored_request_is_refused(store, tmp_path):
    import_answers(store, [file_of(tmp_path / "a.jsonl", [*scores(2), *texts(2)])])
    before = counts(store)
    (one,) = texts(1)
    for name, changed, said in (
        ("text", Completion(one.request, "abd", one.token_ids, 5, "length", None), "another text for the request"),
        ("score", LabelScores(Score("rubric 0", ("A", "B")), (-0.25, -2.0), (1, 1)), "another score .* 0.5 nats away"),
    ):
        (found,) = import_answers(store, [file_of(tmp_path / f"{name}.jsonl", [*texts(9)[5:], changed])])
        assert re.search(said, found["refused"])
    assert counts(store) == before
    near = LabelScores(Score("rubric 0", ("A", "B")), (-0.25, -1.5000001), (1, 1))
    assert import_answers(store, [file_of(tmp_path / "near.jsonl", [near])])[0]["refused"] is None
    assert store.reader().scores([request_id(PRINT, near.request)]).popitem()[1]["logprobs"] == [-0.25, -1.5]


def test_two_answers_to_one_request_in_a_file_are_refused(store, tmp_path):
    one = texts(1)[0]
    other = Completion(one.request, "xyz", (4, 5, 6), 5, "length", None)
    (found,) = import_answers(store, [file_of(tmp_path / "a.jsonl", [one, other])])
    assert "another answer to the same request stands in this file" in found["refused"]
    (found,) = import_answers(store, [file_of(tmp_path / "b.jsonl", [one, one])])
    assert (found["answers"], found["new"]) == (1, 1)


def requests_at(path: Path) -> Path:
    model = OnPaper(SOURCE, path, PRINT)
    with pytest.raises(CaiError, match="9 requests were written"):
        list(model.write([*(one.request for one in texts(4)), *(one.request for one in scores(5))]))
    return path


def test_shares_hold_each_request_once(tmp_path, monkeypatch):
    monkeypatch.setattr("engine.models.registry.load", lambda *_, **__: FakeModel())
    requests = requests_at(tmp_path / "requests.jsonl")
    ids = []
    for k in range(1, 5):
        out = tmp_path / f"{k}.jsonl"
        assert answer_share(requests, out, (k, 4))["answers"] in (2, 3)
        ids += [json.loads(line)["request_id"] for line in out.read_text().splitlines()[1:-1]]
    assert len(ids) == len(set(ids)) == 9
    none = tmp_path / "none.jsonl"
    assert answer_share(requests, none, (12, 12))["answers"] == 0 and not none.exists()


def test_a_model_with_other_weights_computes_nothing(tmp_path, monkeypatch):
    model = FakeModel()
    model.fingerprint = "0123456789abcdef"
    monkeypatch.setattr("engine.models.registry.load", lambda *_, **__: model)
    requests = requests_at(tmp_path / "requests.jsonl")
    with pytest.raises(ModelError, match="has the fingerprint 0123456789abcdef here, the requests are of fafa"):
        answer_share(requests, tmp_path / "answers.jsonl", (1, 1))
    assert not model.generated and not (tmp_path / "answers.jsonl").exists()


def test_requests_that_were_changed_are_not_computed(tmp_path, monkeypatch):
    monkeypatch.setattr("engine.models.registry.load", lambda *_, **__: pytest.fail("a model was loaded"))
    requests = requests_at(tmp_path / "requests.jsonl")
    requests.write_text(requests.read_text().replace("rubric 3", "rubric 8"))
    with pytest.raises(ModelError, match="line 9: its id is not the hash"):
        answer_share(requests, tmp_path / "answers.jsonl", (1, 1))


def test_what_is_to_do_next_is_said(tmp_path):
    model = OnPaper(SOURCE, tmp_path / "requests.jsonl", PRINT)
    for ask in (lambda: model.write(one.request for one in scores(2)), lambda: model.generate([])):
        with pytest.raises(AnsweredElsewhere) as caught:
            ask()
        reason = f"{caught.value.title}. {caught.value.hint}"
        assert "cai answer" in reason and "cai resume" in reason and caught.value.exit_code == 3
    for asks in (lambda: list(model.hidden([])), lambda: model.use(tmp_path, "ab"), lambda: model.write([ADAPTED])):
        with pytest.raises(ModelError, match="can't be"):
            asks()
