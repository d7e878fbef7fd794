"""The experiment before it ran: amounts by the specs, priors with their sources, measured figures in their place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine.budget.gpus import CPU, DEFAULT_PRICES, KINDS, NOT_CHECKED, kind_of, prices_of
from engine.core.errors import SpecError
from engine.planning.experiment import PIPELINE, experiment_of, experiment_of_run, pipeline_of
from engine.planning.priors import PRIORS, START, measured_work, parameters_of, speeds
from engine.spec.stage import load_spec
from store.db import Store
from tests.engine.planning.conftest import fill
from tests.store import rows

DOCS = Path(__file__).parents[3] / "docs"


def part(found: dict[str, Any], name: str, stage: int = -1) -> dict[str, Any]:
    return next(row for row in found["stages"][stage]["parts"] if row["part"] == name)


def test_the_shipped_pipeline_without_a_store() -> None:
    found = experiment_of(pipeline_of(PIPELINE))
    assert [row["stage"] for row in found["stages"]] == [1, 2, 3, 4, 5, 6]
    assert (found["parameters"], found["cap_usd"], found["left_usd"]) == (32e9, 300, 300)
    assert found["priced_on"] == NOT_CHECKED
    lines = [line["what"] for line in found["lines"]]
    assert lines[-2:] == ["seeds 2 to 3 of stage 6", "ablations of 18 principles"]
    assert found["lines"][-1]["after_usd"] == pytest.approx(found["total"]["usd"]) and found["total"]["rate"] == "prior"
    assert sum(row["usd"] for row in found["stages"]) == pytest.approx(found["lines"][5]["after_usd"])
    too_small = {row["gpu"]: row["reason"] for row in found["kinds"] if row["reason"]}
    assert too_small.keys() == {"L40S", "RTX4090", CPU}
    costs = {row["gpu"]: row["usd"] for row in found["kinds"] if row["seconds"] is not None}
    assert found["gpu"] == min(costs, key=lambda name: costs[name])


def test_amounts_follow_from_the_spec() -> None:
    (one,) = pipeline_of("stage_1_explicit_instructions", {"target": "1000", "splits.train": "0.9"})
    found = experiment_of([one], kind="H100", usd_per_hour=3.6)
    assert part(found, "instructions")["units"] == 2500  # expected_candidates_per_accepted
    assert part(found, "responses")["units"] == 2000  # the gate lets half of them pass at the least
    assert part(found, "sft")["units"] == 1800  # two epochs of the training split
    assert part(found, "sft")["usd"] == pytest.approx(part(found, "sft")["seconds"] / 1000)
    assert part(found, "start")["seconds"] == 4 * START.value  # data, SFT, the evaluation before and after it
    assert found["ablations"]["each"]["seconds"] == 0  # the stage makes no revisions


def test_a_tight_cap_says_what_it_is_not_enough_for() -> None:
    stages = pipeline_of(PIPELINE)
    found = experiment_of(stages, kind="H100", cap_usd=20.0)
    fits = [line["fits"] for line in found["lines"]]
    assert fits[0] is True and fits[-1] is False and fits == sorted(fits, reverse=True)
    many = experiment_of(stages, kind="H100", seeds=5, ablations=2)
    seeds = {line["what"]: line["usd"] for line in many["lines"]}
    assert seeds["seeds 2 to 5 of stage 6"] == pytest.approx(4 * many["seeds"]["one_more"]["usd"])
    assert seeds["ablations of 2 principles"] == pytest.approx(2 * many["ablations"]["each"]["usd"])


def test_a_control_costs_only_where_it_is_on() -> None:
    off = experiment_of(pipeline_of(PIPELINE), kind="H200")
    on = experiment_of(pipeline_of(PIPELINE, {"evaluation.controls": "[sft_random]"}), kind="H200")
    assert not any(row["on"] for row in off["controls"])
    (random,) = (row for row in on["controls"] if row["on"])
    assert (random["control"], random["stage"]) == ("sft_random", 6)
    assert on["total"]["usd"] == pytest.approx(off["total"]["usd"] + random["usd"])
    trained = next(row for row in random["parts"] if row["part"] == "sft_random")
    assert trained["seconds"] == part(on, "sft")["seconds"]  # as many examples


def test_what_the_store_measured_takes_a_priors_place(tmp_path: Path) -> None:
    with Store.open(tmp_path / "cai.duckdb") as store:
        made = fill(store, model="gemma-3-270m", manifest={"model": {"device": "cpu"}}, spec="stage_6_small_model")
        store.append({"trainings": [rows.training(settings={"sft": {"effective_batch": 8}})],
                      "training_steps": [rows.training_step(n, seconds=4.0) for n in (1, 2)]})  # fmt: skip
        with store.reader() as reader:
            known = measured_work(reader, "gemma-3-270m")
            found = experiment_of_run(reader, "run-a")
            other = experiment_of_run(reader, "run-a", kind="H100")
    assert known["H100"].rates == {} and known[CPU].yields[6][2] == made["accepted"]
    assert known[CPU].rates["responses"].seconds == pytest.approx(240 / part(found, "responses")["n"])
    assert (found["gpu"], found["usd_per_hour"], found["total"]["usd"]) == (CPU, None, None)
    assert part(found, "responses")["rate"] == "measured" and part(found, "responses")["runs"] == ["run-a"]
    assert part(found, "instructions")["units"] == pytest.approx(400 * made["n"] / made["accepted"])
    assert part(found, "sft")["seconds"] == pytest.approx(0.5 * part(found, "sft")["units"])
    assert part(found, "evaluation")["rate"] == "prior" and found["total"]["rate"] == "measured and prior"
    assert part(other, "responses")["rate"] == "prior"  # what a CPU took says nothing of another device
    assert part(other, "instructions")["units"] == part(found, "instructions")["units"]


def test_a_model_whose_name_has_no_size() -> None:
    assert (parameters_of("Qwen/Qwen2.5-32B"), parameters_of("gemma-3-270m")) == (32e9, 270e6)
    stages = [("own", load_spec("stage_1_small_model").settings)]
    with pytest.raises(SpecError, match="how many weights"):
        experiment_of(stages, model="/models/base")
    assert experiment_of(stages, model="/models/base", parameters=7e9)["parameters"] == 7e9


def test_prices_by_kind() -> None:
    assert prices_of(DEFAULT_PRICES).keys() == KINDS.keys()
    assert experiment_of(pipeline_of(PIPELINE), kind="A100", prices={"A100": 1.0})["priced_on"] == "setting gpu_prices"
    for wrong in ("H100", "H100 cheap", "H100 -1", "V9000 1.0", "H100 nan"):
        with pytest.raises(ValueError, match="kinds are"):
            prices_of(wrong)
    assert kind_of("2 x NVIDIA H100 80GB HBM3") == ("H100", 2)
    assert [kind_of(name)[0] for name in ("cpu", "NVIDIA GeForce RTX 4090", "cuda:0")] == [CPU, "RTX4090", None]


def test_rates_fall_with_the_size_and_rise_with_the_device() -> None:
    small, large = speeds(7e9, "H100"), speeds(32e9, "H100")
    assert all(small[way] > large[way] for way in small)
    assert speeds(32e9, "H200")["alone"] > large["alone"] and speeds(32e9, "B200")["write"] > large["write"]


def test_every_prior_stands_in_the_documentation() -> None:
    text = (DOCS / "BENCHMARKS.md").read_text()
    missing = [prior.unit for prior in PRIORS if f"| {prior.value:,g} | {prior.unit} | {prior.source} |" not in text]
    assert not missing
