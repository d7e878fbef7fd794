"""The first ten minutes on a GPU machine, tried on a tiny model: each part by itself, and what is said of one that fails."""

from __future__ import annotations

import importlib.util
import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import bench.gpu_contact as contact
from bench import gpu
from bench.common import apart
from bench.gpus.dummy import LABELS
from bench.gpus.workload import amounts
from engine.planning.fit import without_probe
from engine.spec.stage import load_spec
from tests.engine.training.conftest import in_process  # noqa: F401
from tests.engine.training.training_run import InProcess

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("training")]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the models are made once for all parts."""
    return tmp_path_factory.mktemp("contact")


@pytest.fixture
def here(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> contact.Contact:
    monkeypatch.setattr(contact, "Worker", InProcess)
    for layers in contact.SMALL.layers:
        contact.Contact(place, contact.SMALL).model(layers)
        (tmp_path / f"model-{layers}").symlink_to(place / f"model-{layers}")
    return contact.Contact(tmp_path, contact.SMALL)


def test_training_is_forecast_and_begins_dpo_where_sft_ended(here: contact.Contact) -> None:
    for method in ("sft", "dpo"):
        found = contact.one(method, here)
        json.dumps(found)
        assert found["ok"] is None and "no GPU whose memory" in found["said"]
        assert (found["few"]["steps"], found["few"]["layers"], found["many"]["layers"]) == (contact.STEPS, 1, 2)
        assert contact.SMALL.longest - 2 <= found["few"]["longest"] <= contact.SMALL.longest
        assert found["many"]["forecast"] > found["few"]["forecast"] and all(map(math.isfinite, found["few"]["losses"]))
    job = json.loads((here.place / "dpo-lora-plain-1" / "job.json").read_text())
    assert job["start_adapter"].startswith(str(here.place / "sft-lora-plain-1"))


def test_what_needs_a_gpu_says_so(here: contact.Contact) -> None:
    with pytest.raises(RuntimeError, match="QLoRA needs a GPU"):
        contact.one("qlora", here)
    assert "Unsloth" in contact.one("unsloth", here)["not_possible"]
    assert contact.one("closed", here)["not_possible"] == "no GPU, whose memory it is about"
    if importlib.util.find_spec("vllm") is None:
        assert contact.one("states", here)["not_possible"] == "vLLM is not installed"


def test_memory_that_is_used_up_is_gone_on_from(here: contact.Contact, in_process: pytest.MonkeyPatch) -> None:  # noqa: F811
    import transformers

    in_process.setattr(transformers.Trainer, "training_step", transformers.Trainer.training_step)  # set back afterwards
    contact.use_up()
    found = contact.one("used_up", here)
    assert found["ok"] and found["began"] == [0, 2] and found["steps"] == 6, found


def test_margins_of_16_bits_are_not_those_of_32(here: contact.Contact) -> None:
    found = contact.one("margins", here)
    assert found["ok"] and 0 < found["mean_nats"] <= found["largest_nats"] and found["n"] >= 16
    assert found["said"].startswith("float32 and bfloat16 differ by")


def test_rates_are_measured_on_what_a_stage_asks(
    here: contact.Contact, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from engine.models.files.source import resolve
    from engine.models.local.backend import TransformersModel

    monkeypatch.setattr(gpu, "ASKED", {"written": 8, "reads": 40, "labels": 40})
    monkeypatch.setattr(gpu, "STAGES", gpu.STAGES[:1])
    model = TransformersModel.load(resolve(str(here.model(2))))
    found = gpu.measured(model)
    model.close()
    assert found.keys() == {"layers", gpu.STAGES[0]} and found["layers"] == 2
    assert found[gpu.STAGES[0]].keys() == set(gpu.RATES.values()) and all(
        map(math.isfinite, found[gpu.STAGES[0]].values())
    )
    even = {gpu.STAGES[0]: dict.fromkeys(gpu.RATES.values(), 1000.0)}
    gpu.table({"ours": even, "raw": even, "embedded": {"error": "no GPU"}})
    told = capsys.readouterr().out
    assert "no GPU" in told and told.count("1.000") == 3
    spec = load_spec(gpu.STAGES[0]).settings
    whole, graded = amounts(spec), amounts(without_probe(spec))
    assert f"{(whole.tokens + whole.reads) / 3.6e6:.2f}   (target 0.75 or less)" in told
    assert f"{(graded.tokens + graded.reads + graded.labels) / 3.6e6:.2f}\n" in told


def test_a_model_without_layers_is_measured_without_reads_and_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(gpu, "ASKED", {"written": 8, "reads": 8, "labels": 8})
    monkeypatch.setattr(gpu, "STAGES", gpu.STAGES[:1])
    model = SimpleNamespace(
        layers=0, score=iter, generate=lambda requests: (SimpleNamespace(token_ids=[1]) for _ in requests)
    )
    found = gpu.measured(model)
    assert found[gpu.STAGES[0]].keys() == {"tokens_per_s", "scores_per_s"}
    gpu.table({"ours": found, "raw": {}, "embedded": {}})
    told = capsys.readouterr().out
    assert "this program: it shows no hidden states" in told and "15,000 examples" not in told


def test_labels_are_one_token_each_and_the_embedding_has_a_row_for_every_token(here: contact.Contact) -> None:
    from engine.models.files.tokenizer import Text

    text = Text.of(str(here.model(1)))
    assert [len(text.plain(label)) for label in LABELS] == [1] * len(LABELS)


def test_a_part_that_fails_says_why_and_ends_with_what_it_started(tmp_path: Path) -> None:
    waits = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(99)']).wait()"
    rows: list[dict[str, Any]] = [
        apart("good", ["-c", 'print(\'loading\'); print(\'{"part": "good", "said": "all well", "ok": true}\')'], 60),
        apart("bad", ["-c", "raise ValueError('no such weights')"], 60),
        apart("silent", ["-c", "pass"], 60),
        apart("slow", ["-c", waits], 1.0),
    ]
    told = contact.table(
        [{**row, "seconds": 1.0} for row in rows] + [{"part": "x", "not_possible": "no GPU", "seconds": 0}]
    )
    lines = told.splitlines()[1:]
    for line, words in zip(
        lines,
        ("as stated", "failed", "failed", "failed", "not possible"),
        strict=True,
    ):
        assert words in line
    for words in ("all well", "ValueError: no such weights", "no output", "not done after 1 s", "no GPU"):
        assert words in told
