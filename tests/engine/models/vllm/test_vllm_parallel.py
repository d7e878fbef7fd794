"""Replicas or shared weights, by the arithmetic of memory."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from transformers import AutoConfig

from engine.core.data import DATA
from engine.core.errors import ModelError
from engine.models import registry
from engine.models.files.source import Source
from engine.models.vllm.parallel import Footprint, chosen, devices, footprint, parallel_of, told

GIB = 2**30
H100, L40S, RTX4090 = (mib * 2**20 for mib in (81_559, 46_068, 24_564))  # as nvidia-smi tells it
QWEN_32B = Footprint(weights=68_642_023_424, token=262_144, heads=40, shared=8, inner=27_648)


def folder_of(place: Path, **more: object) -> Path:
    config = json.loads((DATA / "qwen2.5-32b.json").read_text())
    (place / "config.json").write_text(json.dumps(config | more))
    return place


def test_the_32b_is_65_5_gb_of_weights_and_an_output_matrix_in_32_bits(tmp_path):
    found = footprint(AutoConfig.from_pretrained(folder_of(tmp_path)), None)
    assert found == QWEN_32B
    assert found.weights - 4 * 152_064 * 5120 == 2 * 32_763_876_352  # the parameters that its card tells
    assert found.token == 2 * 64 * 8 * 128 * 2  # keys and values, layers, their heads, width, bytes


def test_quantised_weights_are_as_large_as_their_files(tmp_path):
    folder = folder_of(tmp_path, quantization_config={"quant_method": "awq", "bits": 4})
    (folder / "model.safetensors").write_bytes(b"0" * 1000)
    assert footprint(AutoConfig.from_pretrained(folder), folder).weights == 1000


@pytest.mark.parametrize(
    ("gpus", "memory", "replicas", "tensor", "said"),
    [
        (1, H100, 1, 1, "one engine on one GPU, because one GPU holds it (68.6 GB of weights"),
        (8, H100, 8, 1, "8 engines of one GPU each"),
        (6, H100, 6, 1, "6 engines of one GPU each"),
        (8, L40S, 4, 2, "4 engines of 2 GPUs each, because the fewest GPUs that can share it"),
        (3, L40S, 1, 2, "1 of 3 GPUs are left over"),
        (8, RTX4090, 2, 4, "21.2 of the 23.7 GB that vLLM takes of a GPU"),
        (2, RTX4090, 1, 2, "it may not start"),
        (8, 0, 1, 8, "memory is unknown"),
    ],
)
def test_a_model_that_one_gpu_holds_is_not_spread_over_many(gpus, memory, replicas, tensor, said):
    found = chosen(QWEN_32B, gpus, memory)
    assert (found.replicas, found.tensor) == (replicas, tensor)
    assert said in told(found)


def test_room_for_the_cache_counts():
    tight = Footprint(weights=H100 * 92 // 100 - 4 * 10**9, token=262_144, heads=40, shared=8, inner=27_648)
    assert chosen(tight, 8, H100).tensor == 2  # its weights alone would fit


@pytest.mark.parametrize(
    ("heads", "shared", "inner", "shares"),
    [
        (40, 8, 27648, [1, 2, 4, 8]),
        (32, 8, 14336, [1, 2, 4, 8]),
        (4, 1, 2048, [1, 2, 4]),
        (9, 3, 1536, [1, 3]),
    ],
)
def test_how_many_gpus_can_share_a_model(heads, shared, inner, shares):
    model = Footprint(GIB, 1, heads, shared, inner)
    assert [share for share in range(1, 9) if model.divides(share)] == shares


def test_a_setting_says_otherwise_or_is_refused():
    assert chosen(QWEN_32B, 8, H100, (2, 4)).tensor == 4
    for asked in ((3, 4), (1, 3), (9, 1)):
        with pytest.raises(ModelError, match="does not go with 8 GPUs.*1, 2, 4, 8 GPUs can share"):
            chosen(QWEN_32B, 8, H100, asked)


def test_a_setting_without_a_gpu_means_engines_beside_each_other(monkeypatch):
    source = Source("any", "nowhere", "", "", embedded=False)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setenv("CAI_PARALLEL", "2x1")
    assert (
        told(parallel_of(source)) == "vLLM: 2 engines on the CPU, because CAI_PARALLEL says so; CAI_PARALLEL changes it"
    )
    monkeypatch.setenv("CAI_PARALLEL", "auto")
    assert told(parallel_of(source)) == "vLLM: one engine on the CPU, because there is no GPU; CAI_PARALLEL changes it"
    for wrong in ("two", "0x1", "2x", "2x1x1"):
        monkeypatch.setenv("CAI_PARALLEL", wrong)
        with pytest.raises(ModelError, match="CAI_PARALLEL is"):
            parallel_of(source)


def test_what_each_engine_may_see():
    assert devices(2, 2, list("01234")) == ["0,1", "2,3"]
    assert devices(3, 1, list("012")) == ["0", "1", "2"]
    assert devices(2, 1, list("0123")) == ["0,1", "2,3"]  # cores of a CPU


def test_it_is_told_before_the_start_and_only_where_vllm_loads_the_model(tmp_path, monkeypatch):
    folder = str(folder_of(tmp_path))
    monkeypatch.setenv("CAI_BACKEND", "transformers")
    assert registry.spread(folder) == ""
    monkeypatch.setenv("CAI_BACKEND", "vllm")
    assert registry.spread("http://localhost:1/v1") == ""
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 8)
    monkeypatch.setattr("engine.models.vllm.parallel.total_gpu_mib", lambda: [H100 // 2**20] * 8)
    assert registry.spread(folder).startswith("vLLM: 8 engines of one GPU each")
