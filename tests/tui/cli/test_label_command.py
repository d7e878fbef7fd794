"""`cai label`: the queue shown blind, labels kept and taken away, and a refit that needs its reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from store.db import Store
from tests.engine.quality.test_queue import many
from tests.store import rows
from tests.tui.cli.commands import as_json, run_cai


@pytest.fixture
def path(tmp_path: Path) -> Path:
    with Store.open(tmp_path / "cai.duckdb") as store:
        store.append(many())
    return tmp_path / "cai.duckdb"


def test_the_queue_is_shown_without_a_word_of_the_critics(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, found = as_json(capsys, "label", "--store", path)
    assert code == 0 and found["labels"] == 0 and found["critic"] == "probe" and len(found["next"]) == 10
    assert {frozenset(row) for row in found["next"]} == {frozenset({"sample_id", "instruction", "response"})}
    assert len(as_json(capsys, "label", "--next", "3", "--store", path)[1]["next"]) == 3
    code, out, _ = run_cai(capsys, "label", "--next", "2", "--store", path)
    assert code == 0 and "0 labels, 0 at random · own AUC not known yet" in out and "accepted" not in out


def test_labels_are_kept_by_how_they_were_drawn_and_taken_away(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = [row["sample_id"] for row in as_json(capsys, "label", "--store", path)[1]["next"]]
    code, found = as_json(capsys, "label", names[9], "good", "--note", "true", "--store", path)
    assert code == 0 and (found["sample"], found["label"], found["at_random"]) == (names[9], "good", 1)
    assert as_json(capsys, "label", names[0], "bad", "--store", path)[1]["labels"] == 2
    assert as_json(capsys, "label", "s0", "bad", "--store", path)[1]["labels"] == 3  # rules reject it: not in the queue
    with Store.open(path, read_only=True) as store, store.reader() as reader:
        kept = {row["subject_id"]: (row["label"], row["note"], row["drawn"]) for row in reader.query(
            "SELECT * FROM person_labels")}  # fmt: skip
    assert kept == {
        names[9]: ("good", "true", "random"), names[0]: ("bad", "", "queue"), "s0": ("bad", "", "chosen"),
    }  # fmt: skip
    code, found = as_json(capsys, "label", "--undo", names[9], "--store", path)
    assert code == 0 and found["label"] is None and (found["labels"], found["at_random"]) == (2, 0)
    code, found = as_json(capsys, "label", "--undo", names[9], "--store", path)
    assert code == 1 and "has no label" in found["error"]["title"]


def test_what_was_drawn_is_read_blind_and_told_when_all_of_it_is(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Store.open(path) as store:
        gate = rows.gate("marker leaks", "pilot", measured=0.0, lo=None, hi=None, op="<=", threshold=0)
        store.update_run("run-a", settings={"gate": {"read_at_least": 3}, "critics": {"sample": ["probe"]}})
        store.put({"gates": [gate]})
    code, found = as_json(capsys, "label", "--read", "--store", path)
    names = [row["sample_id"] for row in found["next"]]
    assert code == 0 and len(names) == 3
    assert {frozenset(row) for row in found["next"]} == {frozenset({"sample_id", "instruction", "response"})}
    out = run_cai(capsys, "label", "--read", "--reader", "ana", "--store", path)[1]
    assert "0 of 3 read by ana · not read by a person" in out and "cai label --read ID good|bad" in out
    for at, name in enumerate(names):
        found = as_json(capsys, "label", "--read", name, "good" if at else "bad", "--store", path)[1]
        assert found["readings"]["read"] == at + 1 and bool(found["readings"]["accepted"]) == (at == 2)
    assert as_json(capsys, "label", "--read", "--store", path)[1]["next"] == []
    assert "read by a person: " in run_cai(capsys, "label", "--read", "--store", path)[1]
    found = as_json(capsys, "label", "--undo", names[0], "--store", path)[1]
    assert found["readings"]["read"] == 2 and found["readings"]["accepted"] is None
    with Store.open(path, read_only=True) as store, store.reader() as reader:
        assert {row["drawn"] for row in reader.query("SELECT drawn FROM person_labels")} == {"reading"}
    other = next(f"s{at}" for at in range(40) if f"s{at}" not in names)
    code, found = as_json(capsys, "label", "--read", other, "good", "--store", path)
    assert code == 1 and "was not drawn to be read" in found["error"]["title"]


def test_labels_of_two_readers_are_both_kept_and_compared(
    path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with Store.open(path) as store:
        store.update_run("run-a", settings={"gate": {"read_at_least": 8}, "critics": {"sample": ["probe"]}})
    names = [
        row["sample_id"] for row in as_json(capsys, "label", "--read", "--reader", "ana", "--store", path)[1]["next"]
    ]
    for at, name in enumerate(names):
        as_json(capsys, "label", "--read", "--reader", "ana", name, "good" if at < 5 else "bad", "--store", path)
    # A second reader is shown the same candidates, and nothing of what the first said.
    monkeypatch.setenv("CAI_READER", "ben")
    code, found = as_json(capsys, "label", "--read", "--store", path)
    assert code == 0 and found["reader"] == "ben" and [row["sample_id"] for row in found["next"]] == names
    for at, name in enumerate(names):
        as_json(capsys, "label", "--read", name, "good" if at < 4 else "bad", "--store", path)
    found = as_json(capsys, "label", "--read", "--store", path)[1]["agreement"]
    assert (found["readers"], found["n"], found["statistic"]) == (2, 8, "Cohen's kappa")
    assert found["value"] == pytest.approx(0.75) and found["lo"] < 0.75 <= found["hi"]
    assert "Cohen's kappa +0.75 [" in run_cai(capsys, "label", "--read", "--store", path)[1]
    with Store.open(path, read_only=True) as store, store.reader() as reader:
        kept = reader.query("SELECT reader, label FROM person_labels WHERE subject_id = ? ORDER BY 1", [names[4]])
        assert kept == [{"reader": "ana", "label": "good"}, {"reader": "ben", "label": "bad"}]
        # What they differ on counts neither way; each is shown their own.
        assert [reader.sample("run-a", names[4], by)["person_label"]["label"] for by in (None, "ana", "ben")] == [
            "unsure", "good", "bad"
        ]  # fmt: skip
        assert reader.sample("run-a", names[4], "eve")["person_label"] is None
    as_json(capsys, "label", "--undo", names[4], "--store", path)
    with Store.open(path, read_only=True) as store, store.reader() as reader:
        assert reader.sample("run-a", names[4])["person_label"]["label"] == "good"
    code, found = as_json(capsys, "label", "--undo", names[4], "--store", path)
    assert code == 1 and "has no label of ben" in found["error"]["title"]


def test_a_label_without_a_name_gives_way_to_one_with_a_name(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As an earlier version kept them: it did not ask who labels."""
    old = {"run_id": "run-a", "subject_kind": "sample", "subject_id": "s1", "reader": "", "label": "bad", "note": "",
           "at": rows.T0}  # fmt: skip
    with Store.open(path) as store:
        store.append({"person_labels": [old]})
    as_json(capsys, "label", "s1", "good", "--reader", "ana", "--store", path)
    with Store.open(path, read_only=True) as store, store.reader() as reader:
        assert reader.query("SELECT reader, label FROM person_labels") == [{"reader": "ana", "label": "good"}]


@pytest.mark.parametrize(
    ("arguments", "words", "code"),
    [
        (["s1"], "ID good|bad|unsure", 2),
        (["s1", "fine"], "invalid choice: 'fine'", 2),
        (["s1", "good", "--undo", "s2"], "by itself", 2),
        (["--undo", "s1", "--next", "3"], "not allowed with", 2),
        (["s1", "good", "--reader", " "], "is not a name", 2),
        (["nowhere", "good"], "no sample 'nowhere'", 1),
        (["--refit"], "needs a --reason", 2),
        (["--read", "--undo", "s1"], "goes with a label", 2),
    ],
)
def test_what_is_asked_wrongly_is_said(
    path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str, code: int
) -> None:
    found_code, found = as_json(capsys, "label", *arguments, "--store", path)
    assert found_code == found["exit_code"] == code and words in found["error"]["title"]
