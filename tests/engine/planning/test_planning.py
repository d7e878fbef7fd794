"""Forecasts and plans of a run: against sums made in another way."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.evaluation.inference.levels import level_of_all
from engine.evaluation.items import EARLIER, ItemsChanged, ItemSet, item_set
from engine.evaluation.plan import own_items
from engine.evaluation.registration import design_over, sizes_of
from engine.planning.forecast import Part, pilot_of, together
from engine.planning.futility import conditional_power
from engine.planning.plan import allocation, plan_of
from engine.planning.priors import answered
from engine.planning.sample_size import sample_size
from engine.spec.stage import load_spec
from engine.stats.clusters import clustered_power
from engine.stats.power import mcnemar_n
from store.db import Store
from store.read import Reader
from tests.engine.fakes import run_engine
from tests.engine.phases.test_preferences import OPTIONS, Critical
from tests.engine.planning.conftest import fill
from tests.store import rows


def test_a_plan_is_json(told: dict[str, Any]) -> None:
    json.dumps(told, allow_nan=False)


def test_costs_are_the_seconds_of_the_phases(
    told: dict[str, Any], filled: tuple[Store, Reader, dict[str, Any]]
) -> None:
    sums = filled[2]
    seconds = sums["seconds"]
    samples = sum(
        seconds[name] for name in ("instructions", "instruction_judgements", "responses", "response_judgements")
    )
    pairs = sum(seconds[name] for name in ("revisions", "candidates", "pairs"))
    costs = told["costs"]
    one = costs["accepted_example"]["seconds"]
    assert one["value"] == pytest.approx(samples / sums["accepted"])
    assert one["n"] == sums["n"] and one["lo"] < one["value"] < one["hi"]
    assert costs["accepted_example"]["usd"]["value"] == pytest.approx(one["value"] / 1000)  # 3.6 an hour
    assert costs["kept_pair_alone"]["seconds"]["value"] == pytest.approx(pairs / sums["kept"])
    whole = (pairs + samples) / sums["kept"]  # every eligible sample went to pairs
    assert costs["kept_pair"]["seconds"]["value"] == pytest.approx(whole)
    assert costs["tokens_per_accepted"]["value"] == pytest.approx(sums["tokens"] / sums["accepted"])


def test_rates_have_wilson_intervals(told: dict[str, Any], filled: tuple[Store, Reader, dict[str, Any]]) -> None:
    sums = filled[2]
    rates = told["rates"]
    assert rates["accepted"]["value"] == sums["accepted"] / sums["n"]
    assert rates["pairs_kept"]["value"] == sums["kept"] / sums["pairs"]
    needed = rates["candidates_needed"]
    assert needed["lo"] < needed["value"] < needed["hi"]
    assert needed["value"] == pytest.approx(400 / rates["accepted"]["value"], rel=0.01)


def test_the_forecast_of_the_stage_adds_up(told: dict[str, Any], filled: tuple[Store, Reader, dict[str, Any]]) -> None:
    sums, stage = filled[2], told["forecast"]["stage"]
    parts = {part["name"]: part["seconds"] for part in stage["parts"]}
    left = 400 - sums["accepted"]
    assert parts["samples"]["value"] == pytest.approx(left * told["costs"]["accepted_example"]["seconds"]["value"])
    eligible = 400 * sums["eligible"] / sums["accepted"] - sums["eligible"]
    assert parts["pairs"]["value"] == pytest.approx(eligible * 570 / sums["eligible"])
    assert parts["gates"]["value"] == 3.0
    assert parts["sft"]["value"] is None and "no step of sft was trained" in parts["sft"]["reason"]
    assert set(stage["seconds"]["missing"]) == {"sft", "dpo", "evaluation"}
    known = [one["value"] for one in parts.values() if one["value"] is not None]
    assert stage["seconds"]["value"] == pytest.approx(sum(known))
    assert stage["seconds"]["lo"] < stage["seconds"]["value"] < stage["seconds"]["hi"]
    assert stage["fits_budget"] is None  # what was not measured may still not fit


def test_stages_that_were_not_measured_have_no_figure(told: dict[str, Any]) -> None:
    pipeline = told["forecast"]["pipeline"]
    by_stage = {one["stage"]: one for one in pipeline["stages"]}
    assert sorted(by_stage) == [1, 2, 3, 4, 5, 6]
    assert by_stage[3]["seconds"]["value"] is None and "its pilot was not made" in by_stage[3]["seconds"]["reason"]
    assert by_stage[6]["seconds"]["value"] == told["forecast"]["stage"]["seconds"]["value"]
    assert {"stage 1", "stage 5", "stage 6, dpo"} <= set(pipeline["seconds"]["missing"])


def test_what_k_buys_on_the_pilot(told: dict[str, Any], filled: tuple[Store, Reader, dict[str, Any]]) -> None:
    found = told["best_of"]
    assert (found["critic"], found["reason"]) == ("grade", None)
    assert [row["k"] for row in found["by_k"]] == [2, 3, 4]
    assert all(row["n"] == filled[2]["eligible"] for row in found["by_k"])
    gains = [row["over_last_nats"] for row in found["by_k"]]
    assert gains == sorted(gains, reverse=True) and gains[-1] > 0
    # Standard normal margins: means of the largest of 2, 3 and 4 are 0.5642, 0.8463 and 1.0294 (Harter 1961).
    for row, mean in zip(found["by_k"], (0.5642, 0.8463, 1.0294), strict=True):
        assert row["over_one_lo"] <= mean <= row["over_one_hi"]
    assert found["by_k"][0]["seconds"] == pytest.approx(300 / (3 * filled[2]["eligible"]))


def test_which_ablations_fit(told: dict[str, Any], filled: tuple[Store, Reader, dict[str, Any]]) -> None:
    found = told["ablations"]
    twenty = found["by_items"][0]
    assert twenty["items"] == 20
    assert twenty["seconds"]["value"] == pytest.approx(60 * 180 / filled[2]["revisions"])
    assert twenty["fit"] == int(300 // twenty["usd"]["value"]) >= twenty["fit_at_least"] > 0
    assert found["not_done"] and not found["done"]


def test_the_budget_and_another_cap(filled: tuple[Store, Reader, dict[str, Any]]) -> None:
    _, reader, _ = filled
    assert plan_of(reader, "run-a", price_per_hour=3.6)["budget"]["left_usd"] == 300
    tight = plan_of(reader, "run-a", price_per_hour=3600.0, cap_usd=10)
    assert tight["budget"]["left_usd"] == 10
    assert tight["forecast"]["stage"]["fits_budget"] is False
    assert tight["ablations"]["by_items"][0]["fit"] == 0


def test_without_a_price_times_remain(filled: tuple[Store, Reader, dict[str, Any]]) -> None:
    found = plan_of(filled[1], "run-a")
    assert found["costs"]["kept_pair"]["usd"]["value"] is None
    assert "no price set" in found["costs"]["kept_pair"]["usd"]["reason"]
    assert found["costs"]["kept_pair"]["seconds"]["value"] > 0
    assert found["allocation"]["reason"].startswith("no price set")


def test_a_run_that_measured_nothing_has_reasons_only(tmp_path: Path) -> None:
    with Store.open(tmp_path / "cai.duckdb") as store, store.reader() as reader:
        for name in ("stage_1_small_model", "stage_6_small_model"):
            store.append({"runs": [rows.run(name, settings=load_spec(name).settings.model_dump(), state="stopped")]})
            found = plan_of(reader, name, price_per_hour=2.0)
            json.dumps(found, allow_nan=False)
            assert all(figure["value"] is None and figure["reason"] for figure in figures(found["forecast"]))
            assert all(figure["value"] is None and figure["reason"] for figure in figures(found["costs"]))
            assert found["best_of"]["reason"] and found["ablations"]["reason"] and found["futility"]["reason"]
            assert found["allocation"]["reason"] == "no stage was measured yet"
            assert found["sample_size"]["planned"][0]["n_needed"] > 100


def figures(value: Any) -> Iterator[dict[str, Any]]:
    """Every figure inside a plan."""
    if isinstance(value, dict):
        if {"value", "lo", "hi", "n", "method", "reason"} <= value.keys():
            yield value
        else:
            for inner in value.values():
                yield from figures(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from figures(inner)


def test_every_figure_has_n_method_or_reason(told: dict[str, Any]) -> None:
    found = list(figures(told))
    assert len(found) > 30
    for figure in found:
        assert (figure["value"] is None) == (figure["reason"] is not None)
        assert figure["value"] is None or figure["method"]


def test_a_run_of_the_engine_is_accounted_for_to_the_last_second(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = run_engine(tmp_path / "cai.duckdb", monkeypatch, Critical(), **OPTIONS)
    with done.store.reader() as reader:
        pilot = pilot_of(reader, done.run_id)
        found = plan_of(reader, done.run_id, price_per_hour=2.0)
        counts = reader.status(done.run_id)["counts"]
    done.close()
    json.dumps(found, allow_nan=False)
    laid = sum(float(seconds.sum()) for seconds in pilot.seconds_of.values()) + sum(pilot.once.values())
    assert laid == pytest.approx(sum(seconds for seconds, _ in pilot.elapsed.values()))
    assert pilot.accepted == counts["accepted"] == 8
    parts = {part["name"]: part["seconds"]["value"] for part in found["forecast"]["stage"]["parts"]}
    assert (parts["samples"], parts["pairs"], parts["sft"]) == (0.0, 0.0, None)
    assert found["costs"]["kept_pair"]["usd"]["lo"] > 0
    assert found["best_of"]["by_k"][0]["k"] == 2


# -- the phase under way


def test_the_phase_under_way_by_its_own_progress(tmp_path: Path) -> None:
    spec = load_spec("stage_1_small_model").settings
    with Store.open(tmp_path / "cai.duckdb") as store, store.reader() as reader:
        store.append({"runs": [rows.run(settings=spec.model_dump(), state="stopped")]})
        events = [rows.event(1, "PhaseStarted", {"phase": "responses", "planned": 100})]
        at, rng = 0.0, np.random.default_rng(5)
        for n in range(1, 9):
            at += float(rng.uniform(1, 3))
            stamp = rows.T0 + timedelta(seconds=at + (1000 if n > 4 else 0))
            if n == 5:  # a person paused
                events += [rows.event(50, "RunPaused", {}, at=rows.T0 + timedelta(seconds=at - 0.5))]
            payload = {"phase": "responses", "done": 4 * n, "planned": 100, "accepted": None}
            events.append(rows.event(100 + n, "PhaseProgressed", payload, at=stamp))
        store.append({"events": events[:4]})
        early = plan_of(reader, "run-a")["forecast"]["phase"]["seconds"]
        assert early["value"] is None and "2 steps" in early["reason"]
        store.append({"events": events})
        found = plan_of(reader, "run-a", price_per_hour=3600.0)["forecast"]["phase"]
    seconds = found["seconds"]
    assert (seconds["phase"], seconds["done"], seconds["planned"], seconds["n"]) == ("responses", 32, 100, 24)
    assert 68 / 4 * 1 < seconds["lo"] <= seconds["value"] <= seconds["hi"] < 68 / 4 * 3
    assert found["usd"]["value"] == pytest.approx(seconds["value"])


def test_of_phases_side_by_side_the_longest_is_the_one_under_way(tmp_path: Path) -> None:
    spec = load_spec("stage_1_small_model").settings
    names = ("responses", "response_judgements")
    with Store.open(tmp_path / "cai.duckdb") as store, store.reader() as reader:
        store.append({"runs": [rows.run(settings=spec.model_dump(), state="stopped")]})
        events = [rows.event(n, "PhaseStarted", {"phase": name, "planned": 100}) for n, name in enumerate(names, 1)]
        for n in range(1, 9):
            for at, name in enumerate(names):
                payload = {"phase": name, "done": 2 * n * (at + 1), "planned": 100, "accepted": None}
                stamp = rows.T0 + timedelta(seconds=n + at / 10)
                events.append(rows.event(10 * n + at, "PhaseProgressed", payload, at=stamp))
        store.append({"events": events})
        seconds = plan_of(reader, "run-a")["forecast"]["phase"]["seconds"]
    assert (seconds["phase"], seconds["done"]) == ("responses", 16) and seconds["value"] == pytest.approx(42.0)


# -- looks, training, evaluation


def test_futility_reads_looks_that_were_taken_and_no_answers(tmp_path: Path) -> None:
    spec = load_spec("stage_1_small_model").settings
    with Store.open(tmp_path / "cai.duckdb") as store, store.reader() as reader:
        answers = [rows.evaluation_answer(f"x{n}", c, c == "sft") for n in range(50) for c in ("base_formatted", "sft")]
        store.append({"runs": [rows.run(settings=spec.model_dump())], "evaluation_answers": answers})
        assert plan_of(reader, "run-a")["futility"] == {
            "looks": [], "reason": "no registered look was taken before all items were answered"}  # fmt: skip
        look = {
            "run_id": "run-a", "capability": "instruction_following", "before": "base_formatted", "after": "sft",
            "look": 1, "n": 150, "fraction": 0.5, "level": 0.005, "evidence_sha256": "e", "at": rows.T0,
        }  # fmt: skip
        result = rows.evaluation_result(n=150, gained=5, lost=9)
        store.append({"evaluation_looks": [look], "evaluation_results": [result]})
        (found,) = plan_of(reader, "run-a")["futility"]["looks"]
        assert (found["n"], found["planned"], found["alpha"]) == (150, 300, pytest.approx(0.04))
        assert found["advice"] == "doubt"
        expected = conditional_power(5, 9, 150, 300, 0.1, spec.evaluation.expected_loss, 0.04)  # type: ignore[union-attr]
        assert found["under_plan"] == pytest.approx(expected)
        store.append({"evaluation_looks": [look | {"look": 2, "n": 300, "fraction": 1.0}]})
        assert plan_of(reader, "run-a")["futility"]["looks"] == []  # all items were answered since


def test_trainings_and_evaluation_by_what_was_measured(tmp_path: Path) -> None:
    with Store.open(tmp_path / "cai.duckdb") as store, store.reader() as reader:
        fill(store)
        steps = [rows.training_step(n, "sft-1", "run-b", seconds=2.0 + n % 3) for n in range(1, 31)]
        other = rows.run("run-b", settings=load_spec("stage_1_small_model").settings.model_dump(), state="done")
        asked = [rows.evaluation_answer(f"x{n}", c, True) for c in ("base_raw", "base_formatted") for n in range(11)]
        # All found in a moment on run-c, which this run's session had computed at two seconds each.
        found_in = [row | {"run_id": "run-c", "at": rows.T0 + timedelta(days=1)} for row in asked]
        made = [rows.completion(row["request_id"], created_at=rows.T0 + timedelta(seconds=2 * n))
                for n, row in enumerate(asked)]  # fmt: skip
        store.append({
            "runs": [other], "trainings": [rows.training("sft-1", "run-b", state="done")], "training_steps": steps,
            "evaluation_answers": [*asked, *found_in], "completions": made, "sessions": [rows.session()],
        })  # fmt: skip
        found = plan_of(reader, "run-a", price_per_hour=3.6)
        parts = {part["name"]: part["seconds"] for part in found["forecast"]["stage"]["parts"]}
        assert parts["sft"]["n"] == 30 and "steps at the mean of 30 measured ones" in parts["sft"]["method"]
        planned = int(parts["sft"]["method"].split()[0])
        assert parts["sft"]["value"] == pytest.approx(planned * np.mean([row["seconds"] for row in steps]))
        assert parts["sft"]["lo"] < parts["sft"]["value"] < parts["sft"]["hi"]
        assert parts["evaluation"]["value"] == pytest.approx(2.0 * 11 * 3)  # few_shot, sft and dpo are left
        assert answered(reader, "run-c") == [] and [row["n"] for row in answered(reader, "run-a")] == [10, 10]
        stages = {one["stage"]: one for one in found["forecast"]["pipeline"]["stages"]}
        assert stages[1]["run"] == "run-b"
        store.put({"trainings": [rows.training("sft-2", "run-a", state="done")]})
        again = plan_of(reader, "run-a")["forecast"]["stage"]["parts"]
        assert next(part for part in again if part["name"] == "sft")["seconds"]["value"] == 0.0


# -- sample size and allocation


def test_sample_size_of_the_spec() -> None:
    spec = load_spec("stage_1_small_model").settings
    settings = spec.evaluation
    assert settings is not None
    found = sample_size(spec)
    assert [(one["n"], one["clusters"]) for one in found["planned"]] == [(14 * 6, 14 * 6), (6, 6)]  # six of each type
    assert [one["tested"] for one in found["planned"]] == [True, False]
    settings = settings.model_copy(update={"items_per_type": None})
    spec = spec.model_copy(update={"evaluation": settings})
    found = sample_size(spec)
    whole, one = found["planned"]
    assert [(one["n"], one["clusters"], one["tested"]) for one in (whole, one)] == [(672, 336, True), (48, 24, True)]
    assert whole["power"] > 0.99 and one["power"] < 0.8
    design, level = design_over({str(n): [2] * 24 for n in range(14)}), level_of_all(settings.alpha)
    assert whole["power"] == clustered_power(found["gain"], found["loss"], design, 0.1, level).power
    assert whole["n_needed"] == 2 * whole["clusters_needed"] > whole["independent"]["n_needed"]
    assert whole["independent"]["n_needed"] == mcnemar_n(found["gain"], found["loss"], found["power"], level).n
    effect = whole["detectable"]
    shows = clustered_power((0.12 + effect) / 2, (0.12 - effect) / 2, design, 0.1, level).power
    assert shows == pytest.approx(found["power"], abs=1e-6)
    assert found["likeness"] == {"icc": 0.1, "prior": 0.1, "pilot": None}
    alike = sample_size(spec, {"icc": 0.5, "prior": 0.1, "pilot": 0.5})["planned"][0]
    assert alike["clusters_needed"] > whole["clusters_needed"] and alike["power"] < whole["power"]
    assert sample_size(spec.model_copy(update={"evaluation": None}))["reason"]
    same = settings.model_copy(update={"expected_loss": settings.expected_gain})
    found = sample_size(spec.model_copy(update={"evaluation": same}))
    assert "are equal" in found["reason"] and found["planned"][0]["n_needed"] is None
    nearly = settings.model_copy(update={"expected_gain": 0.3, "expected_loss": 0.299})
    found = sample_size(spec.model_copy(update={"evaluation": nearly}))
    assert "would be needed" in found["reason"] and found["planned"][0]["n_needed"] is None


def test_the_sample_size_is_of_the_items_that_the_run_has_registered(tmp_path: Path) -> None:
    settings = load_spec("stage_1_small_model").settings
    (earlier,) = EARLIER
    with Store.open(tmp_path / "cai.duckdb") as store, store.reader() as reader:
        store.append({"runs": [rows.run(settings=settings.model_dump())]})
        registered = {"run_id": "run-a", "registration_id": "r1", "sha256": "s", "at": rows.T0}
        store.append({"registrations": [registered | {"body": {"items_sha256": earlier}}]})
        found = plan_of(reader, "run-a", overrides={"evaluation.items_per_type": "null"})["sample_size"]["planned"]
        assert own_items(reader, "run-a").sha256 == earlier
    sizes = sizes_of(item_set(earlier).of("instruction_following", "test"))["instruction_following"]
    assert (found[0]["n"], found[0]["clusters"]) == (sum(map(sum, sizes.values())), sum(map(len, sizes.values())))
    assert found[0]["clusters"] != sample_size(settings)["planned"][0]["clusters"]


def stage(number: int, seconds: float | None) -> dict[str, Any]:
    parts = [Part("x", seconds, None, 5, "m", None if seconds is not None else "not seen")]
    return {"stage": number, "left": together(parts), "parts": parts}


def test_allocation_gives_all_or_equal_shares() -> None:
    stages = [stage(1, 3600.0), stage(2, 7200.0), stage(3, None)]
    enough = allocation(stages, 2.0, 10.0)
    assert [row["usd"] for row in enough["stages"]] == [2.0, 4.0, None]
    assert (enough["share"], enough["over_usd"], enough["unmeasured"]) == (1.0, 4.0, [3])
    tight = allocation(stages, 2.0, 3.0)
    assert [row["usd"] for row in tight["stages"]] == [1.0, 2.0, None]
    assert (tight["share"], tight["over_usd"]) == (0.5, 0.0)
    assert allocation(stages, None, 3.0)["reason"] and allocation(stages, 2.0, None)["reason"]
    assert allocation([stage(3, None)], 2.0, 3.0)["reason"] == "no stage was measured yet"


def test_an_item_set_that_was_changed_is_a_reason() -> None:
    def changed() -> ItemSet:
        raise ItemsChanged("the held-out items have another hash")

    found = sample_size(load_spec("stage_1_small_model").settings, frozen=changed)
    assert found["reason"] == "the held-out items have another hash" and found["planned"] == []
