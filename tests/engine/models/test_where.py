"""Where models are asked: what CAI_ON may say, and what is refused before anything is loaded."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.core.errors import ModelError, UsageError
from engine.models import registry
from engine.models.where import ON, Where, where


def test_a_place_is_here_a_cluster_or_a_file(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for said, place in (
        ("", Where()),
        ("ray", Where(cluster="auto")),
        ("ray://head:10001", Where(cluster="ray://head:10001")),
        ("asked.jsonl", Where(file=tmp_path / "asked.jsonl")),
    ):
        monkeypatch.setenv(ON, said)
        assert where() == place
    monkeypatch.setenv(ON, "slurm")
    with pytest.raises(UsageError, match="can't be asked on 'slurm'") as caught:
        registry.load(None)
    assert "ray://host:10001" in caught.value.hint and "Nothing was started" in caught.value.hint


def test_a_cluster_without_ray_or_with_servers_is_refused(monkeypatch):
    monkeypatch.setenv(ON, "ray")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ModelError, match="Ray is not installed") as caught:
        registry.load(None)
    assert "[scale]" in caught.value.hint
    with pytest.raises(ModelError, match="behind servers is not loaded on a cluster"):
        registry.load("http://127.0.0.1:1/v1")


def folder_of(path: Path, weights: bytes) -> Path:
    path.mkdir()
    for name, content in (("config.json", b"{}"), ("tokenizer.json", b"{}"), ("model.safetensors", weights)):
        (path / name).write_bytes(content)
    return path


def test_requests_are_written_for_the_weights_that_the_run_began_with(monkeypatch, tmp_path):
    from engine.models.files.weights import fingerprint_of

    monkeypatch.setattr(registry, "require_sound", lambda source: None)
    out = tmp_path / "requests.jsonl"
    monkeypatch.setenv(ON, str(out))
    mine, other = (folder_of(tmp_path / name, name.encode()) for name in ("mine", "other"))
    begun = fingerprint_of(str(mine), "torch.bfloat16")
    model = registry.load(str(mine), fingerprint=begun)
    assert model.fingerprint == begun and model.facts == {} and not out.exists()
    with pytest.raises(ModelError, match="are not those that the run began with"):
        registry.load(str(other), fingerprint=begun)
    with pytest.raises(ModelError, match="that was begun with its model") as caught:
        registry.load(str(mine))
    assert "cai resume --on requests.jsonl" in caught.value.hint
    out.touch()
    with pytest.raises(ModelError, match="is there already"):
        registry.load(str(mine), fingerprint=begun)
