"""The share of good ones among the accepted: of one audit alone, of the critic that decides, or not known."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from store.audits import good_among_accepted
from store.db import Store
from store.export import export
from tests.store import rows

CRITICS = {"instruction": ["grade"], "sample": ["probe", "grade"], "accept_above": 0.4, "min_auc": 0.65}


def accepted(good: int, taken: int, n: int, **fields: Any) -> dict[str, Any]:
    share = {"precision": good / taken, "lo": 0.1, "hi": 0.6} if taken else {"precision": None, "lo": None, "hi": None}
    found = {"natural": True, "above": 0.4, "n": n, "taken": taken, "good": good, "recall": 0.5}
    return {"accepted": found | share | {"share_taken": taken / n} | fields}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "s.duckdb") as store:
        made = rows.small_run("run-a", settings={"responses": {"max_tokens": 96}, "critics": CRITICS})
        store.append(made | {"audits": []})
        yield store


def told(store: Store) -> dict[str, dict[str, Any]]:
    with store.reader() as reader:
        return {one["kind"]: one for one in good_among_accepted(reader, reader.run("run-a"))}


def test_a_fresh_part_goes_before_cross_validation_and_planted_ones_say_nothing(store: Store) -> None:
    audits = [
        rows.audit("probe", part="planted", auc=0.9, detail=accepted(25, 30, 60, natural=False)),
        rows.audit("probe", part="own", auc=0.8, detail=accepted(50, 100, 400)),
    ]
    store.put({"audits": audits})
    assert (told(store)["sample"]["part"], told(store)["sample"]["precision"]) == ("own", 0.5)
    store.put({"audits": [rows.audit("probe", part="fresh", auc=0.7, detail=accepted(8, 24, 210))]})
    found = told(store)["sample"]
    assert (found["critic"], found["part"], found["n"], found["taken"], found["good"]) == ("probe", "fresh", 210, 24, 8)
    store.put({"audits": [rows.audit("probe", part="person", auc=0.1, detail=accepted(1, 2, 3))]})
    assert told(store)["sample"] == found  # what a person labelled decides nothing here


def test_where_no_critic_reaches_what_is_asked_for_nothing_is_known(store: Store) -> None:
    store.put({"audits": [rows.audit("probe", part="own", auc=0.8, may_filter=True, detail=accepted(5, 10, 40))]})
    store.put({"audits": [rows.audit("probe", part="fresh", auc=0.6, may_filter=True, detail=accepted(5, 10, 40))]})
    assert told(store) == {"sample": {"kind": "sample", "critic": None, "part": None}}  # instructions: no audit yet
    store.update_run("run-a", settings={"critics": CRITICS | {"min_auc": 0.55}})
    assert told(store)["sample"]["critic"] == "probe"
    store.update_run("run-a", settings={"critics": CRITICS | {"sample": []}})
    assert told(store)["sample"]["critic"] is None


def test_a_critic_in_anothers_place_and_an_endless_scale_are_read(store: Store) -> None:
    endless = {"half_gap_nats": float("inf"), **accepted(3, 6, 12)}
    store.put({"audits": [rows.audit("grade", part="own", auc=0.7, detail=endless)]})
    assert told(store)["sample"]["critic"] == "grade" and told(store)["sample"]["taken"] == 6


def test_a_chosen_mix_of_good_and_bad_tells_no_share(store: Store) -> None:
    store.put({"audits": [rows.audit("probe", part="own", auc=0.8, detail=accepted(5, 10, 40, natural=False))]})
    assert told(store)["sample"] == {"kind": "sample", "critic": "probe", "part": None}


def test_the_card_keeps_audits_of_different_items_apart(store: Store, tmp_path: Path) -> None:
    audits = [
        rows.audit("probe", part="own", auc=0.8, detail=accepted(50, 100, 400) | {"calibration_error": 0.031}),
        rows.audit("probe", part="fresh", auc=0.7, detail=accepted(8, 24, 210)),
        rows.audit("grade", part="own", auc=0.5, detail={"no_scale": "it does not tell them apart"}),
        rows.audit("grade", subject_kind="instruction", part="own", auc=0.5),
    ]
    store.put({"audits": audits})
    with store.reader() as reader:
        export(reader, "run-a", "sft", "jsonl", tmp_path / "out")
    text = (tmp_path / "out" / "README.md").read_text()
    own, fresh = text.index("Cross-validated on labelled sets:"), text.index("On fresh candidates, read blind:")
    assert "| probe | sample | own | 30 | 30 | 0.8 | 0.5 to 0.72 | 0.031 | none | 0.50 | no |" in text[own:fresh]
    assert "| grade | sample | own | 30 | 30 | no scale |" in text[own:fresh] and "| fresh |" not in text[own:fresh]
    assert "| probe | sample | fresh |" in text[fresh:] and "On a person's labels" not in text
    assert (
        "- Good among the accepted samples: 33 % by 210 labels of fresh candidates, read blind (probe, 95 % interval "
        "10 to 60 %); 24 of 210 candidates are taken."
    ) in text
    assert "- Good among the accepted instructions: **not known**, rules alone accept." in text
