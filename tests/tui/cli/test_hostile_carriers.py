"""Hostile text in every column that can carry it: what each command prints and writes, for people and for programs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from tests.tui.cli.commands import run_cai
from tests.tui.fakes import RUN
from tests.tui.hostile import LIVE, MARK, hostile_store

pytestmark = pytest.mark.integration

COMMANDS = (
    ("status",), ("runs",), ("samples",), ("label", "--next", "5"), ("label", "s1"), ("principles",), ("plan", RUN),
    ("recheck", "--set", "critics.accept_above=0.9"), ("train", "sft", "--plan"), ("evaluate", "--plan"),
    ("register", "--show"), ("review", "list"), ("status", "no-such-run\x1b[2J"), ("samples", "\u202erun"),
)  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return hostile_store(tmp_path_factory.mktemp("hostile") / "cai.duckdb")


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_what_a_command_prints_is_inert(
    capsys: pytest.CaptureFixture[str], made: Path, arguments: tuple[str, ...]
) -> None:
    _, out, err = run_cai(capsys, *arguments, "--store", made)
    assert not LIVE.search(out + err), LIVE.findall(out + err)
    assert "unexpected" not in err
    code, told, _ = run_cai(capsys, *arguments, "--store", made, "--json")
    assert told.isascii() and not LIVE.search(told) and json.loads(told) and code in (0, 1, 2, 3, 4)


def test_the_texts_are_seen_and_not_left_out(capsys: pytest.CaptureFixture[str], made: Path) -> None:
    for arguments in (("status",), ("runs",), ("samples",), ("label", "--next", "5"), ("plan", RUN)):
        assert MARK in run_cai(capsys, *arguments, "--store", made)[1], arguments


@pytest.mark.parametrize("what", ["sft", "samples", "judgements", "pairs", "revisions"])
def test_what_is_exported_is_inert_in_its_card_and_has_a_line_a_row(
    capsys: pytest.CaptureFixture[str], made: Path, tmp_path: Path, what: str
) -> None:
    out = tmp_path / "out"
    code, told, err = run_cai(capsys, "export", "--what", what, "--out", out, "--store", made)
    assert code == 0 and not LIVE.search(told), err
    card = (out / "README.md").read_text(encoding="utf-8")
    head, body = card.removeprefix("---\n").split("---\n", 1)
    assert not LIVE.search(card) and MARK in yaml.safe_load(head)["license"]
    assert MARK in body and "https:" not in body and " <img" not in body
    texts = [file.read_text(encoding="utf-8") for file in out.glob("*.jsonl")]
    for text in texts:
        assert len([json.loads(line) for line in text.splitlines()]) == text.count("\n") > 0
    assert any(MARK in text for text in texts)


def test_a_report_is_inert(capsys: pytest.CaptureFixture[str], made: Path, tmp_path: Path) -> None:
    out = tmp_path / "report"
    code, told, err = run_cai(capsys, "report", "--out", out, "--store", made)
    assert code == 0 and not LIVE.search(told), err
    texts = {path.name: path.read_text(encoding="utf-8") for path in out.rglob("*") if path.is_file()}
    assert MARK in texts["report.md"] and MARK in texts["report.html"]
    for name, text in texts.items():
        assert not LIVE.search(text.replace("\t", " ")), name
