"""An evaluation from question to claim, with a model whose share of right answers is known under every condition."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import engine.models.registry
from engine.analyses.offers import preregister, training_plan
from engine.analyses.replay import replay
from engine.core.errors import EvaluationError
from engine.core.events import Event
from engine.evaluation import Item, Verdict, plan
from engine.evaluation.items import EARLIER, item_set, plants
from engine.models.requests import Completion, Generate
from engine.phases import evaluation
from engine.run.engine import Engine, open_engine
from engine.run.orders import Train
from engine.spec.provenance import short_hash
from engine.spec.stage import StageSpec
from store.db import Store
from tests.engine.evaluation.examined import BASE, RATES, SMALL, Examined, add_adapter, evaluate, gap_lock, query
from tests.engine.training.training_run import RUN, settings, trainable_store

pytestmark = pytest.mark.integration


@pytest.fixture
def spec() -> StageSpec:
    return settings(**SMALL)


@pytest.fixture
def store(tmp_path: Path, spec: StageSpec) -> Path:
    path = trainable_store(tmp_path / "a.duckdb", Path("gemma-3-270m"), spec, fingerprint=BASE)
    with Store.open(path) as opened:
        opened.renew(RUN, {"gates": []}, only={"gates": {"gate": "gap"}})
    return path


def test_the_base_is_asked_in_three_ways_and_the_gap_opens_training(store: Path, monkeypatch: Any) -> None:
    assert not gap_lock(store)["open"] and "not asked" in gap_lock(store)["found"]
    model = Examined()
    outcome = evaluate(store, monkeypatch, model)
    assert outcome.state == "done" and "base_formatted" in outcome.reason, outcome
    answers = query(store, "SELECT condition, count(*) AS n, count(*) FILTER (correct) AS n_right FROM "
                           "evaluation_answers GROUP BY 1 ORDER BY 1")  # fmt: skip
    assert [row["condition"] for row in answers] == ["base_few_shot", "base_formatted", "base_raw"]
    n = answers[0]["n"]
    assert {row["n"] for row in answers} == {n} and n == 14 * 16
    assert gap_lock(store)["open"]
    kept = query(store, "SELECT state, reason FROM runs")[0]
    assert kept["state"] == "done", "an evaluation leaves the state of a run's data as it was"
    repeats = query(store, "SELECT * FROM evaluation_repeats")
    assert len(repeats) == 3 * round(0.05 * n) and all(row["same_text"] and row["same_verdict"] for row in repeats)
    assert not query(store, "SELECT * FROM evaluation_results")
    assert len(model.generated) == 3 * n + len(repeats)


def test_a_base_that_already_can_is_caught_though_its_raw_prompt_hides_it(store: Path, monkeypatch: Any) -> None:
    """Lesson 2: asked raw the base fails; in the training format it does what it was to be trained to do."""
    outcome = evaluate(store, monkeypatch, Examined({"base_formatted": 0.9}))
    assert outcome.state == "gate_failed" and "base_formatted_right" in outcome.reason
    assert "training it would show nothing" in outcome.reason and "base_raw" not in outcome.reason.partition("(")[2]
    lock = gap_lock(store)
    assert not lock["open"] and "Choose a capability with a gap" in lock["key"]
    opened = open_engine(Train(store, RUN, ("sft",)), lambda event: None)
    opened.start()
    assert opened.join(60) and opened.outcome is not None
    opened.close()
    assert opened.outcome.state == "gate_failed" and "gap gate" in opened.outcome.reason


def test_another_scorer_shuts_the_lock_again(store: Path, monkeypatch: Any) -> None:
    evaluate(store, monkeypatch, Examined())
    assert gap_lock(store)["open"]
    import engine.training.locks as locks

    monkeypatch.setattr(locks, "scorer_sha256", lambda: "00" * 32)
    assert not gap_lock(store)["open"] and "others than it was decided on" in gap_lock(store)["found"]


def capped(item: Item, answer: str) -> Verdict:
    """The scorer of lesson 3: whatever is longer than 500 characters is wrong."""
    from engine.evaluation.verifiers import verify

    found = verify(item, answer)
    return Verdict(False, False, False, "too long") if len(answer) > 500 else found


def test_a_length_capped_scorer_is_caught_before_anything_is_asked(store: Path, monkeypatch: Any) -> None:
    """Lesson 3: planted verbose answers are right, and this scorer calls them wrong."""
    monkeypatch.setattr(evaluation, "verify", capped)
    model = Examined()
    outcome = evaluate(store, monkeypatch, model)
    assert outcome.state == "gate_failed" and "before anything was asked" in outcome.reason
    assert model.generated == []
    failed = query(store, "SELECT subject FROM scorer_audits WHERE passed = false")
    assert {"short_fact", "arithmetic"} <= {row["subject"] for row in failed}


def test_a_length_capped_scorer_is_caught_by_its_verdicts_alone(store: Path, monkeypatch: Any) -> None:
    """Without plants: among answers that are all right, success falls with length, and no claim is made."""
    monkeypatch.setattr(evaluation, "verify", capped)
    monkeypatch.setattr(evaluation, "plants", lambda item: [])
    monkeypatch.setattr(evaluation, "written_plants", lambda: ())
    tuned = {add_adapter(store, "sft"): "sft"}

    class Wordy(Examined):
        def _answer(self, request: Generate) -> Completion:
            item = self._items[request.prompt.removesuffix("\nResponse:").rstrip("\n").rpartition("Instruction: ")[2]]
            by_kind = {plant.kind: plant.answer for plant in plants(item)}
            long = int(short_hash(item.item_id), 16) % 2
            text = by_kind["verbose" if long and self.condition(request) != "sft" else "correct"]
            return Completion(request, f" {text}", (1, 2), 5, "stop", "\n###")

    outcome = evaluate(store, monkeypatch, Wordy(tuned=tuned))
    assert outcome.state == "gate_failed" and "no claim can be made" in outcome.reason and "length" in outcome.reason
    assert not query(store, "SELECT * FROM evaluation_results"), "a failed audit blocks the claim"


def test_a_registered_evaluation_makes_a_claim(store: Path, monkeypatch: Any) -> None:
    evaluate(store, monkeypatch, Examined())
    with Store.open(store) as opened:
        made = preregister(opened, RUN)
    assert made["body"]["n"] == {"instruction_following": 14 * 8}
    tuned = {add_adapter(store, "sft"): "sft", add_adapter(store, "dpo"): "dpo"}
    model = Examined(tuned=tuned)
    outcome = evaluate(store, monkeypatch, model)
    assert outcome.state == "done" and outcome.reason.endswith("registered"), outcome
    assert len(model.generated) == 2 * (14 * 16 + round(0.05 * 14 * 16)), "the base's answers were there already"
    (primary,) = query(store, "SELECT * FROM evaluation_results WHERE role = 'primary'")
    assert (primary["before"], primary["after"], primary["item_type"]) == ("base_formatted", "dpo", "all")
    assert primary["registered"] and primary["p_corrected"] < 0.001 and primary["lo"] > 0.2
    counted = query(
        store,
        "SELECT count(*) AS n, count(*) FILTER (b.correct) AS b, count(*) FILTER (a.correct) AS a, "
        "count(*) FILTER (a.correct AND NOT b.correct) AS gained FROM evaluation_answers b "
        "JOIN evaluation_answers a USING (item_id) JOIN evaluation_items i USING (item_id) "
        "WHERE b.condition = 'base_formatted' AND a.condition = 'dpo' AND i.split = 'test'",
    )[0]
    assert [primary[k] for k in ("n", "before_right", "after_right", "gained")] == [
        counted[k] for k in ("n", "b", "a", "gained")
    ]
    assert (primary["test"], primary["registered"]) == ("cluster-robust t (CR2)", True)
    assert primary["mcnemar_p"] < 0.001 and primary["flip_p"] < 0.001 and primary["alpha"] == pytest.approx(0.045)
    # Eight items of a type are of too few templates for a test of their own.
    types = query(store, "SELECT * FROM evaluation_results WHERE item_type != 'all' AND after = 'dpo'")
    assert {(row["role"], row["p_corrected"]) for row in types} == {("descriptive", None)}
    assert sorted(made["body"]["descriptive"]) == sorted({row["item_type"] for row in types})
    # One item of a template each: no pilot of how alike items of one template are.
    assert made["body"]["likeness"] == {"icc": 0.1, "prior": 0.1, "pilot": None}
    scores = query(store, "SELECT * FROM evaluation_scores WHERE before = 'base_formatted' AND after = 'dpo'")
    assert {row["measure"] for row in scores} == {"grade", "tokens"}
    for row in scores:
        assert row["n"] == 112 and row["clusters"] == primary["clusters"] and row["q"] >= row["p"]
        assert row["dz_lo"] < row["dz"] < row["dz_hi"] and row["t_p"] is not None and row["wilcoxon_p"] is not None
    with Store.open(store) as opened, pytest.raises(EvaluationError, match="results exist"):
        preregister(opened, RUN)


def test_a_run_that_was_asked_items_of_an_earlier_version_goes_on_with_them(store: Path, monkeypatch: Any) -> None:
    (earlier,) = EARLIER
    with monkeypatch.context() as before:
        before.setattr(plan, "item_set", lambda sha256=earlier: item_set(sha256))
        evaluate(store, monkeypatch, Examined())
        with Store.open(store) as opened:
            assert preregister(opened, RUN, after="sft")["body"]["items_sha256"] == earlier
    assert gap_lock(store)["open"]
    model = Examined(tuned={add_adapter(store, "sft"): "sft"})
    outcome = evaluate(store, monkeypatch, model)
    assert outcome.state == "done" and outcome.reason.endswith("registered"), outcome
    assert len(model.generated) == 14 * 16 + round(0.05 * 14 * 16), "the base's answers were there already"
    assert query(store, "SELECT DISTINCT items_sha256 AS items FROM evaluation_answers") == [{"items": earlier}]


def test_without_a_registration_everything_is_exploratory(store: Path, monkeypatch: Any) -> None:
    outcome = evaluate(store, monkeypatch, Examined(tuned={add_adapter(store, "sft"): "sft"}))
    assert outcome.state == "done" and outcome.reason.endswith("exploratory")
    found = query(store, "SELECT DISTINCT role, registered, p_corrected FROM evaluation_results")
    assert {row["role"] for row in found} == {"exploratory", "descriptive"}
    assert {(row["registered"], row["p_corrected"]) for row in found} == {(False, None)}


def test_an_evaluation_that_is_stopped_goes_on_where_it_was(store: Path, monkeypatch: Any) -> None:
    def stop(opened: Engine, event: Event) -> None:
        if event.kind == "PhaseProgressed":
            opened.stop()

    first = Examined()
    assert evaluate(store, monkeypatch, first, stop).state == "stopped"
    known = query(store, "SELECT count(*) AS n FROM completions")[0]["n"]
    assert 0 < known < 3 * 14 * 16
    second = Examined()
    assert evaluate(store, monkeypatch, second).state == "done"
    repeats = 3 * round(0.05 * 14 * 16)
    assert len(second.generated) == 3 * 14 * 16 - known + repeats, "what was answered is not asked again"


def test_what_another_run_was_told_again_of_the_same_answers_is_not_asked_once_more(
    store: Path, monkeypatch: Any
) -> None:
    assert evaluate(store, monkeypatch, Examined()).state == "done"
    repeats = query(store, "SELECT * FROM evaluation_repeats ORDER BY condition, item_id")
    answers = query(store, "SELECT * FROM evaluation_answers")
    with Store.open(store) as opened:  # as if an earlier stage had asked the base, and this one had found its answers
        opened.append({
            "evaluation_answers": [row | {"run_id": "earlier"} for row in answers],
            "evaluation_repeats": [row | {"run_id": "earlier"} for row in repeats[1:]],
        })  # fmt: skip
        opened.renew(RUN, {"evaluation_repeats": []})
    second = Examined()
    assert evaluate(store, monkeypatch, second).state == "done"
    own = f"SELECT * FROM evaluation_repeats WHERE run_id = '{RUN}' ORDER BY condition, item_id"
    assert query(store, own) == repeats and len(second.generated) == 1


def test_a_better_verifier_costs_no_token(store: Path, monkeypatch: Any) -> None:
    evaluate(store, monkeypatch, Examined())
    before = query(store, 'SELECT item_id, condition, correct, "at" FROM evaluation_answers ORDER BY 1, 2')
    monkeypatch.setattr(plan, "scorer_sha256", lambda: "11" * 32)
    monkeypatch.setattr(evaluation, "written_plants", lambda: ())
    model = Examined()
    assert evaluate(store, monkeypatch, model).state == "done"
    assert model.generated == []
    after = query(store, 'SELECT item_id, condition, correct, "at" FROM evaluation_answers ORDER BY 1, 2')
    assert after == before, "verdicts anew, and the times of the answers kept"
    assert query(store, "SELECT DISTINCT scorer_sha256 AS s FROM evaluation_answers") == [{"s": "11" * 32}]


def test_a_reference_must_reach_its_floor(store: Path, monkeypatch: Any) -> None:
    outcome = evaluate(store, monkeypatch, Examined(), reference="some/instruct")
    assert outcome.state == "done"
    checks = {row["check_name"]: row for row in query(store, "SELECT * FROM gates WHERE gate = 'gap'")}
    assert checks["reference_right"]["passed"] and checks["reference_above_base_formatted_p"]["measured"] < 1e-6
    assert query(store, "SELECT manifest->>'$.reference.name' AS name FROM runs") == [{"name": "some/instruct"}]


def test_a_reference_that_cannot_either_puts_the_items_in_doubt(store: Path, monkeypatch: Any) -> None:
    monkeypatch.setitem(RATES, "reference", 0.4)
    outcome = evaluate(store, monkeypatch, Examined(), reference="some/instruct")
    assert outcome.state == "gate_failed" and "reference_right" in outcome.reason and "in doubt" in outcome.reason


def test_a_replay_certifies_what_agrees_and_names_what_does_not(store: Path, monkeypatch: Any) -> None:
    evaluate(store, monkeypatch, Examined())
    found = replay(store, RUN, "evaluation", 0.1)
    assert found["certified"], found
    assert found["texts"] == found["texts_same"] == round(0.1 * 3 * 14 * 16)
    monkeypatch.setattr(engine.models.registry, "load", lambda *_, **__: Examined({"base_few_shot": 0.0}))
    found = replay(store, RUN, "evaluation", 1.0)
    lost = query(store, "SELECT count(*) AS n FROM evaluation_answers WHERE condition = 'base_few_shot' AND correct")
    assert not found["certified"] and found["verdicts"] - found["verdicts_same"] == lost[0]["n"] > 0
    assert found["detail"]["differing"]
    assert len(query(store, "SELECT * FROM replays")) == 2


def test_a_run_without_the_section_says_so(tmp_path: Path, monkeypatch: Any) -> None:
    spec = settings(**SMALL).model_copy(update={"evaluation": None})
    path = trainable_store(tmp_path / "a.duckdb", Path("gemma-3-270m"), spec, fingerprint=BASE)
    with pytest.raises(EvaluationError, match="no section 'evaluation'"):
        evaluate(path, monkeypatch, Examined())
    with Store.open(path, read_only=True) as opened, opened.reader() as reader:
        assert all(lock["name"] != "the gap gate passed" for lock in training_plan(reader, RUN, "sft")["locks"])


def test_the_base_in_several_ways_is_a_pilot_of_how_alike_items_of_a_template_are(
    store: Path, monkeypatch: Any
) -> None:
    evaluate(store, monkeypatch, Examined(), items_per_type="48")
    with Store.open(store) as opened:
        found = preregister(opened, RUN)["body"]
    assert found["likeness"]["pilot"] is not None
    assert found["expected"]["icc"] == max(found["likeness"]["pilot"], 0.1)
