"""Other thresholds over stored rows: what they would change, and what applying them writes."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.analyses.whatif import KNOBS, WhatIf, apply
from engine.core.errors import SpecError
from engine.critics.audit import accepted_above
from engine.quality.gates import recompute
from engine.spec.stage import load_spec, settings_of
from store.db import Store
from tests.store import rows

SCORES = (-0.9, -0.3, 0.1, 0.2, 0.6, 1.4)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    settings = load_spec("stage_1_small_model").settings.model_dump()
    settings["critics"]["accept_above"], settings["critics"]["unsure_above"] = 0.0, -0.5
    with Store.open(tmp_path / "s.duckdb") as store:
        names = [f"s{number}" for number in range(len(SCORES))]
        store.append(
            {
                "runs": [rows.run(settings=settings, state="gate_failed", reason="the pilot gate failed")],
                "guard_checks": [rows.guard_check("water")],
                "audits": [rows.audit("grade", part=part, auc=0.8, may_filter=True) for part in ("planted", "own")],
                "instructions": [
                    rows.instruction(f"i{n}", ordinal=n, text=f"Say a word number {n}.") for n in range(len(SCORES))
                ],
                "samples": [
                    rows.sample(
                        name, f"i{n}", ordinal=n, raw="Three plain words here.", response="Three plain words here."
                    )
                    for n, name in enumerate(names)
                ],
                "judgements": [
                    rows.judgement(name, "grade", score=score) for name, score in zip(names, SCORES, strict=True)
                ],
                "verdicts": [
                    rows.verdict(name, "accepted" if score > 0 else "unsure" if score > -0.5 else "rejected")
                    for name, score in zip(names, SCORES, strict=True)
                ],
                "gates": [rows.gate("pair acceptance", passed=False)],
            }
        )
        yield store


def test_a_higher_threshold_says_who_changes_sides_and_changes_nothing(store: Store) -> None:
    reader = store.reader()
    whatif = WhatIf(reader, "run-a")
    same = whatif.under({})
    assert same.changed == 0 and same.acceptance["sample"].accepted == 4 and same.filters["sample"] == "grade"
    moved = whatif.under({"critics.accept_above": "0.15"})
    assert [(item.sample_id, item.before, item.after) for item in moved.changes] == [("s2", "accepted", "unsure")]
    assert moved.acceptance["sample"].accepted == 3 and moved.acceptance["sample"].n == 6
    assert moved.acceptance["sample"].lo < 0.5 < moved.acceptance["sample"].hi
    assert whatif.under({"critics.min_auc": "0.9"}).filters["sample"] is None
    assert reader.query("SELECT count(*) AS n FROM decisions")[0]["n"] == 0
    with pytest.raises(SpecError, match="unsure_above must not exceed"):
        whatif.under({"critics.unsure_above": "2"})


def test_applying_tells_what_accepting_gives_on_audited_items_anew(store: Store) -> None:
    scores, labels = {"a": 0.2, "b": 0.6, "c": 0.9}, {"a": False, "b": False, "c": True}
    detail = {"scores": scores, "labels": labels, "accepted": {"natural": True, **accepted_above(0.0, [0.2], [True])}}
    store.put({"audits": [rows.audit("grade", part="own", auc=0.8, may_filter=True, detail=detail)]})
    apply(store, "run-a", {"critics.accept_above": "0.5"}, "stricter")
    with store.reader() as reader:
        found = {row["part"]: row["detail"].get("accepted") for row in reader.audits("run-a")}
        (told,) = reader.status("run-a")["good_among_accepted"]
    assert found["own"] == {"natural": True, **accepted_above(0.5, list(scores.values()), list(labels.values()))}
    assert found["planted"] is None and (told["taken"], told["good"], told["above"]) == (2, 1, 0.5)


def test_applying_is_a_decision_with_a_reason_and_verdicts_follow(store: Store) -> None:
    with pytest.raises(SpecError, match="reason"):
        apply(store, "run-a", {"critics.accept_above": "0.5"}, "  ")
    with pytest.raises(SpecError, match="no threshold"):
        apply(store, "run-a", {"critics.accept_above": "0.0"}, "none")
    changes = {"critics.accept_above": "0.5", "gate.instruction_acceptance_at_least": "0.0",
               "gate.pair_acceptance_at_least": "0.3"}  # fmt: skip
    assert apply(store, "run-a", changes, "precision matters more")["sample"] == 2
    with store.reader() as reader:
        run = reader.run("run-a")
        assert run["settings"]["critics"]["accept_above"] == 0.5
        verdicts = {row["subject_id"]: row["verdict"] for row in reader.query("SELECT * FROM verdicts")}
        assert verdicts == recompute(reader, "run-a", settings_of(run)).verdicts["sample"]
        assert list(verdicts.values()).count("accepted") == 2
        decision = reader.query("SELECT * FROM decisions")[0]
        assert decision["reason"] == "precision matters more" and decision["decided_by"] == "person"
        assert "critics.accept_above: 0.0 -> 0.5" in decision["question"]
        checks = reader.gates("run-a")
        assert {row["evidence_sha256"] for row in checks if row["check_name"] != "guard"} == {
            decision["evidence_sha256"]
        }
        # No instruction was judged here and none is asked for: that check shows nothing, and holds nothing up.
        results = {row["check_name"]: row["result"] for row in checks}
        assert results["instruction acceptance"] == results["audited pair critics"] == "not tested"
        assert "failed" not in results.values() and run["state"] == "stopped"
        told = [row for row in reader.events("run-a") if row["session_id"].startswith("anew-")]
        assert [row["kind"] for row in told] == ["Noted", "GateDecided"]
        assert told[1]["payload"]["gate"] == "pilot" and "not tested" in told[1]["payload"]["told"]


def test_every_knob_is_a_setting_of_the_spec() -> None:
    settings = load_spec("stage_6_small_model").settings.model_dump()
    for knob in KNOBS:
        section, name = knob.key.split(".")
        assert knob.low <= settings[section][name] <= knob.high and knob.about


def test_a_run_without_pairs_has_no_knobs_of_pairs(store: Store) -> None:
    whatif = WhatIf(store.reader(), "run-a")
    assert not [knob.key for knob in whatif.knobs if knob.key.startswith("pairs.")] and len(whatif.knobs) > 10
    assert "pair" not in whatif.under({}).acceptance
