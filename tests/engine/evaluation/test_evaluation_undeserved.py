"""Ways to a claim, or to training, that is not deserved: softer settings, replaced adapters, labels of other answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import engine.models.registry
from engine.analyses.offers import preregister
from engine.analyses.replay import replay
from engine.core.errors import ModelError, SpecError
from engine.core.events import Event
from engine.evaluation import Verdict
from engine.phases import evaluation
from engine.report.build import pages
from engine.run.engine import Engine
from engine.spec.stage import StageSpec
from store.db import Store
from tests.engine.evaluation.examined import BASE, SMALL, Examined, Reference, add_adapter, evaluate, gap_lock, query
from tests.engine.training.training_run import RUN, settings, trainable_store
from tests.store import rows

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


def test_a_gap_gate_keeps_no_check_of_an_earlier_one(store: Path, monkeypatch: Any) -> None:
    """A condition that the ceiling is no longer for would lock training for ever."""
    model = Examined({"base_few_shot": 0.9})
    three = "[base_raw, base_formatted, base_few_shot]"
    assert evaluate(store, monkeypatch, model, gap_conditions=three).state == "gate_failed"
    assert evaluate(store, monkeypatch, model).state == "done"
    kept = query(store, "SELECT check_name FROM gates WHERE gate = 'gap' ORDER BY 1")
    assert [row["check_name"] for row in kept] == ["base_formatted_right", "base_raw_right"]
    assert query(store, "SELECT count(*) AS n FROM gates WHERE gate = 'final'")[0]["n"], "other gates are kept"
    assert gap_lock(store)["open"]


def test_a_gap_gate_decided_by_softer_settings_opens_nothing(store: Path, monkeypatch: Any) -> None:
    able = Examined({"base_formatted": 0.9})
    assert evaluate(store, monkeypatch, able, base_at_most="1.0").state == "done"
    assert not gap_lock(store)["open"] and "other conditions or thresholds than the spec's" in gap_lock(store)["found"]
    evaluate(store, monkeypatch, able, gap_conditions="[base_raw]")
    assert not gap_lock(store)["open"] and "other conditions" in gap_lock(store)["found"]


def test_a_gap_gate_decided_on_few_items_opens_nothing(store: Path, monkeypatch: Any) -> None:
    assert evaluate(store, monkeypatch, Examined(), items_per_type="1").state == "done"
    assert not gap_lock(store)["open"] and "on 14 of 112 development items" in gap_lock(store)["found"]
    assert evaluate(store, monkeypatch, Examined()).state == "done"
    assert gap_lock(store)["open"]


def test_a_reference_that_the_spec_names_has_to_answer(spec: StageSpec) -> None:
    from engine.evaluation.gap import gap_checks

    assert spec.evaluation is not None
    named = spec.evaluation.model_copy(update={"reference": "some/instruct"})
    checks = {check.name: check.passed for check in gap_checks([], named)}
    assert checks["reference_right"] is False
    assert "reference_right" not in {check.name for check in gap_checks([], spec.evaluation)}


def test_answers_of_an_adapter_that_was_replaced_stay_in_no_result(store: Path, monkeypatch: Any) -> None:
    from engine.analyses.offers import evaluation_offer

    evaluate(store, monkeypatch, Examined())
    with Store.open(store) as opened:
        preregister(opened, RUN, after="sft")
    evaluate(store, monkeypatch, Examined(tuned={add_adapter(store, "sft"): "sft"}))
    (item,) = query(store, "SELECT item_id FROM evaluation_answers WHERE condition = 'sft' AND correct LIMIT 1")
    tuned = {add_adapter(store, "sft", 2): "sft"}
    with Store.open(store) as opened, opened.reader() as reader:
        label = {"run_id": RUN, "subject_kind": "evaluation_answer", "reader": "ana", "label": "bad", "note": "",
                 "at": rows.T0}  # fmt: skip
        opened.put({"person_labels": [label | {"subject_id": f"sft/{item['item_id']}"}]})
        missing = {one["name"]: one["missing"] for one in evaluation_offer(reader, RUN)["conditions"]}
    assert missing == {"base_raw": 0, "base_formatted": 0, "base_few_shot": 0, "sft": 14 * 16}
    answered = 0

    def stop(opened: Engine, event: Event) -> None:
        nonlocal answered
        answered += event.kind == "PhaseProgressed"
        if answered == 4 * 7 - 2:
            opened.stop()

    assert evaluate(store, monkeypatch, Examined({"sft": 0.0}, tuned), stop).state == "stopped"
    two = query(store, "SELECT DISTINCT fingerprint FROM evaluation_answers WHERE condition = 'sft'")
    assert len(two) == 2
    assert not query(store, "SELECT * FROM evaluation_results"), "they rested on answers that were replaced"
    assert not query(store, "SELECT * FROM evaluation_repeats WHERE condition = 'sft'")
    with Store.open(store) as opened:
        evaluation.conclude(opened, RUN)
    mixed = query(store, "SELECT max(n) AS n, max(after_right) AS after FROM evaluation_results")[0]
    assert mixed["n"] is None or (mixed["n"] < 14 * 8 and mixed["after"] == 0)
    assert evaluate(store, monkeypatch, Examined({"sft": 0.0}, tuned)).state == "done"
    assert query(store, "SELECT max(n) AS n, max(after_right) AS a FROM evaluation_results") == [{"n": 112, "a": 0}]
    assert query(store, "SELECT count(*) AS n FROM evaluation_repeats WHERE condition = 'sft'")[0]["n"] == 11
    assert not query(store, "SELECT * FROM scorer_audits WHERE part = 'person'"), "the label is of another's answer"


def test_an_adapter_whose_files_were_changed_is_named(store: Path, monkeypatch: Any) -> None:
    add_adapter(store, "sft")
    (file,) = store.parent.rglob("adapter_config.json")
    file.write_text("{}")
    said: list[str] = []
    evaluate(store, monkeypatch, Examined(), lambda _, event: said.append(str(event.payload().get("text", ""))))
    assert any("the adapter sft-1 is not asked" in text for text in said)


def test_verdicts_of_repeats_follow_the_verifiers(store: Path, monkeypatch: Any) -> None:
    evaluate(store, monkeypatch, Examined())
    import engine.evaluation.plan as plan

    monkeypatch.setattr(plan, "scorer_sha256", lambda: "11" * 32)
    monkeypatch.setattr(evaluation, "verify", lambda item, text: Verdict(True, True, True, "lenient"))
    monkeypatch.setattr(evaluation, "plants", lambda item: [])
    monkeypatch.setattr(evaluation, "written_plants", lambda: ())
    evaluate(store, monkeypatch, Examined())
    assert query(store, "SELECT DISTINCT correct, same_verdict FROM evaluation_repeats") == [
        {"correct": True, "same_verdict": True}
    ]


def read_by_two(store: Path) -> None:
    """Two persons say of a dozen answers what the verifiers said of them."""
    from tui.reads.blind import keep_blind_label, settle_reading

    asked = query(store, "SELECT * FROM evaluation_answers WHERE condition = 'sft' AND correct IS NOT NULL "
                         "ORDER BY correct, item_id")  # fmt: skip
    with Store.open(store) as opened:
        for row in [*asked[:6], *asked[-6:]]:
            for by in ("ana", "ben"):
                keep_blind_label(opened, RUN, f"sft/{row['item_id']}", "good" if row["correct"] else "bad", by)
        settle_reading(opened, RUN)


def test_a_failed_gap_gate_and_a_missing_guard_stand_against_a_claim(store: Path, monkeypatch: Any) -> None:
    from tui.reads.evaluation import standing
    from tui.widgets.evaluation.standing import standing_lines

    def told() -> tuple[str, str]:
        with Store.open(store, read_only=True) as opened, opened.reader() as reader:
            lines = standing_lines(standing(reader, RUN), 200, 9)
            return pages(reader, RUN, None, rows.T0)["report.md"], str(lines[0])

    evaluate(store, monkeypatch, Examined())
    with Store.open(store) as opened:
        preregister(opened, RUN, after="sft")
    tuned = {add_adapter(store, "sft"): "sft"}
    evaluate(store, monkeypatch, Examined(tuned=tuned))
    report, room = told()
    assert "**Claim.**" not in report and "No claim: not read" in room
    read_by_two(store)
    report, room = told()
    assert "**Claim.**" in report and "shown at level" in room and "cluster-robust t (CR2), p = " in report
    (primary,) = query(store, "SELECT * FROM evaluation_results WHERE role = 'primary'")
    with Store.open(store) as opened:
        opened.put({"evaluation_results": [primary | {"test": "McNemar exact", "clustered_p": 0.2}]})
    report, room = told()
    assert "**Claim.**" not in report and "McNemar exact takes items of one template for independent" in report
    assert "not shown at level" in room and "by McNemar's test of items, 0.2 with templates as clusters" in room
    evaluate(store, monkeypatch, Examined(tuned=tuned), base_at_most="0.01")
    report, room = told()
    assert "**Claim.**" not in report and "the gap gate failed 2 of 2 checks" in report and "No gap" in room
    with Store.open(store) as opened:
        opened.renew(RUN, {"gates": []}, only={"gates": {"gate": "gap"}})
    assert "the gap gate was not decided" in told()[0]
    evaluate(store, monkeypatch, Examined(tuned=tuned))
    with Store.open(store) as opened:
        opened.renew(RUN, {"guard_checks": []})
    report, room = told()
    assert "**Claim.**" not in report and "the contamination guard was not run" in report
    assert "No claim: the contamination guard has not run" in room


def test_a_registered_primary_that_was_not_compared_is_called_so(store: Path, monkeypatch: Any) -> None:
    from tui.reads.evaluation import standing
    from tui.widgets.evaluation.standing import standing_lines

    evaluate(store, monkeypatch, Examined())
    with Store.open(store) as opened:
        preregister(opened, RUN)  # up to dpo
    outcome = evaluate(store, monkeypatch, Examined(tuned={add_adapter(store, "sft"): "sft"}))
    assert outcome.reason.endswith("registered as secondary to a comparison that has no answers yet")
    with Store.open(store, read_only=True) as opened, opened.reader() as reader:
        lines = standing_lines(standing(reader, RUN), 200, 9)
    assert "the registered primary comparison has no answers" in str(lines[0])


def test_blind_reading_goes_on_with_other_items(store: Path, monkeypatch: Any) -> None:
    from tui.reads.blind import keep_blind_label, to_read

    evaluate(store, monkeypatch, Examined(tuned={add_adapter(store, "sft"): "sft"}))
    with Store.open(store) as opened, opened.reader() as reader:
        result = reader.query(
            "SELECT * FROM evaluation_results WHERE item_type = 'all' AND before = 'base_formatted' AND after = 'sft'"
        )[0]
        changed, read = result["gained"] + result["lost"], set()
        while found := to_read(reader, RUN, result, "ana"):
            names = {row["subject_id"] for row in found}
            assert not names & read and len(names) == 2 * min(20, changed - len(read) // 2)
            read |= names
            for name in names:
                keep_blind_label(opened, RUN, name, "good", "ana")
        assert len(read) == 2 * changed > 40
        # A second reader is shown what the first was, in the same order.
        first = {row["subject_id"] for row in to_read(reader, RUN, result, "ben")}
        assert len(first) == 40 and first <= read


def test_a_replay_holds_one_model_at_a_time_and_knows_another_reference(store: Path, monkeypatch: Any) -> None:
    there: list[str] = []

    def load(name: str, **options: Any) -> Examined:
        model = Reference() if options.get("chat") else Examined()
        assert not there, "two models in memory"
        there.append(name)
        monkeypatch.setattr(model, "close", there.clear)
        return model

    evaluate(store, monkeypatch, Examined(), reference="some/instruct")
    monkeypatch.setattr(engine.models.registry, "load", load)
    found = replay(store, RUN, "evaluation", 0.1)
    assert found["certified"] and len(found["fingerprint"].split()) == 2 and not there
    monkeypatch.setattr(Reference, "fingerprint", property(lambda _: "dd" * 8, lambda *_: None), raising=False)
    with pytest.raises(ModelError, match="are not here any more"):
        replay(store, RUN, "evaluation", 0.1)


def test_a_replay_does_not_ask_an_adapter_that_was_changed(store: Path, monkeypatch: Any) -> None:
    tuned = {add_adapter(store, "sft"): "sft"}
    evaluate(store, monkeypatch, Examined(tuned=tuned))
    monkeypatch.setattr(engine.models.registry, "load", lambda *_, **__: Examined(tuned=tuned))
    assert replay(store, RUN, "evaluation", 0.1)["certified"]
    (file,) = store.parent.rglob("adapter_config.json")
    file.write_text("{}")
    with pytest.raises(ModelError, match="are not here any more"):
        replay(store, RUN, "evaluation", 0.1)


def test_a_gap_gate_asks_of_one_condition_at_least() -> None:
    with pytest.raises(SpecError, match="gap_conditions"):
        settings(**SMALL, **{"evaluation.gap_conditions": "[]"})
