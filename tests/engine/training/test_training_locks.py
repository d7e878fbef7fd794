"""What locks training, and how each lock says what it found and how it is opened."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine.analyses.offers import training_plan
from engine.core.errors import Locked, TrainingError
from engine.evaluation.items import item_set
from engine.training.examples import examples
from engine.training.locks import Lock, locks, require_open
from engine.training.plan import plan
from store.db import Store
from tests.engine.training.training_run import RUN, decide_gates, settings, trainable_store

SPEC = settings()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return trainable_store(tmp_path / "a.duckdb", Path("nobody/base-model"), SPEC)


def change(path: Path, sql: str, decide: bool = True, **fields: Any) -> None:
    """Replace fields of the rows that a query over one table gives; where asked, the gates are decided anew."""
    table = sql.split("FROM ")[1].split()[0]
    with Store.open(path) as store, store.reader() as reader:
        store.put({table: [row | fields for row in reader.query(sql)]})
        if decide:
            decide_gates(store, reader, SPEC)


def shut(path: Path, kind: str = "sft", **overrides: str) -> dict[str, dict[str, Any]]:
    with Store.open(path) as store, store.reader() as reader:
        found = training_plan(reader, RUN, kind, {k.replace("__", "."): v for k, v in overrides.items()})
    return {lock["name"]: lock for lock in found["locks"] if not lock["open"]}


def test_a_run_whose_gate_passed_may_be_trained(path: Path) -> None:
    assert shut(path) == {}
    # Preferences wait for the adapter that they begin with, and for nothing else.
    assert set(shut(path, "dpo")) == {"an SFT adapter to begin with"}
    assert shut(path, "dpo", dpo__loss="orpo") == {}


def test_a_model_behind_servers_has_no_weights_to_train(path: Path) -> None:
    change(path, "SELECT * FROM runs", decide=False, model="http://127.0.0.1:8000/v1#base")
    found = shut(path)["weights to train"]
    assert "http://127.0.0.1:8000/v1#base" in found["found"] and "cai export" in found["key"]


def test_the_guard(path: Path) -> None:
    change(path, "SELECT * FROM guard_checks", passed=False)
    found = shut(path)
    assert "1 checks of the contamination guard failed" in found["the guard passed"]["found"]
    assert "No approval opens this lock" in found["the guard passed"]["key"]


def test_a_gate_that_failed_or_was_not_decided(path: Path) -> None:
    change(path, "SELECT * FROM gates WHERE gate = 'final' AND check_name = 'marker leaks'", decide=False, passed=False)
    assert shut(path)["the data gate passed"]["found"] == (
        "the final gate failed, 7 of 8 passed (1 failed), 5 not tested: marker leaks"
    )
    change(path, "SELECT * FROM gates", decide=False, run_id="another")
    with Store.open(path) as store, store.reader() as reader:
        run = reader.run(RUN) | {"run_id": "run-z"}
        found = {
            lock.name: lock
            for lock in locks(reader, run, SPEC, "sft", plan(reader, reader.run(RUN), SPEC, "sft").found)
        }
    assert not found["the data gate passed"].open
    assert found["the data gate passed"].found == "the data gate has not been decided"


def test_evidence_that_is_not_that_of_the_gate(path: Path) -> None:
    change(path, "SELECT * FROM samples WHERE sample_id = 's001'", decide=False, n_tokens=200)
    found = shut(path)
    assert set(found) == {"the evidence is current"}
    assert "no longer say what the final gate was decided on" in found["the evidence is current"]["found"]
    assert f"cai resume {RUN}" in found["the evidence is current"]["key"]


@pytest.mark.parametrize("near", ["Name amber {rest}", "name AMBER {rest}!", "Please name amber {rest}"])
def test_an_instruction_of_the_test_split_exactly_or_nearly(path: Path, near: str) -> None:
    with Store.open(path) as store, store.reader() as reader:
        test = reader.query("SELECT * FROM instructions WHERE split = 'test' ORDER BY ordinal LIMIT 1")[0]
        store.put({"instructions": [test | {"text": "Name amber basin candle delta item ninety."}]})
        learned = reader.query("SELECT * FROM instructions WHERE split = 'train' ORDER BY ordinal LIMIT 1")[0]
        store.put({"instructions": [learned | {"text": near.replace("{rest}", "basin candle delta item ninety.")}]})
        decide_gates(store, reader, SPEC)
    found = shut(path)
    assert set(found) - {"the data gate passed"} == {"the test split is apart"}
    assert "such as i000" in found["the test split is apart"]["found"]


@pytest.mark.parametrize("method", ["sft", "dpo"])
@pytest.mark.parametrize("near", ["{item}", "  {upper}!!", "Please: {item}"])
def test_what_the_evaluation_asks_is_not_trained_on(path: Path, near: str, method: str) -> None:
    """Lesson 7: test instructions in the training set."""
    item = next(one.prompt for one in item_set().items if not one.history and len(one.prompt.split()) > 6)
    with Store.open(path) as store, store.reader() as reader:
        learned = reader.query("SELECT * FROM instructions WHERE split = 'train' ORDER BY ordinal LIMIT 1")[0]
        store.put({"instructions": [learned | {"text": near.format(item=item, upper=item.upper())}]})
        run = reader.run(RUN)
        found = examples(reader, run, method, 0.0)
        all_locks = {lock.name: lock for lock in locks(reader, run, SPEC, method, found)}
        assert found.left_out == (learned["instruction_id"],)
        assert learned["instruction_id"] not in found.of.values() and len(found.train) in (15, 23)
        lock = all_locks["the evaluation's items are apart"]
        assert lock.open and lock.found.startswith("1 instructions that it asks") and "such as i000" in lock.found
        without = run | {"settings": run["settings"] | {"evaluation": None}}
        assert examples(reader, without, method, 0.0).left_out == ()


def test_pairs_of_held_out_instructions(path: Path) -> None:
    change(path, "SELECT * FROM pairs WHERE pair_id = 'p002'", decide=False, instruction_id="i025")
    found = shut(path, "dpo", dpo__loss="orpo", dpo__heldout_share="0.0")
    assert "1 examples are of other splits, such as p002" in found["only the training split"]["found"]


def test_an_empty_response_is_named(path: Path) -> None:
    change(path, "SELECT * FROM samples WHERE sample_id = 's004'", response="  \n")
    assert shut(path)["no empty response"]["found"].endswith("such as s004")


def test_too_few_examples_say_which_setting(path: Path) -> None:
    found = shut(path, sft__examples_at_least="25")
    assert found["enough examples"]["found"] == "24 to train on, at least 25 wanted"
    assert "sft.examples_at_least" in found["enough examples"]["key"]


def test_the_forecast_cost_must_be_there(path: Path) -> None:
    with Store.open(path) as store, store.reader() as reader:
        run = reader.run(RUN)
        dear = plan(reader, run, SPEC, "sft", hours=3.0, price_per_hour=2.0, money_left=5.0)
        cheap = plan(reader, run, SPEC, "sft", hours=3.0, price_per_hour=2.0, money_left=6.0)
    assert [lock.found for lock in dear.locks if not lock.open] == ["about $6.00 of $5.00 that are left"]
    assert all(lock.open for lock in cheap.locks)


def test_the_refusal_names_the_first_lock_its_key_and_how_many_more() -> None:
    many = [Lock("a", True, "", ""), Lock("b", False, "it is shut", "Open it."), Lock("c", False, "shut, too", "No.")]
    with pytest.raises(Locked, match=r"training is locked: b: it is shut \(1 more locks are shut: c\)") as caught:
        require_open(many)
    assert caught.value.hint == "Open it." and caught.value.exit_code == 4
    require_open(many[:1])


def test_a_spec_without_training_is_refused(path: Path) -> None:
    with Store.open(path) as store, store.reader() as reader, pytest.raises(TrainingError, match="no section 'sft'"):
        plan(reader, reader.run(RUN), SPEC.model_copy(update={"sft": None}), "sft")


def test_a_kept_revision_stands_for_its_sample(path: Path) -> None:
    from tests.store import rows

    revision = {
        "run_id": RUN, "revision_id": "r1", "ordinal": 0, "sample_id": "s001", "instruction_id": "i001", "round": 1,
        "parent_id": "s001", "principle_id": "x", "critique_request_id": "q", "critique": "", "n_critique_tokens": 0,
        "request_id": "q", "raw": "Better.", "response": "Better.", "trimmed": [], "stop_reason": "stop", "n_tokens": 2,
    }  # fmt: skip
    dropped = revision | {"revision_id": "r2", "round": 2, "response": "Worse."}
    with Store.open(path) as store, store.reader() as reader:
        verdicts = [
            rows.verdict("r1", subject_kind="revision"), rows.verdict("r2", "rejected", subject_kind="revision")
        ]  # fmt: skip
        store.append({"revisions": [revision, dropped], "verdicts": verdicts})
        found = plan(reader, reader.run(RUN), SPEC, "sft").found
    texts = {row["id"]: row["completion"] for row in found.train}
    assert texts["r1"] == " Better." and "s001" not in texts and "r2" not in texts
    assert [row["id"] for row in found.heldout] == ["s024", "s025", "s026"]  # the validation split
