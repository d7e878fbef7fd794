"""A merge file by file: bit for bit what PEFT makes of it, in little memory, and what it leaves to PEFT."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from engine.core import memory
from engine.core.errors import TrainingError
from engine.training import drift, merge
from engine.training.merge import BY_FILE, BY_PEFT, measure_drift, merge_adapter
from engine.training.shards import Sum, sum_of
from store.db import Store
from tests.engine.training.training_run import RUN, tiny_model
from tests.store import rows

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("training")]


def base_in(folder: Path, dtype: str = "float32", *, shards: bool = False) -> Path:
    """The tiny model in a data type, in one file or in several with an index."""
    import torch
    from transformers import AutoModelForCausalLM

    tiny_model(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype))
    if shards:
        (folder / "model.safetensors").unlink()
    model.save_pretrained(folder, max_shard_size="30KB" if shards else "1GB")
    return folder


def adapter_in(folder: Path, base: Path, **changed: Any) -> Path:
    """A LoRA on a base whose numbers are random, so that it changes every linear map."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(1)
    settings: dict[str, Any] = {"r": 4, "lora_alpha": 6, "target_modules": "all-linear", "task_type": "CAUSAL_LM"}
    base_model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    model = get_peft_model(base_model, LoraConfig(**settings | changed))
    for name, value in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(value, std=0.1)
    model.save_pretrained(folder)
    (folder / "README.md").write_text("An adapter.\n")
    return folder


def tensors(folder: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    return {name: one for file in sorted(folder.glob("*.safetensors")) for name, one in load_file(file).items()}


def by_peft(base: Path, adapter: Path, dtype: str) -> dict[str, Any]:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    merged = PeftModel.from_pretrained(model, str(adapter)).merge_and_unload(safe_merge=True)
    return dict(merged.to(getattr(torch, dtype)).named_parameters())


@pytest.mark.parametrize(
    ("of_base", "written", "shards", "changed"),
    [
        ("float32", "float32", False, {}),
        ("float32", "bfloat16", True, {"use_rslora": True}),
        ("bfloat16", "bfloat16", True, {}),
        ("bfloat16", "float32", False, {"target_modules": ["q_proj", "down_proj"]}),
    ],
)
def test_the_sum_is_that_of_peft_bit_for_bit(
    tmp_path: Path, of_base: str, written: str, shards: bool, changed: dict[str, Any]
) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    base = base_in(tmp_path / "base", of_base, shards=shards)
    adapter = adapter_in(tmp_path / "adapter", base, **changed)
    found, out = sum_of(base, adapter), tmp_path / "out"
    assert isinstance(found, Sum)
    out.mkdir()
    found.write(out, written)
    wanted, got, before = by_peft(base, adapter, written), tensors(out), tensors(base)
    assert sum(file.stat().st_size for file in out.glob("*.safetensors")) >= found.n_bytes(written)
    assert {file.name for file in base.glob("model*")} == {file.name for file in out.glob("model*")}
    assert len(list(out.glob("*.safetensors"))) > 1 or not shards
    assert wanted.keys() == got.keys()
    assert all(got[name].dtype == one.dtype and torch.equal(got[name], one) for name, one in wanted.items())
    assert {name for name, one in got.items() if not torch.equal(one, before[name].to(one.dtype))} == found.touched
    loaded = AutoModelForCausalLM.from_pretrained(out)  # its type by the written configuration
    assert all(torch.equal(value, got[name]) for name, value in loaded.named_parameters())
    assert loaded.dtype == getattr(torch, written)


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"use_dora": True}, "use_dora"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
        ({"target_modules": ["q_proj", "embed_tokens"]}, "more than a low-rank map"),
        ({"rank_pattern": {"q_proj": 2}}, "rank_pattern"),
        ({"init_lora_weights": "pissa"}, "init_lora_weights"),
        ({"bias": "all"}, "bias"),
    ],
)
def test_what_is_no_plain_sum_is_left_to_peft(tmp_path: Path, changed: dict[str, Any], why: str) -> None:
    base = base_in(tmp_path / "base")
    found = sum_of(base, adapter_in(tmp_path / "adapter", base, **changed))
    assert isinstance(found, str) and why in found


