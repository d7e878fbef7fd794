"""What fits GPUs of a kind, counted by a configuration alone, and the requests that the shipped specs make."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest

from engine.budget.gpus import KINDS, kind_named
from engine.core.errors import ModelUnknown
from engine.critics import Critic, Scale, Subject
from engine.critics.audit import Calibrated, _build
from engine.critics.pair import DifferenceCritic
from engine.critics.probe import Probe
from engine.critics.probed import ProbeCritic, n_labelled
from engine.planning.experiment import PIPELINE, experiment_of, pipeline_of
from engine.planning.fit import Shape, fit_of, serving, shape_named, without_probe
from engine.planning.priors import FITS, NOTHING_MEASURED, START, scores_of
from engine.planning.work import JUDGED, stage_work
from engine.spec.stage import load_spec
from engine.training.forecast import shape_by_config

NAME = "Qwen/Qwen2.5-32B"


@pytest.fixture(scope="module")
def qwen() -> Shape:
    return shape_named(NAME)


def memory(kind: str) -> int:
    return KINDS[kind].memory_mib * 2**20


def test_qwen_is_counted_without_its_weights(qwen: Shape, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert qwen.parameters == 65_527_752_704 // 2  # bytes by the index that is published with its weights
    assert qwen.linear == 64 * (5120 * (2 * 5120 + 2 * 1024) + 3 * 5120 * 27648)
    assert (qwen.layers, qwen.heads, qwen.keys, qwen.norms, qwen.head_norms) == (64, 40, 1024, 2, False)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ModelUnknown, match="no configuration of 'someone/unseen-7B'"):
        shape_named("someone/unseen-7B")


def test_replicas_where_one_gpu_holds_it_and_shares_where_not(qwen: Shape) -> None:
    found = {(kind, n): serving(qwen, memory(kind), n) for kind in ("H100", "L40S", "RTX4090") for n in (1, 4, 6, 8)}
    assert [(found["H100", n].replicas, found["H100", n].tensor) for n in (1, 4, 6, 8)] == [
        (1, 1),
        (4, 1),
        (6, 1),
        (8, 1),
    ]
    assert [(found["L40S", n].replicas, found["L40S", n].tensor) for n in (4, 6, 8)] == [(2, 2), (3, 2), (4, 2)]
    assert (found["RTX4090", 8].replicas, found["RTX4090", 8].tensor) == (2, 4)
    assert found["RTX4090", 6].reason.endswith("2 of 6 are left over")
    assert (
        not found["L40S", 1].fits and found["L40S", 1].cached == 0 and found["L40S", 1].reason.endswith("not hold it")
    )
    one = found["H100", 1]
    assert one.weights == 2 * qwen.parameters + 4 * 152064 * 5120  # the output matrix a second time in float32
    assert one.weights + one.working + one.cache == one.room and one.cached == one.cache // (4 * 64 * 1024)


def test_a_fit_has_memory_training_hours_and_dollars(qwen: Shape) -> None:
    one, eight = (fit_of(qwen, NAME, "H100", n, usd_per_hour=3.6) for n in (1, 8))
    json.dumps(one)
    assert [(row["method"], row["kind"]) for row in one["training"]] == [
        ("sft", "lora"), ("dpo", "lora"), ("sft", "qlora"), ("dpo", "qlora")]  # fmt: skip
    assert all(row["fits"] and row["total"] <= 0.9 * memory("H100") for row in one["training"])
    assert [row["stage"] for row in one["stages"]] == [1, 2, 3, 4, 5, 6]
    planned = experiment_of(pipeline_of(PIPELINE), parameters=float(qwen.parameters), kind="H100", usd_per_hour=3.6)
    for mine, theirs, shared in zip(one["stages"], planned["stages"], eight["stages"], strict=True):
        assert mine["usd"] == pytest.approx(theirs["usd"]) and mine["hours"] == pytest.approx(theirs["seconds"] / 3600)
        starts = next(part["units"] for part in theirs["parts"] if part["part"] == "start") * START.value
        waited = starts + FITS.value
        assert shared["hours"] * 3600 == pytest.approx(waited + (theirs["seconds"] - waited) / 8)
        assert shared["usd"] == pytest.approx(shared["hours"] * 8 * 3.6) and shared["requests"] == mine["requests"]
    assert one["total"]["usd"] == pytest.approx(sum(row["usd"] for row in one["stages"]))


def test_weights_are_shared_where_one_gpu_does_not_hold_them(qwen: Shape) -> None:
    found = {(row["method"], row["kind"]): row for row in fit_of(qwen, NAME, "L40S", 6)["training"]}
    assert found["sft", "lora"]["shards"] == 4 and found["sft", "lora"]["fits"]  # 6 do not share a batch of 32
    assert found["sft", "qlora"]["shards"] == 1
    alone = fit_of(qwen, NAME, "L40S")
    assert not alone["training"][0]["fits"]
    assert (alone["stages"], alone["total"]["usd"]) == ([], None) and "its weights need" in alone["reason"]


LABELS = {"critics.instruction": "[grade, letters, mean]", "critics.sample": "[grade, letters, pmi, mean]",
          "critics.pair": "[compare, grade]"}  # fmt: skip


@pytest.mark.parametrize("named", [{}, LABELS], ids=["as shipped", "labels"])
def test_requests_are_those_that_the_critics_ask(named: dict[str, str]) -> None:
    critics = load_spec(PIPELINE, named).settings.critics
    subjects = {
        "instruction": Subject("i", "Name a river."),
        "sample": Subject("s", "Name a river.", "The Rhine.", "stop"),
        "pair": Subject("p", "Name a river.", "The Rhine.", "stop", "The Alps.", "Which is better?"),
    }
    for kind in JUDGED:
        built: list[Calibrated] = []
        for name in getattr(critics, kind):
            critic: Critic = ProbeCritic(kind, Probe(kind, 1, np.zeros(4), 0.0, 1.0, 0.0))
            if name != "probe":
                critic = _build(name, kind, critics, built)
            elif kind == "pair":
                critic = DifferenceCritic(critic)
            built.append(Calibrated(critic, Scale()))
        asked = {ask.request for one in built for ask in one.critic.asks(subjects[kind])}
        assert len(asked) == scores_of(critics, kind), kind


def test_preferences_ask_of_each_text_once(qwen: Shape) -> None:
    stage = fit_of(qwen, NAME, "H100")["stages"][-1]
    parts = {part["part"]: part for part in stage["parts"]}
    learned = 15_000 * 0.9
    assert parts["revisions"]["requests"] == 2 * 4 * learned
    # Two more responses, two of the six kinds of hard negatives, and both sides of the boundary.
    assert parts["candidates"]["requests"] == pytest.approx((2 + 2 / 6) * learned + 2 * 80)
    assert parts["candidate_judgements"]["requests"] == 2 * learned
    # The probe of pairs is another than that of samples: it reads each revision, hard negative, sample and candidate.
    assert parts["pairs"]["requests"] == (4 + 1 + 1 + 2) * learned
    assert stage["requests"] == pytest.approx(sum(part["requests"] for part in stage["parts"]))


def test_comparisons_are_asked_in_both_orders_and_grades_once(qwen: Shape) -> None:
    spec = load_spec(PIPELINE, LABELS).settings
    parts = {work.part: work.units * work.requests for work in stage_work(spec, NOTHING_MEASURED)}
    learned = 15_000 * 0.9
    assert parts["candidate_judgements"] == 11 * 2 * learned
    assert parts["pairs"] == pytest.approx(6 * 7 * learned + 3 * (4 + 1) * learned)


def test_a_probe_reads_what_is_labelled_once_and_labels_what_is_audited() -> None:
    probed, labels = (load_spec(PIPELINE, named).settings for named in ({}, LABELS))
    asked = [next(work.requests for work in stage_work(spec, NOTHING_MEASURED) if work.part == "audit")
             for spec in (probed, labels)]  # fmt: skip
    assert asked[0] == sum((1 + (kind == "pair")) * n_labelled(kind, "explicit") for kind in JUDGED) > 8000
    assert asked[1] == 1000 * (9 + 11 + 12)


def test_the_base_is_asked_the_held_out_items_by_the_first_stage_alone(qwen: Shape) -> None:
    stages = fit_of(qwen, NAME, "H100")["stages"]
    answers = [next(part["units"] for part in stage["parts"] if part["part"] == "evaluation") for stage in stages]
    assert answers == [n * answers[0] / 4 for n in (4, 2, 2, 2, 2, 2)]  # SFT; DPO, too; and three of the base


def test_the_data_of_the_shipped_stages_on_one_gpu_and_on_eight(qwen: Shape) -> None:
    """The bounds that the shipped critics were chosen for, by the priors and with the default critics."""
    one, eight = (fit_of(qwen, NAME, "H100", n)["stages"] for n in (1, 8))
    assert one[0]["data_hours"] < 0.75 and one[-1]["data_hours"] < 2.5
    for stage, shared in zip(one, eight, strict=True):
        assert stage["data_hours"] / 8 < shared["data_hours"] < stage["data_hours"] / 2
        assert stage["data_hours"] < stage["hours"] and shared["hours"] < stage["hours"]
        other = stage["without_probe"]
        assert stage["data_hours"] < other["data_hours"] and stage["hours"] < other["hours"]


def test_where_no_probe_is_named_nothing_is_asked_beside_it() -> None:
    labels = load_spec(PIPELINE, LABELS).settings
    assert without_probe(labels) == labels
    assert without_probe(load_spec(PIPELINE).settings).critics.pair == ["probe", "grade"]


def test_a_folder_with_a_configuration_alone(tmp_path: Path) -> None:
    sizes = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4,
             "num_key_value_heads": 2, "vocab_size": 100}  # fmt: skip
    for tied, more in itertools.product((True, False), ({}, {"head_dim": 32})):
        config = {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "tie_word_embeddings": tied}
        (tmp_path / "config.json").write_text(json.dumps(config | sizes | more))
        found, width = shape_named(str(tmp_path)), 4 * more.get("head_dim", 16)
        assert found == shape_by_config(tmp_path / "config.json")
        assert found.linear == 2 * (64 * (2 * width + width) + 3 * 64 * 128)
        assert found.parameters == found.linear + (1 if tied else 2) * 100 * 64 + (2 * 2 + 1) * 64


def test_kinds_by_name() -> None:
    asked = ("H100", "h100", "h100-80", "rtx4090-24", "a100-40", "h100-", "v100")
    assert [kind_named(name) for name in asked] == ["H100", "H100", "H100", "RTX4090", None, "H100", None]
