"""The check of one model: scores beside a plain forward pass, the tokenizer's findings, labels, context and memory."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from engine.doctor.model import examine_model
from engine.models.local.fast import FastPath
from tests.engine.models.files.faulty_folders import changed, processed
from tests.engine.models.model_server import serving
from tests.engine.training.training_run import tiny_model


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("sound"))


@pytest.fixture
def folder(sound: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sound, tmp_path / "model"))


def checks(report: dict[str, Any]) -> dict[str, tuple[str, str]]:
    return {item["name"]: (item["state"], item["detail"]) for item in report["checks"]}


def test_a_sound_model(folder: Path) -> None:
    report = examine_model(str(folder))
    found = checks(report)
    assert report["healthy"] and report["self_check"]["largest_nats"] < 1e-4
    assert found["scores"][0] == "ok" and found["scores"][1].startswith("fast path of LlamaForCausalLM: labels within")
    assert "BOS <bos>, EOS <eos>" in found["tokenizer"][1] and "padding" not in found["tokenizer"][1]
    assert found["encoding"] == ("ok", "<bos> in front of each of 4 prompts, and no chat token")
    assert found["context"] == ("ok", "256 tokens")
    assert found["labels"][0] == "warning" and "' good' " in found["labels"][1]  # words that the tiny tokenizer lacks
    assert "GiB in this process" in found["memory"][1] and "transformers, cpu, float32" in found["memory"][1]


def test_what_a_tokenizer_lacks_or_shares_is_told(folder: Path) -> None:
    processed("$A")(folder)
    changed(folder, "tokenizer_config.json", pad_token="<eos>")
    (folder / "chat_template.jinja").write_text("{{ messages }}")
    found = checks(examine_model(str(folder)))
    assert "padding is EOS, which stays in the loss, its chat template is not used" in found["tokenizer"][1]
    assert found["encoding"] == ("ok", "nothing in front of each of 4 prompts, and no chat token")
    changed(folder, "tokenizer_config.json", eos_token=None, pad_token=None)
    state, told = checks(examine_model(str(folder)))["tokenizer"]
    assert state == "warning" and "EOS none" in told and "padding" not in told


def test_scores_that_are_not_the_model_s_own_leave_the_plain_path(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CAI_CACHE", str(tmp_path / "cache"))
    usual = FastPath._logprobs
    monkeypatch.setattr(FastPath, "_logprobs", lambda *given: [value - 0.01 for value in usual(*given)])
    report = examine_model(str(folder))
    state, told = checks(report)["scores"]
    assert report["healthy"] and state == "warning"
    assert told.startswith("plain path of LlamaForCausalLM") and "not the fast path: " in told


def test_a_server_shows_what_it_tells() -> None:
    with serving() as server:
        report = examine_model(server.url)
    found = checks(report)
    assert report["healthy"] and report["self_check"]["largest_nats"] == 0 and found["scores"][0] == "ok"
    assert found["scores"][1].startswith("server of toy: labels within 0 nats of the same asked for again")
    assert (
        "not verified" in found["tokenizer"][1] and found["labels"][0] == "ok" and found["context"][1] == "4,096 tokens"
    )
