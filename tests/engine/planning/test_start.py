"""What a run would take before it is started: on the GPUs that are here, on a processor, and where little is known."""

from pathlib import Path

import pytest

from engine.budget.gpus import KINDS
from engine.core.nvidia import GpuLoad
from engine.planning import start
from engine.planning.experiment import experiment_of
from engine.planning.start import before_start
from engine.spec.stage import load_spec
from tests.engine.training.training_run import tiny_model

QWEN = "Qwen/Qwen2.5-32B"
STAGE_1, STAGE_6 = "stage_1_explicit_instructions", "stage_6_constitutional_integration"


def gpu(kind: str, name: str = "") -> GpuLoad:
    return GpuLoad(name or f"NVIDIA {kind} 80GB HBM3", 0.0, 500, KINDS[kind].memory_mib, 70.0, 30)


def test_gpus_of_a_known_kind_have_engines_trainings_hours_and_dollars() -> None:
    spec = load_spec(STAGE_6).settings
    one = before_start(STAGE_6, spec, QWEN, [gpu("H100")], pilot=200, usd_per_hour=2.0)
    two = before_start(STAGE_6, spec, QWEN, [gpu("H100")] * 2, pilot=200, usd_per_hour=2.0)
    assert (one["device"], one["gpus"], one["reason"]) == ("H100", 1, None)
    assert one["inference"]["fits"] and (two["inference"]["replicas"], two["inference"]["tensor"]) == (2, 1)
    assert spec.adapter is not None and spec.dpo is not None
    assert [(row["method"], row["kind"]) for row in one["training"]] == [
        ("sft", spec.adapter.kind), (spec.dpo.loss, spec.adapter.kind),
    ]  # fmt: skip
    planned = experiment_of([(STAGE_6, spec)], model=QWEN, kind="H100", usd_per_hour=2.0, seeds=1, ablations=0)
    assert one["target"]["examples"] == spec.target
    assert one["target"]["hours"] == pytest.approx(planned["stages"][0]["seconds"] / 3600, rel=0.03)
    assert one["target"]["usd"] == pytest.approx(2 * one["target"]["hours"])
    assert two["target"]["hours"] < 0.6 * one["target"]["hours"] and two["target"]["usd"] >= one["target"]["usd"]
    assert 0 < one["pilot"]["hours"] < 0.2 * one["target"]["hours"] and one["pilot"]["examples"] == 200


def test_a_pilot_is_the_data_alone() -> None:
    spec = load_spec(STAGE_6).settings.model_copy(update={"target": 200})
    found = before_start(STAGE_6, spec, QWEN, [gpu("H100")], pilot=200)
    assert found["pilot"]["hours"] < found["target"]["hours"] and found["pilot"]["usd"] is not None


def test_a_processor_computes_with_full_weights_within_what_is_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny_model(tmp_path / "tiny-1M")
    monkeypatch.setattr(start, "total_and_free", lambda: (8 * 2**30, 2**30))
    spec = load_spec("stage_6_small_model").settings
    found = before_start("stage_6_small_model", spec, str(model), [], pilot=40)
    assert (found["device"], found["gpus"], found["free"], found["reason"]) == ("CPU", 0, 2**30, None)
    assert found["inference"]["fits"] and found["inference"]["weights"] % 4 == 0
    assert [row["fits"] for row in found["training"]] == [True, True] and found["target"]["usd"] is None
    monkeypatch.setattr(start, "total_and_free", lambda: (8 * 2**30, 1000))
    found = before_start("stage_6_small_model", spec, str(model), [], pilot=40)
    assert not found["inference"]["fits"] and not any(row["fits"] for row in found["training"])


def test_an_audit_whose_fits_come_with_the_program_reads_nothing() -> None:
    spec = load_spec("stage_1_small_model").settings
    read, shipped = (
        before_start("stage_1_small_model", spec, "base-270m", [], pilot=100, fitted=f) for f in (False, True)
    )
    parts = experiment_of(
        [("stage_1_small_model", spec.model_copy(update={"target": 100}))], model="base-270m", kind="CPU", seeds=1,
        ablations=0,
    )["stages"][0]["parts"]  # fmt: skip
    saved = sum(part["seconds"] for part in parts if part["part"] in ("audit", "fits"))
    assert saved > 600
    assert read["pilot"]["hours"] - shipped["pilot"]["hours"] == pytest.approx(saved / 3600)


def test_what_is_not_known_is_said_and_the_rest_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    spec = load_spec(STAGE_1).settings
    unseen = before_start(STAGE_1, spec, "someone/unseen-7B", [gpu("H100")], pilot=40)
    assert unseen["inference"] is None and unseen["training"] == [] and unseen["target"]["hours"] > 0
    unnamed = before_start(STAGE_1, spec, "someone/unseen", [gpu("H100")], pilot=40)
    assert unnamed["target"] is None and "does not say how many weights" in unnamed["reason"]
    strange = before_start(STAGE_1, spec, QWEN, [gpu("A100", "NVIDIA Quadro")], pilot=40)
    assert strange["device"] == "NVIDIA Quadro" and strange["inference"]["fits"] and strange["target"] is None
    mixed = before_start(STAGE_1, spec, QWEN, [gpu("H100"), gpu("L40S", "NVIDIA L40S")], pilot=40)
    assert mixed["memory"] == KINDS["L40S"].memory_mib * 2**20 and "no rate" in mixed["reason"]
    small = before_start(STAGE_1, spec, QWEN, [gpu("RTX4090", "NVIDIA GeForce RTX 4090")], pilot=40)
    assert not small["inference"]["fits"] and small["target"] is None and "its weights need" in small["reason"]
