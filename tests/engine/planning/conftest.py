"""A run with every phase measured, and its plan."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from engine.evaluation import items
from engine.planning.plan import plan_of
from engine.spec.stage import load_spec
from store.db import Store
from store.read import Reader
from tests.store import rows

# -- a run


def fill(store: Store, seed: int = 1, n: int = 120, **fields: Any) -> dict[str, Any]:
    """A pilot of a stage with pairs: what was done, as the sums that the figures must come to."""
    rng = np.random.default_rng(seed)
    spec = load_spec("stage_6_small_model", {"critics.sample": "[grade]"}).settings
    made: dict[str, list[dict[str, Any]]] = {name: [] for name in (
        "instructions", "samples", "verdicts", "judgements", "revisions", "candidates", "pairs")}  # fmt: skip
    run = rows.run(settings=spec.model_dump(), pilot=40, target=400, state="stopped", **fields)
    sums: dict[str, Any] = {"accepted": 0, "eligible": 0, "kept": 0, "pairs": 0, "revisions": 0, "tokens": 0}
    for i in range(n):
        made["instructions"].append(rows.instruction(f"i{i}", ordinal=i, split="train" if i % 10 else "test"))
        good = rng.random() < 0.7
        made["verdicts"].append(rows.verdict(f"i{i}", "accepted" if good else "rejected", subject_kind="instruction"))
        if not good:
            continue
        tokens = int(rng.integers(5, 60))
        sums["tokens"] += tokens
        made["samples"].append(rows.sample(f"s{i}", f"i{i}", ordinal=i, n_tokens=tokens))
        accepted = rng.random() < 0.6
        made["verdicts"].append(rows.verdict(f"s{i}", "accepted" if accepted else "rejected"))
        made["judgements"].append(rows.judgement(f"s{i}", "grade", margin_nats=float(rng.normal())))
        sums["accepted"] += accepted
        if not accepted or not i % 10:
            continue
        sums["eligible"] += 1
        made["revisions"].append(revision(i))
        sums["revisions"] += 1
        for number in (2, 3, 4):
            made["candidates"].append(candidate(i, number, int(rng.integers(5, 60))))
            made["verdicts"].append(rows.verdict(f"c{i}-{number}", subject_kind="candidate"))
            margin = float(rng.normal())
            made["judgements"].append(
                rows.judgement(f"c{i}-{number}", "grade", subject_kind="candidate", margin_nats=margin)
            )
        for number in range(int(rng.integers(1, 4))):
            kept = rng.random() < 0.5
            made["pairs"].append(pair(i, number))
            made["verdicts"].append(
                rows.verdict(f"p{i}-{number}", "accepted" if kept else "rejected", subject_kind="pair")
            )
            sums["pairs"] += 1
            sums["kept"] += kept
    seconds = {"guard": 5.0, "instructions": 60.0, "instruction_judgements": 30.0, "responses": 240.0,
               "response_judgements": 24.0, "gate": 2.0, "revisions": 180.0, "candidates": 300.0, "pairs": 90.0,
               "pair_gate": 4.0}  # fmt: skip
    metrics = [rows.metric("elapsed_s", phase=name, value=value / 2) for name, value in seconds.items() for _ in "ab"]
    store.append({"runs": [run], "metrics": metrics, **made})
    return sums | {"n": n, "seconds": seconds}


def revision(i: int) -> dict[str, Any]:
    return {
        "run_id": "run-a", "revision_id": f"r{i}", "ordinal": i, "sample_id": f"s{i}", "instruction_id": f"i{i}",
        "round": 1, "parent_id": f"s{i}", "principle_id": "honest", "critique_request_id": "q", "critique": "c",
        "n_critique_tokens": 10, "request_id": "q", "raw": "r", "response": "r", "trimmed": [], "stop_reason": "stop",
        "n_tokens": 20 + i % 7,
    }  # fmt: skip


def candidate(i: int, number: int, tokens: int) -> dict[str, Any]:
    return {
        "run_id": "run-a", "candidate_id": f"c{i}-{number}", "ordinal": i, "instruction_id": f"i{i}",
        "sample_id": f"s{i}", "source": "best_of", "number": number, "request_id": "q", "raw": "r", "response": "r",
        "trimmed": [], "stop_reason": "stop", "n_tokens": tokens, "detail": "",
    }  # fmt: skip


def pair(i: int, number: int) -> dict[str, Any]:
    return {
        "run_id": "run-a", "pair_id": f"p{i}-{number}", "ordinal": i, "instruction_id": f"i{i}", "source": "best_of",
        "detail": "", "principle_id": None, "question": "?", "chosen_id": f"s{i}", "rejected_id": f"c{i}-2",
        "chosen": "a", "rejected": "b", "chosen_tokens": 1, "rejected_tokens": 1,
    }  # fmt: skip


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Store, Reader, dict[str, Any]]]:
    with Store.open(tmp_path_factory.mktemp("plan") / "cai.duckdb") as store:
        sums = fill(store)
        reader = store.reader()
        yield store, reader, sums
        reader.close()


@pytest.fixture(scope="module")
def told(filled: tuple[Store, Reader, dict[str, Any]]) -> dict[str, Any]:
    return plan_of(filled[1], "run-a", price_per_hour=3.6)


@pytest.fixture(autouse=True)
def few_items(monkeypatch: pytest.MonkeyPatch) -> None:
    """A set of 600 held-out items of 15 types with 20 templates each, whatever the shipped one is."""
    made = [
        items.Item(f"x{n}", "instruction_following", f"type-{n % 15}", f"t{n // 15 % 20}", "test", "p", None, {})
        for n in range(600)
    ]  # fmt: skip
    monkeypatch.setattr("engine.planning.sample_size.item_set", lambda: items.ItemSet(tuple(made), "0" * 64))
