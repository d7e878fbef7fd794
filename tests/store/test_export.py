"""Exports in three formats, read back by what will read them, and the card beside them."""

from __future__ import annotations

import json
import os
import re
import resource
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from store.db import Store
from store.errors import NotFound, StoreError, StoreWriteFailed
from store.export import export
from store.read import Reader
from store.text import storable
from tests.store import rows


@pytest.fixture
def store(small_store: Store) -> Store:
    return small_store


@pytest.fixture
def reader(store: Store) -> Reader:
    return store.reader()


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "exports" / "set"


def jsonl(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


def card_of(folder: Path) -> str:
    """The card as it is read, without the backslashes that keep names from being markup."""
    return re.sub(r"\\([_*<>~$])", r"\1", (folder / "README.md").read_text(encoding="utf-8"))


def front_matter(folder: Path) -> dict[str, Any]:
    _, front, _ = (folder / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    return dict(yaml.safe_load(front))


FIRST = {
    "prompt": "Instruction: Do i1.\nResponse:",
    "completion": " answer 1 {braces} \u2028 [b]",
    "instruction": "Do i1.",
    "response": "answer 1 {braces} \u2028 [b]",
    "split": "train",
    "sample_id": "s1",
    "instruction_id": "i1",
    "verdict": "accepted",
    "basis": "rules",
    "margins": [
        {"critic": "label", "margin_nats": 0.4, "score": 1.25, "audited": False},
        {"critic": "rules", "margin_nats": 1.0, "score": 1.0, "audited": False},
    ],
}


def test_sft_as_jsonl(reader: Reader, out: Path) -> None:
    files = export(reader, "run", "sft", "jsonl", out)
    assert [path.relative_to(out).as_posix() for path in files] == ["README.md", "test.jsonl", "train.jsonl"]
    assert jsonl(out / "train.jsonl") == [FIRST]
    assert [row["sample_id"] for row in jsonl(out / "test.jsonl")] == ["s2"]
    assert [path.name for path in out.parent.iterdir()] == [out.name]


def test_sft_as_parquet(reader: Reader, out: Path) -> None:
    export(reader, "run-a", "sft", "parquet", out)
    assert pq.read_table(out / "train.parquet").to_pylist() == [FIRST]


def test_sft_as_a_dataset_dict(reader: Reader, out: Path) -> None:
    import datasets

    export(reader, "run-a", "sft", "hf", out)
    found = datasets.load_from_disk(str(out))
    assert {split: len(part) for split, part in found.items()} == {"train": 1, "test": 1}
    assert found["train"][0] == FIRST


@pytest.mark.parametrize("fmt", ["jsonl", "parquet"])
def test_the_card_lets_datasets_load_the_folder(
    reader: Reader, out: Path, tmp_path: Path, fmt: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_OFFLINE", True)
    export(reader, "run-a", "sft", fmt, out)
    found = datasets.load_dataset(str(out), cache_dir=str(tmp_path / "cache"))
    assert set(found) == {"train", "test"}
    assert found["train"][0] == FIRST


@pytest.mark.parametrize("fmt", ["jsonl", "parquet", "hf"])
def test_samples_and_judgements(reader: Reader, out: Path, fmt: Any) -> None:
    import datasets

    def read(folder: Path, split: str) -> list[dict[str, Any]]:
        if fmt == "hf":
            return list(datasets.load_from_disk(str(folder))[split])
        path = folder / f"{split}.{fmt}"
        return jsonl(path) if fmt == "jsonl" else pq.read_table(path).to_pylist()

    export(reader, "run-a", "samples", fmt, out / "samples")
    train = read(out / "samples", "train")
    assert [(row["sample_id"], row["verdict"]) for row in train] == [("s1", "accepted"), ("s4", None)]
    assert (train[0]["raw"], train[0]["generation_prompt"], train[0]["seed"]) == ("answer s1\n\n", "prompt of q-s1", 11)
    assert train[1]["margins"] == []
    assert [row["flags"] for row in read(out / "samples", "validation")] == [["runaway"]]

    export(reader, "run-a", "judgements", fmt, out / "judgements")
    train = read(out / "judgements", "train")
    assert [(row["subject_kind"], row["critic"]) for row in train] == [
        ("instruction", "label"),
        ("sample", "label"),
        ("sample", "rules"),
    ]
    assert train[0]["parts"] == [
        {"variant": "AB", "request_id": "r-1", "labels": ["A", "B"], "logprobs": [-0.25, -1.5]}
    ]


def test_chosen_verdicts(reader: Reader, out: Path) -> None:
    export(reader, "run-a", "samples", "jsonl", out, verdicts=("rejected", "unsure"))
    assert [path.name for path in sorted(out.iterdir())] == ["README.md", "validation.jsonl"]
    assert "rejected or unsure" in (out / "README.md").read_text()


def test_the_prompt_is_the_one_of_the_settings(store: Store, reader: Reader, out: Path) -> None:
    store.put({"instructions": [rows.instruction("i1", text="Use {instruction} and {x}.")]})
    store.update_run("run-a", settings={"responses": {"prompt_template": "Q: {instruction} {x}\nA:"}})
    export(reader, "run-a", "sft", "jsonl", out)
    assert jsonl(out / "train.jsonl")[0]["prompt"] == "Q: Use {instruction} and {x}. {x}\nA:"
    store.update_run("run-a", settings={"responses": {"prompt_template": "Q:"}})
    with pytest.raises(StoreError, match="no place for the instruction"):
        export(reader, "run-a", "sft", "jsonl", out.with_name("other"))


def test_the_card_states_the_origin(reader: Reader, out: Path) -> None:
    export(reader, "run-a", "sft", "jsonl", out)
    assert front_matter(out)["license"] == "gemma"
    assert front_matter(out)["configs"][0]["data_files"] == [
        {"split": "train", "path": "train.jsonl"},
        {"split": "test", "path": "test.jsonl"},
    ]
    text = card_of(out)
    for line in (
        "| run | run-a |",
        "| spec | stage_1_small_model.md |",
        f"| SHA-256 of the spec | {'ab' * 32} |",
        "| generating model | gemma3-270m |",
        "| fingerprint of its weights | fp-1 |",
        "| licence of the generating model | gemma |",
        "| seed | 7 |",
        "| all | 2 |",
        "| validation | rejected | rules | 1 |",
        "| train | none yet |  | 1 |",
        "**2 by form rules · quality not audited · not read by a person**. 2 accepted samples passed rules of form only.",
        "- guard: passed, 1 of 1 passed",
        "- pilot: **failed**, 1 of 2 passed (1 failed): token_limit, failed",
        "| pilot | token_limit | 0.3 | 0 to 0.07 | 100 | < 0.05 | failed |",
        "not fit for training",
    ):
        assert line in text, line


def test_the_card_says_when_an_audited_critic_accepted(store: Store, reader: Reader, out: Path) -> None:
    store.put(
        {
            "verdicts": [rows.verdict("s1", basis="critic"), rows.verdict("s2", basis="critic")],
            "gates": [rows.gate("token_limit")],
        }
    )
    store.update_run("run-a", manifest={}, overrides={"gate.runaway": [0.05, 0.1]}, model="m | x\n# y")
    export(reader, "run-a", "sft", "jsonl", out / "a")
    text = card_of(out / "a")
    assert (
        "**2 by the audited critic · share of good ones not known · not read by a person**." in text
        and "form rules" not in text
    )
    assert "- pilot: passed" in text
    assert "not fit for training" not in text
    assert "gate.runaway: 0.05 -> 0.1" in text
    assert "m \\| x↵# y" in text
    assert front_matter(out / "a")["license"] == "unknown"
    store.put({"verdicts": [rows.verdict("s2", basis="rules")]})
    export(reader, "run-a", "sft", "jsonl", out / "b")
    assert (
        "**1 by the audited critic, 1 by form rules · quality of these not audited · not read by a person**."
        in (out / "b" / "README.md").read_text()
    )


def test_the_card_says_what_stage_it_is_and_what_the_run_warned_of(store: Store, reader: Reader, out: Path) -> None:
    export(reader, "run-a", "sft", "jsonl", out / "before")
    text = card_of(out / "before")
    assert "| parent stage |" not in text and "| warnings |" not in text
    settings = {"parent": "stage_1", "instructions": {"kind": "implicit"}}
    store.update_run("run-a", settings=reader.run("run-a")["settings"] | settings)
    base = {"level": "warning", "text": "stage_1 has no trained adapter here: the base model writes"}
    notes = [base, {"level": "info", "text": "loaded"}, {"level": "warning", "text": "no critic | may filter"}, base]
    store.append({"events": [rows.event(100 + at, "Noted", note) for at, note in enumerate(notes)]})
    export(reader, "run-a", "sft", "jsonl", out / "after")
    text = card_of(out / "after")
    for line in (
        "| kind of instruction | implicit |",
        "| parent stage | stage_1 |",
        "| warnings | stage_1 has no trained adapter here: the base model writes; no critic \\| may filter |",
    ):
        assert line in text, line


def test_an_occupied_target_is_refused(reader: Reader, out: Path) -> None:
    out.mkdir(parents=True)
    export(reader, "run-a", "sft", "jsonl", out)  # an empty folder is no obstacle
    before = {path: path.read_bytes() for path in out.iterdir()}
    with pytest.raises(StoreError, match="is there already") as caught:
        export(reader, "run-a", "samples", "jsonl", out)
    assert "another --out" in caught.value.hint
    assert {path: path.read_bytes() for path in out.iterdir()} == before
    with pytest.raises(StoreError, match="is there already"):
        export(reader, "run-a", "sft", "jsonl", out / "README.md")


def test_what_cannot_be_exported(reader: Reader, out: Path) -> None:
    refused: list[tuple[tuple[Any, ...], dict[str, Any], str]] = [
        (("run-z", "sft", "jsonl", out), {}, "no run"),
        (("run-a", "dpo", "jsonl", out), {}, "'dpo'"),
        (("run-a", "sft", "csv", out), {}, "'csv'"),
        (("run-a", "sft", "jsonl", out), {"verdicts": ("unsure",)}, "nothing to export"),
        (("run-a", "sft", "jsonl", out), {"verdicts": ("good",)}, "no verdict 'good'"),
    ]
    for given, named, says in refused:
        with pytest.raises(StoreError, match=says):
            export(reader, *given, **named)
    with pytest.raises(NotFound):
        export(reader, "", "sft", "jsonl", out)
    assert not out.parent.exists()


@pytest.mark.parametrize("fmt", ["jsonl", "parquet", "hf"])
def test_a_full_disk_leaves_nothing_behind(store: Store, reader: Reader, out: Path, fmt: Any) -> None:
    text = os.urandom(200_000).hex()
    store.put({"samples": [rows.sample("s1", "i1", response=text)]})
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, limits[1]))
    try:
        with pytest.raises(StoreWriteFailed) as caught:
            export(reader, "run-a", "sft", fmt, out)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "the store is intact" in caught.value.hint
    assert list(out.parent.iterdir()) == []


@pytest.mark.parametrize("fmt", ["jsonl", "parquet", "hf"])
def test_hostile_text_survives_export(store: Store, reader: Reader, out: Path, fmt: Any) -> None:
    import datasets

    text = "nul \x00 esc \x1b[31m [red] \u2028 \r\n lone \ud800 \U0010ffff"
    store.put(
        {
            "samples": [rows.sample("s1", "i1", response=text)],
            "judgements": [rows.judgement("s1", score=float("nan"), margin_nats=float("-inf"))],
        }
    )
    export(reader, "run-a", "sft", fmt, out)
    if fmt == "jsonl":
        row = jsonl(out / "train.jsonl")[0]
        assert row["margins"][0]["margin_nats"] is None
    elif fmt == "parquet":
        row = pq.read_table(out / "train.parquet").to_pylist()[0]
        assert row["margins"][0]["margin_nats"] == float("-inf")
    else:
        row = datasets.load_from_disk(str(out))["train"][0]
    assert row["response"] == storable(text)
    assert row["completion"] == f" {storable(text)}"


def test_a_sample_without_a_split_is_in_no_named_one(store: Store, reader: Reader, out: Path) -> None:
    store.put({"instructions": [rows.instruction("i1", split=None)]})
    export(reader, "run-a", "sft", "jsonl", out)
    assert [path.name for path in sorted(out.iterdir())] == ["README.md", "test.jsonl", "unassigned.jsonl"]


def test_exporting_prints_nothing(reader: Reader, out: Path, capfd: pytest.CaptureFixture[str]) -> None:
    export(reader, "run-a", "sft", "hf", out)
    assert capfd.readouterr() == ("", "")


def test_importing_the_store_imports_no_data_set_library() -> None:
    import subprocess
    import sys

    code = "import store.db, store.export, sys; sys.exit(any(name in sys.modules for name in ('datasets', 'torch', 'pandas')))"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2]).returncode == 0


def test_names_and_errors_of_the_store_import_nothing_heavy() -> None:
    import subprocess
    import sys

    code = (
        "import store.disk, store.errors, store.names, store.text, sys; "
        "sys.exit(any(name in sys.modules for name in ('duckdb', 'pyarrow', 'numpy')))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2]).returncode == 0
