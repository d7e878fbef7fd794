"""Repeats: training and evaluation of a run again with other seeds, on its data, as runs of their own."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from engine.core.errors import TrainingError
from engine.evaluation import scorer_audit
from engine.evaluation.items import ITEMS_SHA256, item_set
from engine.evaluation.needs.over_seeds import repeats_of, seeds_rows
from engine.models.adapters import of_run, of_stage
from engine.models.checkpoints import tree_sha256
from engine.models.requests import adapter_fingerprint
from engine.planning.repeats import repeat_cost
from engine.run.engine import open_engine
from engine.run.orders import Resume
from engine.run.repeats import begin_repeat, repeated_kinds, repeats
from engine.spec.stage import settings_of
from engine.training.plan import plan
from store.db import Store
from store.errors import CaiError
from tests.engine.evaluation import examined
from tests.engine.evaluation.examined import BASE, Examined, evaluate, query
from tests.engine.evaluation.test_controls_evaluated import Shown
from tests.engine.report.test_report_seeds import with_seeds
from tests.engine.training.training_run import RUN, settings, trainable_store
from tests.store import rows

pytestmark = pytest.mark.integration


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A trained run whose base gives the answers of `Examined`."""
    made = trainable_store(tmp_path / "a.duckdb", Path("gemma-3-270m"), settings(**SMALL), fingerprint=BASE)
    adapter(made, RUN, 1)
    return made


SMALL = {"evaluation.items_per_type": "4", "evaluation.conversations": "false", "evaluation.reference": "null"}


def adapter(path: Path, run_id: str, number: int) -> str:
    """A finished training of a run; returns the fingerprint that the fake model has with it."""
    folder = path.parent / f"{path.stem}.trainings" / run_id / "sft-1" / "adapter"
    folder.mkdir(parents=True)
    (folder / "adapter_config.json").write_text(json.dumps({"r": 16, "lora_alpha": 16, "of": number}))
    told = {"adapter": settings().adapter.model_dump(), "sft": settings().sft.model_dump() | {"epochs": 3.0}}
    row = rows.training(
        "sft-1", run_id, state="done", settings=told, planned_steps=20, adapter_sha256=tree_sha256(folder),
        adapter_path=str(folder.relative_to(path.parent)), updated_at=rows.T0 + timedelta(minutes=number),
    )  # fmt: skip
    with Store.open(path) as store:
        steps = [rows.training_step(step, "sft-1", run_id, seconds=2.0) for step in range(1, 21)]
        store.append({"trainings": [row], "training_steps": steps})
    return adapter_fingerprint(BASE, tree_sha256(folder))


def test_a_repeat_has_data_and_settings_of_the_run_and_a_seed_of_its_own(path: Path) -> None:
    with Store.open(path) as store, store.reader() as reader:
        store.update_run(RUN, settings=settings(**SMALL, **{"evaluation.judge": "reviewer"}).model_dump())
        own = begin_repeat(store, RUN, 2)
        run, first = reader.run(own), reader.run(RUN)
        assert (run["manifest"]["repeat_of"], run["manifest"]["repeat"], run["state"]) == (RUN, 2, "done")
        assert run["seed"] != first["seed"] and run["fingerprint"] == first["fingerprint"] == BASE
        assert run["settings"]["sft"]["epochs"] == 3.0 and run["settings"]["evaluation"]["reference"] is None
        assert run["settings"]["evaluation"]["judge"] is None  # it would be paid for each repeat
        ours, theirs = (plan(reader, one, settings_of(one), "sft") for one in (run, first))
        assert ours.found.sha256 == theirs.found.sha256 and ours.found.train
        assert [(lock.name, lock.open) for lock in ours.locks] == [(lock.name, lock.open) for lock in theirs.locks]
        assert ours.seed != theirs.seed and ours.training_id != theirs.training_id
        assert repeats_of(reader, RUN) == {2: own}
        assert reader.latest_run_id() == RUN  # a command without a run is about the run, not about its repeats
        with pytest.raises(TrainingError, match=f"is a repeat of {RUN} itself"):
            repeated_kinds(reader, run)
    with pytest.raises(CaiError, match="makes no data of its own"):
        open_engine(Resume(path, own), lambda event: None)


