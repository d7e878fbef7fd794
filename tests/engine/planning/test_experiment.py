"""The experiment before it ran: amounts by the specs, priors with their sources, measured figures in their place."""

from __future__ import annotations

from datetime import timedelta
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
    asked = [rows.evaluation_answer(f"x{n}", c, True) for c in ("base_raw", "base_formatted") for n in range(11)]
    later = [row | {"run_id": "run-b", "at": rows.T0 + timedelta(microseconds=n)} for n, row in enumerate(asked)]
    calls = [rows.completion(row["request_id"], created_at=rows.T0 + timedelta(seconds=3 * (n % 11)))
             for n, row in enumerate(asked)]  # fmt: skip
    with Store.open(tmp_path / "cai.duckdb") as store:
        made = fill(store, model="gemma-3-270m", manifest={"model": {"device": "cpu"}}, spec="stage_6_small_model")
        again = rows.run("run-b", model="gemma-3-270m", manifest={"model": {"device": "cpu"}},
                         settings=load_spec("stage_6_small_model").settings.model_dump())  # fmt: skip
        store.append({"runs": [again], "evaluation_answers": [*asked, *later], "completions": calls,
                      "sessions": [rows.session(), rows.session("session-2", "run-b")]})  # fmt: skip
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
    # What run-b found was not answered anew: it says nothing of how long answers take.
    assert (known[CPU].rates["evaluation"].seconds, known[CPU].rates["evaluation"].runs) == (3.0, ("run-a",))
    assert part(found, "dpo")["rate"] == "prior" and found["total"]["rate"] == "measured and prior"
    assert part(other, "responses")["rate"] == "prior"  # what a CPU took says nothing of another device
    assert part(other, "instructions")["units"] == part(found, "instructions")["units"]


def paid(entry: str, run_id: str, usd: float) -> dict[str, Any]:
    return {"run_id": run_id, "entry_id": entry, "kind": "gpu", "stage": 6, "phase": "responses", "state": "settled",
            "micro_usd": round(usd * 1e6), "quantity": 1.0, "unit": "gpu_second", "price_usd": usd, "priced_on": "test",
            "detail": "H100", "session_id": "session-1", "at": rows.T0}  # fmt: skip


def test_work_that_is_paid_for_is_not_charged_again(tmp_path: Path) -> None:
    given: dict[str, Any] = {"kind": "H100", "usd_per_hour": 3600.0, "cap_usd": 1e6, "seeds": 3}
    with Store.open(tmp_path / "cai.duckdb") as store, store.reader() as reader:
        fill(store, model="gemma-3-270m", spec="stage_6_small_model")
        store.append({"runs": [rows.run("run-b", model="gemma-3-270m", spec="stage_6_small_model", state="done",
                                        manifest={"repeat_of": "run-a", "repeat": 1})]})  # fmt: skip
        plain = experiment_of_run(reader, "run-a", **given)
        stage, seed = plain["stages"][-1]["usd"], plain["seeds"]["one_more"]["usd"]
        for n, (run_id, usd) in enumerate((("run-a", stage / 2), ("run-b", seed), ("run-z", 7.0))):
            store.append({"ledger": [paid(f"e{n}", run_id, usd)]})
        spent = stage / 2 + seed + 7
        need = plain["lines"][-1]["after_usd"]
        enough = experiment_of_run(reader, "run-a", **given | {"cap_usd": need + 7.01})
        assert enough["left_usd"] == pytest.approx(need + 7.01 - spent)
        assert enough["paid_usd"] == pytest.approx(spent - 7) and enough["lines"][-1]["fits"] is True
        assert experiment_of_run(reader, "run-a", **given | {"cap_usd": need + 6.9})["lines"][-1]["fits"] is False
        # What went beyond the plan of a stage is money that the rest does not have.
        store.append({"ledger": [paid("e9", "run-a", stage)]})
        assert experiment_of_run(reader, "run-a", **given)["paid_usd"] == pytest.approx(stage + seed)


def test_a_model_whose_name_has_no_size() -> None:
    assert (parameters_of("Qwen/Qwen2.5-32B"), parameters_of("gemma-3-270m")) == (32e9, 270e6)
    assert (parameters_of("Qwen/Qwen3-30B-A3B"), parameters_of("/models/7B/Qwen2.5-1.5B")) == (30e9, 1.5e9)
    for name in ("mistralai/Mixtral-8x7B-v0.1", "x-0B", "x-0.0m"):  # experts share weights; 0 is no size
        with pytest.raises(SpecError, match="how many weights"):
            parameters_of(name)
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
    others = ("NVIDIA RTX A1000", "NVIDIA GH200 480GB", "NVIDIA L40", "NVIDIA GeForce RTX 4090 D", "NVIDIA A10")
    assert [kind_of(name)[0] for name in others] == [None] * len(others)
    named = {"A100": "NVIDIA A100-SXM4-80GB", "H200": "NVIDIA H200 NVL", "L40S": "NVIDIA L40S", "B200": "NVIDIA B200"}
    assert {kind: kind_of(name)[0] for kind, name in named.items()} == {kind: kind for kind in named}
    assert [kind_of(name)[0] for name in ("cpu", "NVIDIA GeForce RTX 4090", "cuda:0")] == [CPU, "RTX4090", None]


def test_rates_fall_with_the_size_and_rise_with_the_device() -> None:
    small, large = speeds(7e9, "H100"), speeds(32e9, "H100")
    assert all(small[way] > large[way] for way in small)
    assert speeds(32e9, "H200")["alone"] > large["alone"] and speeds(32e9, "B200")["write"] > large["write"]


def test_every_prior_stands_in_the_documentation() -> None:
    text = (DOCS / "BENCHMARKS.md").read_text()
    missing = [prior.unit for prior in PRIORS if f"| {prior.value:,g} | {prior.unit} | {prior.source} |" not in text]
    assert not missing
