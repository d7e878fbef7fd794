"""Files of requests and answers: what is written comes back, and what is none of it is refused with its line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.core.errors import ModelError
from engine.models.answer_lines import (
    ANSWERS,
    REQUESTS,
    BadLine,
    FileHead,
    answer_line,
    answer_of,
    read,
    read_head,
    request_line,
    request_of,
    write,
)
from engine.models.requests import Completion, Decoding, Generate, LabelScores, Score

PRINT = "fa" * 8
ASKED = Generate("naïve \ud83d 日本語\x00\u2028", Decoding(4, 0.7, 50, 0.95, ("\n###", "Q:")), -(2**63), shared=3)
GRADED = Score("Grade:", (" good", " bad"), 2)
WRITTEN = Completion(ASKED, " a text\x1b[31m", (5, 6, 7), 9, "stop", "\n###")
SCORED = LabelScores(GRADED, (-0.25, -700.0), (1, 2))
HEAD = FileHead(ANSWERS, "some/model", PRINT, {"host": "here"})


def lines_of(path: Path, kind: str = ANSWERS) -> list[dict[str, Any]]:
    return [line for _, line in read(path, kind)]


def test_what_is_written_comes_back(tmp_path):
    path = tmp_path / "answers.jsonl"
    assert write(path, HEAD, [answer_line(PRINT, WRITTEN), answer_line(PRINT, SCORED)]) == 2
    assert read_head(path, ANSWERS) == HEAD and path.stat().st_mode & 0o777 == 0o600
    assert [answer_of(PRINT, line) for line in lines_of(path)] == [WRITTEN, SCORED]
    asked = tmp_path / "requests.jsonl"
    write(asked, FileHead(REQUESTS, "m", PRINT, {}), [request_line(PRINT, one) for one in (ASKED, GRADED)])
    assert [request_of(PRINT, line) for line in lines_of(asked, REQUESTS)] == [ASKED, GRADED]
    with pytest.raises(ModelError, match=r"line 1: it does not begin as answers"):
        lines_of(asked)


def test_no_line_makes_no_file_and_a_name_that_is_taken_stays(tmp_path):
    path = tmp_path / "answers.jsonl"
    assert write(path, HEAD, []) == 0 and not path.exists()
    path.write_text("mine")
    with pytest.raises(ModelError, match="is there already"):
        write(path, HEAD, [answer_line(PRINT, SCORED)])
    assert path.read_text() == "mine" and [one.name for one in tmp_path.iterdir()] == ["answers.jsonl"]


@pytest.mark.parametrize("cut", [1, 3, 40, 200, 400, 700])
def test_a_file_that_was_cut_is_refused_wherever_that_was(tmp_path, cut):
    path = tmp_path / "answers.jsonl"
    write(path, HEAD, [answer_line(PRINT, WRITTEN), answer_line(PRINT, SCORED)])
    path.write_bytes(path.read_bytes()[:-cut])
    with pytest.raises(ModelError, match="cut|no JSON|can't be read|does not begin"):
        lines_of(path)


@pytest.mark.parametrize("dropped", [1, 2, 3])
def test_a_line_that_is_missing_is_noticed(tmp_path, dropped):
    path = tmp_path / "answers.jsonl"
    write(path, HEAD, [answer_line(PRINT, WRITTEN), answer_line(PRINT, SCORED)])
    whole = path.read_text().splitlines(keepends=True)
    path.write_text("".join(whole[:dropped] + whole[dropped + 1 :]))
    with pytest.raises(ModelError, match="it was cut"):
        lines_of(path)


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"\xff\xfe\n", "line 2: it is no JSON"),
        (b"[" * 100_000 + b"\n", "line 2: it is no JSON"),
        (b"[]\n", "line 2: it is no JSON object"),
        (b'{"a": 1, "a": 2}\n', "line 2: a key stands in it twice"),
        (b'{"a": NaN}\n', "line 2: NaN is no number"),
        (b'{"a": ' + b"9" * 5000 + b"}\n", "line 2: it is no JSON"),
        (b'{"lines": 0}\n{"lines": 0}\n', "line 3: lines follow the last one"),
    ],
)
def test_what_is_no_line_is_refused(tmp_path, raw, said):
    path = tmp_path / "answers.jsonl"
    write(path, HEAD, [answer_line(PRINT, SCORED)])
    path.write_bytes(path.read_bytes().splitlines(keepends=True)[0] + raw)
    with pytest.raises(ModelError, match=said) as caught:
        lines_of(path)
    assert "nothing was changed" in caught.value.hint


def test_a_line_without_end_is_not_read_into_memory(tmp_path, monkeypatch):
    monkeypatch.setattr("engine.models.answer_lines.MOST_LINE", 1000)
    path = tmp_path / "answers.jsonl"
    write(path, HEAD, [answer_line(PRINT, SCORED) | {"prompt": "x" * 2000}])
    with pytest.raises(ModelError, match="cut, or too long"):
        lines_of(path)
    monkeypatch.setattr("engine.models.answer_lines.MOST_BYTES", 1000)
    with pytest.raises(ModelError, match="compute smaller shares"):
        lines_of(path)


CHANGES: list[tuple[Any, Callable[[dict[str, Any]], Any], str]] = [
    (WRITTEN, lambda line: line.update(prompt="another"), "its id is not the hash"),
    (WRITTEN, lambda line: line.update(seed=line["seed"] + 1), "its id is not the hash"),
    (WRITTEN, lambda line: line["decoding"].update(temperature=0.8), "its id is not the hash"),
    (WRITTEN, lambda line: line.update(request_id=["x"]), "its id is not the hash"),
    (WRITTEN, lambda line: line.update(seed=1.5), "a seed that is none"),
    (WRITTEN, lambda line: line.update(seed=2**63), "a seed that is none"),
    (WRITTEN, lambda line: line.update(extra=1), "it has not exactly"),
    (WRITTEN, lambda line: line.pop("text"), "it has not exactly"),
    (WRITTEN, lambda line: line.update(text=None), "text has another type"),
    (WRITTEN, lambda line: line.update(text="a\n###b"), "its stop sequence in it"),
    (WRITTEN, lambda line: line.update(token_ids=[1, True]), "token_ids has what does not belong"),
    (WRITTEN, lambda line: line.update(token_ids=[1, 2.0]), "token_ids has what does not belong"),
    (WRITTEN, lambda line: line.update(token_ids=[-1]), "token_ids has what does not belong"),
    (WRITTEN, lambda line: line.update(token_ids=[2**31]), "token_ids has what does not belong"),
    (WRITTEN, lambda line: line.update(token_ids="123"), "token_ids has another type"),
    (WRITTEN, lambda line: line.update(token_ids=[]), "0 tokens where 1 to 4"),
    (WRITTEN, lambda line: line.update(token_ids=[1] * 5), "5 tokens where 1 to 4"),
    (WRITTEN, lambda line: line.update(n_prompt_tokens=-1), "n_prompt_tokens is no count"),
    (WRITTEN, lambda line: line.update(stop_reason="done"), "an end that was not asked for"),
    (WRITTEN, lambda line: line.update(stop_text="Z"), "an end that was not asked for"),
    (WRITTEN, lambda line: line.update(stop_text=["\n###"]), "an end that was not asked for"),
    (WRITTEN, lambda line: line.update(stop_reason="eos"), "an end that was not asked for"),
    (WRITTEN, lambda line: line["decoding"].pop("stop"), "a decoding that is none"),
    (WRITTEN, lambda line: line.update(decoding=[]), "decoding has another type"),
    (SCORED, lambda line: line.update(logprobs=[-0.25]), "not one log-probability"),
    (SCORED, lambda line: line.update(logprobs=[-0.25, 0.5]), "a log-probability that is none"),
    (SCORED, lambda line: line.update(logprobs=[-0.25, float("-inf")]), "a log-probability that is none"),
    (SCORED, lambda line: line.update(logprobs=[-0.25, "-1"]), "logprobs has what does not belong"),
    (SCORED, lambda line: line.update(n_tokens=[1, 0]), "a label of no tokens"),
    (SCORED, lambda line: line.update(labels=[" good", " worse"]), "its id is not the hash"),
    (SCORED, lambda line: line.update(labels=[]), "no labels"),
    (SCORED, lambda line: line.update(shared=-1), "shared is no count"),
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(CHANGES)))
def test_an_answer_that_was_changed_is_refused(number):
    answer, change, said = CHANGES[number]
    line = json.loads(json.dumps(answer_line(PRINT, answer)))
    assert answer_of(PRINT, line) == answer
    change(line)
    with pytest.raises(BadLine, match=said):
        answer_of(PRINT, line)


def test_an_answer_under_another_fingerprint_is_refused():
    line = json.loads(json.dumps(answer_line(PRINT, WRITTEN)))
    with pytest.raises(BadLine, match="its id is not the hash"):
        answer_of("fb" * 8, line)