def test_no_stage_goes_on_from_a_repeats_adapter(path: Path) -> None:
    with Store.open(path) as store:
        child = begin_repeat(store, RUN, 1)
    adapter(path, child, 2)
    with Store.open(path, read_only=True) as store, store.reader() as reader:
        own = of_run(reader, RUN, "sft")
        assert own != of_run(reader, child, "sft")
        assert of_stage(reader, "stage_6_small_model", BASE) == own  # the older of the two


def test_a_repeat_shows_the_examples_that_the_run_showed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = {"evaluation.controls": "[base_in_context]", "evaluation.context_tokens": "1200"}
    with Store.open(path) as store:
        store.update_run(RUN, settings=settings(**SMALL, **shown).model_dump())
        child = begin_repeat(store, RUN, 1)
    asked: dict[str, list[str]] = {}
    for run_id in (RUN, child):
        monkeypatch.setattr(examined, "RUN", run_id)
        model = Shown({"base_in_context": 0.3})
        model.fingerprint = BASE
        evaluate(path, monkeypatch, model)
        sql = f"SELECT request_id FROM evaluation_answers WHERE run_id = '{run_id}' AND condition = 'base_in_context'"
        asked[run_id] = sorted(row["request_id"] for row in query(path, sql))
    assert asked[RUN] == asked[child] and len(asked[RUN]) == 2 * 14 * 4
    told = query(path, "SELECT manifest->>'$.base_in_context.shown' AS n FROM runs")
    assert told[0]["n"] == told[1]["n"] != "0"


def test_only_what_was_trained_is_repeated(tmp_path: Path) -> None:
    made = trainable_store(tmp_path / "a.duckdb", Path("gemma-3-270m"), settings())
    with Store.open(made) as store, pytest.raises(TrainingError, match="has no trained adapter to repeat"):
        begin_repeat(store, RUN, 1)


def test_what_repeats_cost_is_what_the_run_took(path: Path) -> None:
    with Store.open(path, read_only=True) as store, store.reader() as reader:
        run = reader.run(RUN)
        found = repeat_cost(reader, run, settings_of(run), ("sft",), 3, 3.6)
    assert [part["name"] for part in found["parts"]] == ["sft", "evaluation"]
    assert found["one"]["seconds"]["value"] == pytest.approx(40.0)  # 20 steps of two seconds
    assert found["all"]["seconds"]["value"] == pytest.approx(120.0) and found["all"]["usd"]["value"] == pytest.approx(
        0.12
    )
    assert found["all"]["seconds"]["missing"] == {"evaluation": "no held-out item was asked yet"}


def test_what_is_asked_and_scored_in_a_repeat_is_in_its_cost(path: Path) -> None:
    told = {"evaluation.reference_logprobs": "true", "evaluation.controls": "[base_in_context]"}
    base = ("base_raw", "base_formatted", "base_few_shot")
    items = [item for split in ("dev", "test") for item in item_set().of("instruction_following", split, 4)]
    answers = [
        rows.evaluation_answer(item.item_id, name, True, items_sha256=ITEMS_SHA256, fingerprint=BASE)
        for name in base for item in items
    ]  # fmt: skip
    logprobs = [
        {"run_id": RUN, "condition": name, "item_id": f"x{n}", "items_sha256": ITEMS_SHA256, "fingerprint": BASE,
         "request_id": f"s-{name}-{n}", "logprob": -1.0, "n_tokens": 1, "at": rows.T0}
        for name in base for n in range(11)
    ]  # fmt: skip
    scores = [rows.score(row["request_id"], created_at=rows.T0 + timedelta(seconds=3 * (n % 11)))
              for n, row in enumerate(logprobs)]  # fmt: skip
    made = [rows.completion(row["request_id"], created_at=rows.T0 + timedelta(seconds=2 * (n % len(items))),
                            decoding={"max_tokens": settings().evaluation.max_tokens})
            for n, row in enumerate(answers)]  # fmt: skip
    dpo = {"method": "dpo", "state": "done", "planned_steps": 7, "adapter_path": "x", "adapter_sha256": "x"}
    random = {**dpo, "method": "sft_random", "planned_steps": 9, "updated_at": rows.T0 + timedelta(days=1)}
    with Store.open(path) as store, store.reader() as reader:
        store.update_run(RUN, settings=settings(**SMALL, **told).model_dump())
        store.append({
            "trainings": [rows.training("dpo-1", RUN, **dpo), rows.training("sft_random-1", RUN, **random)],
            "training_steps": [rows.training_step(1, "dpo-1", RUN, seconds=5.0)],
            "evaluation_answers": answers, "evaluation_logprobs": logprobs, "completions": made, "scores": scores,
            "sessions": [rows.session(run_id=RUN)],
        })  # fmt: skip
        run = reader.run(RUN)
        found = repeat_cost(reader, run, settings_of(run), ("sft", "dpo"), 2, 3.6)
    parts = {part["name"]: part["seconds"]["value"] for part in found["parts"]}
    assert parts["dpo"] == pytest.approx(7 * 5.0)  # the steps of the preference training, not of the newer control
    assert parts["evaluation"] == pytest.approx(3 * 2.0 * len(items))  # sft, dpo, and the control that was not asked
    assert parts["references"] == pytest.approx(3 * 3.0 * 11)