def test_an_adapter_of_another_base_is_left_to_peft(tmp_path: Path) -> None:
    base = base_in(tmp_path / "base")
    adapter = adapter_in(tmp_path / "adapter", base)
    config = json.loads((adapter / "adapter_config.json").read_text())
    (adapter / "adapter_config.json").write_text(json.dumps(config | {"r": 8}))
    assert "shape" in str(sum_of(base, adapter))
    (adapter / "adapter_config.json").write_text(json.dumps(config | {"new_in_peft": 1}))
    assert sum_of(base, adapter) == "the adapter has new_in_peft"


class Disk(NamedTuple):
    total: int
    used: int
    free: int


def stored(folder: Path, *, kind: str = "lora", **changed: Any) -> Path:
    """A store with one finished training, its adapter beside it."""
    from engine.models.adapters import folder_of
    from engine.models.checkpoints import tree_sha256

    base, path = base_in(folder / "base", shards=True), folder / "a.duckdb"
    place = folder_of(path, RUN, "dpo-1") / "adapter"
    adapter_in(place, base, **changed)
    training = rows.training(
        training_id="dpo-1", method="dpo", state="done", adapter_path=str(place.relative_to(folder)),
        adapter_sha256=tree_sha256(place), settings={"adapter": {"kind": kind}, "dpo": {}},
    )  # fmt: skip
    with Store.open(path) as store:
        store.append({"runs": [rows.run(run_id=RUN, model=str(base))], "trainings": [training]})
    return path


def test_without_memory_the_drift_is_measured_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, out = stored(tmp_path, kind="qlora"), tmp_path / "out"
    with Store.open(path) as store, store.reader() as reader:
        with monkeypatch.context() as little:
            little.setattr(drift, "total_and_free", lambda: (2**30, 1000))
            found = merge_adapter(reader, RUN, "dpo", out)
            with pytest.raises(TrainingError, match="can't be measured here"):
                measure_drift(reader, RUN, "dpo", out)
        assert (found["way"], found["drift"]) == (BY_FILE, None) and "nf4" in found["trained_on"]
        assert found["not_measured"]["command"] == f"cai merge {RUN} --what dpo-1 --out {out} --drift"
        assert json.loads((out / "merge.json").read_text())["not_measured"] == found["not_measured"]
        with pytest.raises(TrainingError, match="does not hold dpo-1"):
            measure_drift(reader, RUN, "dpo", tmp_path)
        later = measure_drift(reader, RUN, "dpo", out)
    assert later["not_measured"] is None and later["drift"]["largest_logit"] < 1e-4
    assert json.loads((out / "merge.json").read_text())["drift"] == later["drift"]


def test_peft_merges_where_its_memory_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = stored(tmp_path, use_dora=True)
    with Store.open(path) as store, store.reader() as reader:
        with monkeypatch.context() as little:
            little.setattr(drift, "total_and_free", lambda: (2**30, 1000))
            with pytest.raises(TrainingError, match="only PEFT can merge this adapter.*use_dora.*are free"):
                merge_adapter(reader, RUN, "dpo", tmp_path / "out")
        found = merge_adapter(reader, RUN, "dpo", tmp_path / "out")
    assert found["way"] == BY_PEFT and "use_dora" in found["why"] and found["drift"]["largest_logit"] < 1e-4


def test_a_full_disk_is_seen_beforehand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = stored(tmp_path)
    monkeypatch.setattr(merge.shutil, "disk_usage", lambda _: Disk(2**40, 2**40, 2**20))
    refused = pytest.raises(TrainingError, match=re.escape("1 MiB are free"))
    with Store.open(path) as store, store.reader() as reader, refused:
        merge_adapter(reader, RUN, "dpo", tmp_path / "out")
    assert not (tmp_path / "out").exists() and not list(tmp_path.glob(".*.cai-aside"))


def test_weights_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    base = base_in(tmp_path / "base")
    adapter = adapter_in(tmp_path / "adapter", base)
    broken = load_file(adapter / "adapter_model.safetensors")
    next(one for name, one in broken.items() if "lora_B" in name)[0, 0] = float("nan")
    save_file(broken, adapter / "adapter_model.safetensors")
    found = sum_of(base, adapter)
    assert isinstance(found, Sum)
    with pytest.raises(TrainingError, match="NaN or infinite numbers once the adapter is added"):
        found.write(tmp_path, "float32")


def test_the_free_memory_is_the_containers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_limit", lambda: (2**20, 2**19))
    assert memory.total_and_free() == (2**20, 2**19)
    assert "are free" in drift.too_large(2**20) and not drift.too_large(1000)
