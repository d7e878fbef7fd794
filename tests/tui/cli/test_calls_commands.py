"""`cai answer`, `cai import` and `--on`: what they print, and what is wrong is said before anything is opened."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.models.answer_lines import ANSWERS, REQUESTS, FileHead, answer_line, request_line, write
from engine.models.requests import LabelScores, Score
from tests.engine.fakes import FakeModel
from tests.tui.cli.commands import as_json, run_cai
from tui.cli import calls

ASKED = [Score(f"rubric {n}", ("A", "B")) for n in range(4)]


def answers_at(path: Path, fingerprint: str = "fp-1") -> Path:
    answers = [LabelScores(request, (-0.25, -1.5), (1, 1)) for request in ASKED]
    head = FileHead(ANSWERS, "gemma3-270m", fingerprint, {})
    write(path, head, [answer_line(fingerprint, answer) for answer in answers])
    return path


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAI_ON", "")  # which --on would set for the whole process
    monkeypatch.setattr(calls, "with_log", lambda *_: None)  # it would take the descriptors that the test reads


def test_files_are_taken_and_what_is_refused_is_said(store, tmp_path, capsys):
    good, foreign = answers_at(tmp_path / "good.jsonl"), answers_at(tmp_path / "foreign.jsonl", "fp-2")
    code, out, err = run_cai(capsys, "import", good, foreign, "--store", store)
    assert code == 1 and not err
    first, second = out.splitlines()
    assert first == f"{good}: 4 answers, 4 of them new"
    assert second.startswith(f"refused: {foreign}: no run of this store") and "Nothing was taken" in second
    code, found = as_json(capsys, "import", good, "--store", store)
    assert (code, found["files"]) == (0, [{"file": str(good), "answers": 4, "new": 0, "refused": None}])
    code, _, err = run_cai(capsys, "import", good, "--store", tmp_path / "none.duckdb")
    assert code == 1 and "there is no store" in err and not (tmp_path / "none.duckdb").exists()


def test_a_share_is_computed_and_counted(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("engine.models.registry.load", lambda *_, **__: FakeModel())
    requests, out = tmp_path / "requests.jsonl", tmp_path / "answers.jsonl"
    write(requests, FileHead(REQUESTS, "fake", "fa" * 8, {}), [request_line("fa" * 8, request) for request in ASKED])
    code, found, _ = run_cai(capsys, "answer", requests, "--share", "2/3", "--out", out)
    assert (code, found) == (0, f"1 answers, share 2/3: {out}\n")
    code, found = as_json(capsys, "answer", requests, "--share", "7/9", "--out", tmp_path / "none.jsonl")
    assert code == 0 and found["answers"] == 0 and not (tmp_path / "none.jsonl").exists()


@pytest.mark.parametrize("share", ["3/2", "0/2", "1", "a/b", "1/0", ""])
def test_a_share_that_is_none_is_a_usage_error(capsys, share):
    code, _, err = run_cai(capsys, "answer", "requests.jsonl", "--share", share, "--out", "a.jsonl")
    assert code == 2 and "is not K/N such as 1/8" in err


@pytest.mark.parametrize("on", ["raye", "ray://", "http://host:1", "requests.json", "s3://there/a.jsonl"])
def test_a_place_that_is_none_is_a_usage_error(tmp_path, capsys, on):
    code, _, err = run_cai(capsys, "run", "--headless", "--on", on, "--store", tmp_path / "cai.duckdb")
    assert code == 2 and "models can't be asked on" in err and not (tmp_path / "cai.duckdb").exists()