def test_only_repeats_of_the_same_training_count(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Store.open(path) as store:
        child = begin_repeat(store, RUN, 1)
    for run_id in (RUN, child):
        if run_id == child:
            adapter(path, child, 2)
        sha256 = query(path, f"SELECT adapter_sha256 AS sha FROM trainings WHERE run_id = '{run_id}'")[0]["sha"]
        monkeypatch.setattr(examined, "RUN", run_id)
        model = Examined({"sft": 0.5}, {adapter_fingerprint(BASE, sha256): "sft"})
        model.fingerprint = BASE
        evaluate(path, monkeypatch, model)
    items_sha256 = query(path, "SELECT any_value(items_sha256) AS sha FROM evaluation_answers")[0]["sha"]
    with Store.open(path) as store, store.reader() as reader:
        own = reader.query("SELECT * FROM trainings WHERE run_id = ?", [child])[0]
        own = {**own, "settings": json.loads(own["settings"])}
        sft = own["settings"]["sft"]

        def counts() -> tuple[bool, bool]:
            (one,) = repeats(reader, RUN, 1)
            return bool(seeds_rows(reader, [RUN, child], items_sha256, rows.T0)), one.trained

        assert counts() == (True, True)
        older = {**own["settings"], "sft": sft | {"only_a_newer_version_has_it": 1}}
        store.put({"trainings": [own | {"settings": older}]})
        assert counts() == (True, True)
        store.put({"trainings": [own | {"settings": {**own["settings"], "sft": sft | {"epochs": 1.0}}}]})
        assert counts() == (False, False)
        store.put({"trainings": [own | {"data_sha256": "other"}]})
        assert counts() == (False, False)
        store.put({"trainings": [own | {"adapter_sha256": "other"}]})  # trained anew, and not asked since
        assert counts()[0] is False
        store.put({"trainings": [own]})
        assert counts() == (True, True)
        audits = reader.query("SELECT * FROM scorer_audits WHERE run_id = ? AND part = 'undecided'", [child])
        audits = [{**row, "detail": json.loads(row["detail"])} for row in audits if row["subject"] == "sft"]
        store.put({"scorer_audits": [row | {"passed": False} for row in audits]})
        assert counts() == (False, True)
        store.put({"scorer_audits": audits})
        assert counts() == (True, True)
        decoding = {"temperature": 0.0, "max_tokens": 9}
        sql = "SELECT request_id FROM evaluation_answers WHERE run_id = ?"
        asked = [row["request_id"] for row in reader.query(sql, [child])]
        tuned = [row for row in reader.completions(asked).values() if row["fingerprint"] != BASE]
        store.put({"completions": [row | {"decoding": decoding} for row in tuned]})
        assert counts()[0] is False


def test_a_repeat_that_loses_its_results_has_no_part_any_more(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (over,) = with_seeds(0.2, 0.6)["evaluation_seeds"]
    with Store.open(path) as store:
        child = begin_repeat(store, RUN, 1)
        store.append({"evaluation_seeds": [{**over, "runs": [RUN, child]}]})
    monkeypatch.setattr(examined, "RUN", child)
    monkeypatch.setattr(scorer_audit, "blocked", lambda found: ["planted arithmetic"])
    outcome = evaluate(path, monkeypatch, Examined())
    assert outcome.state == "gate_failed" and "before anything was asked" in outcome.reason
    assert query(path, "SELECT * FROM evaluation_seeds") == []


def test_nothing_is_repeated_on_other_data(path: Path) -> None:
    own = query(path, "SELECT * FROM trainings")[0]
    with Store.open(path) as store:
        store.put({"trainings": [{**own, "settings": json.loads(own["settings"]), "data_sha256": "of others"}]})
        with pytest.raises(TrainingError, match="are not those that its sft adapter learned from"):
            begin_repeat(store, RUN, 1)


def test_trainings_that_one_run_cannot_have_are_not_repeated(path: Path) -> None:
    told = {"adapter": settings().adapter.model_dump() | {"dropout": 0.3}, "dpo": settings().dpo.model_dump()}
    dpo = rows.training("dpo-1", RUN, method="dpo", state="done", settings=told, adapter_path="x", adapter_sha256="x")
    with Store.open(path) as store:
        store.append({"trainings": [dpo]})
        with pytest.raises(TrainingError, match="with different settings of the section 'adapter'"):
            begin_repeat(store, RUN, 1)
    assert len(query(path, "SELECT run_id FROM runs")) == 1


def repeated_twice(path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[list[str], Callable[..., list[rows.Row]]]:
    """Two repeats of the run, and what asks one of the three the held-out items and gives its comparison over seeds."""
    with Store.open(path) as store:
        children = [begin_repeat(store, RUN, number) for number in (1, 2)]
    tuned = {RUN: adapter_fingerprint(BASE, query(path, "SELECT adapter_sha256 AS sha FROM trainings")[0]["sha"])}
    tuned |= {child: adapter(path, child, place) for place, child in enumerate(children, 2)}
    rates = dict(zip(tuned, (0.55, 0.45, 0.65), strict=True))

    def ask(run_id: str, **overrides: str) -> list[rows.Row]:
        monkeypatch.setattr(examined, "RUN", run_id)
        model = Examined({"sft": rates[run_id]}, {tuned[run_id]: "sft"})
        model.fingerprint = BASE
        outcome = evaluate(path, monkeypatch, model, **overrides)
        assert outcome.state == "done", outcome.reason
        sql = "SELECT * FROM evaluation_seeds WHERE before = 'base_formatted' AND after = 'sft'"
        return query(path, sql)

    return children, ask


def evaluated(path: Path) -> list[bool]:
    with Store.open(path, read_only=True) as store, store.reader() as reader:
        return [one.evaluated for one in repeats(reader, RUN, 2)]


def test_repeats_are_given_as_long_answers_as_the_run_was(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever its spec says, and again where it was evaluated anew with another limit."""
    children, ask = repeated_twice(path, monkeypatch)
    for limit in ("9", "17"):
        assert ask(RUN, max_tokens=limit) == []
        assert evaluated(path) == [False, False]
        for count, child in enumerate(children, 2):
            (over,) = ask(child)
            assert over["seeds"] == count
        assert evaluated(path) == [True, True]


def test_seeds_come_into_one_interval_once_three_answered(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    children, ask = repeated_twice(path, monkeypatch)
    assert ask(RUN) == []
    (two,) = ask(children[0])
    assert (two["run_id"], two["runs"], two["lo"]) == (RUN, [RUN, children[0]], None)
    (three,) = ask(children[1])
    assert three["runs"] == [RUN, *children] and (three["seeds"], three["clusters"]) == (3, 14 * 4)
    own = {
        row["run_id"]: row["difference"]
        for row in query(
            path,
            "SELECT run_id, difference FROM evaluation_results WHERE before = 'base_formatted' AND item_type = 'all'",
        )
    }
    assert three["differences"] == pytest.approx([own[name] for name in three["runs"]])
    assert three["difference"] == pytest.approx(sum(own.values()) / 3)
    lone = query(path, f"SELECT lo, hi FROM evaluation_results WHERE run_id = '{RUN}' AND before = 'base_formatted' "
                       "AND item_type = 'all'")[0]  # fmt: skip
    assert three["hi"] - three["lo"] > lone["hi"] - lone["lo"] and three["between_sd"] > 0
    with Store.open(path, read_only=True) as store, store.reader() as reader:
        found = repeats(reader, RUN, 3)
    assert [(one.run_id, one.trained, one.evaluated) for one in found] == [
        (children[0], True, True), (children[1], True, True), (None, False, False)
    ]  # fmt: skip
    assert not query(path, f"SELECT * FROM evaluation_looks WHERE run_id != '{RUN}'")  # no level is spent on repeats
