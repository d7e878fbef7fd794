"""Preference pairs exported: TRL's format in three file formats, the card's figures, and the lock on held-out rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from store.db import Store
from store.errors import StoreError
from store.export import export
from tests.store import rows


def pair(pair_id: str, **fields: Any) -> dict[str, Any]:
    row = {
        "run_id": "run-a", "pair_id": pair_id, "ordinal": 1, "instruction_id": "i1", "source": "best_of", "detail": "",
        "principle_id": "correct_facts", "question": "Which response is better?", "chosen_id": "s1",
        "rejected_id": "c1", "chosen": "Rome is old.", "rejected": "Rome is new.", "chosen_tokens": 5,
        "rejected_tokens": 4, "margin_nats": 0.5, "margin_in_front": 0.7, "margin_behind": 0.3, "preference": 0.62,
    }  # fmt: skip
    return row | fields


def kept(pair_id: str, **fields: Any) -> dict[str, Any]:
    return rows.verdict(pair_id, subject_kind="pair", basis="critic", **fields)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    manifest = {
        "model_license": "gemma",
        "constitution": {"version": 3, "sha256": "cd" * 32, "principles": ["correct_facts"]},
    }
    store = Store.open(tmp_path / "s.duckdb")
    store.append(
        {
            "runs": [rows.run(manifest=manifest)],
            "instructions": [
                rows.instruction("i1", split="train", text="Say how old Rome is."),
                rows.instruction("i2", split="test"),
            ],
            "pairs": [pair("p1"), pair("p2", source="hard_negative", detail="truncated", principle_id=None)],
            "verdicts": [kept("p1"), kept("p2", verdict="rejected", flags=["margin"])],
        }
    )
    return store


@pytest.mark.parametrize("fmt", ["jsonl", "parquet", "hf"])
def test_accepted_pairs_in_trls_preference_format(store: Store, tmp_path: Path, fmt: Any) -> None:
    out = tmp_path / "out"
    export(store.reader(), "run-a", "pairs", fmt, out)
    if fmt == "jsonl":
        found = [json.loads(line) for line in (out / "train.jsonl").read_text().splitlines()]
    elif fmt == "parquet":
        found = pq.read_table(out / "train.parquet").to_pylist()
    else:
        import datasets

        found = datasets.load_from_disk(str(out))["train"].to_list()
    assert [row["pair_id"] for row in found] == ["p1"]
    assert found[0]["prompt"] == "Instruction: Say how old Rome is.\nResponse:"
    assert (found[0]["chosen"], found[0]["rejected"]) == (" Rome is old.", " Rome is new.")
    assert found[0]["margin_in_front"] == 0.7 and found[0]["principle_id"] == "correct_facts"


def test_the_card_names_sources_margins_constitution_and_licence(store: Store, tmp_path: Path) -> None:
    export(store.reader(), "run-a", "pairs", "jsonl", tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text()
    assert "license: gemma" in card and "version 3, 1 principles" in card and "cd" * 32 in card
    assert "| best\\_of | 1 | 1 | 1 | 1 | 1 | 0.5 | 0.62 |" in card
    assert "| hard\\_negative | 1 | 0 | 0 | none | none | none | none |" in card


def test_no_option_exports_a_pair_of_a_held_out_instruction(store: Store, tmp_path: Path) -> None:
    store.append({"pairs": [pair("p3", instruction_id="i2")], "verdicts": [kept("p3")]})
    with pytest.raises(StoreError, match="outside the training split, such as p3"):
        export(store.reader(), "run-a", "pairs", "jsonl", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_status_counts_revisions_and_pairs_by_source(store: Store) -> None:
    found = store.reader().status("run-a")["preferences"]
    assert (found["pairs"], found["pairs_kept"]) == (2, 1)
    assert found["pairs_by_source"]["hard_negative"] == {"pairs": 1, "kept": 0}
