"""Folders that are wrong in one thing: the file is named, a person is told what to do, and nothing is scored."""

from __future__ import annotations

import json
import math
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

from engine.core.errors import ModelError
from engine.models.answers import scores_of
from engine.models.files import faults
from engine.models.registry import load
from engine.models.requests import Decoding, Generate, LabelScores, Model, Score
from tests.engine.fakes import FakeModel
from tests.engine.models.files.faulty_folders import (
    CONFIG,
    FAULTS,
    INDEX,
    TOKENIZER,
    Fault,
    changed,
    processed,
    resized,
    sharded,
)  # fmt: skip
from tests.engine.training.training_run import tiny_model

ASKED = Score("Response: The amber is", (" basin", " Yes"))


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("sound"))


@pytest.fixture
def folder(sound: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sound, tmp_path / "model"))


@pytest.fixture
def loaded(folder: Path, request: pytest.FixtureRequest) -> Callable[[], Model]:
    def open_() -> Model:
        model = load(str(folder), batch_size=2)
        request.addfinalizer(model.close)
        return model

    return open_


def answers(model: Model) -> tuple[list[tuple[float, ...]], list[str]]:
    scored = [found.logprobs for found in model.score([ASKED])]
    return scored, [found.text for found in model.generate([Generate(ASKED.prompt, Decoding(12), 0)])]


@pytest.mark.parametrize("fault", FAULTS, ids=[fault.name for fault in FAULTS])
def test_a_faulty_folder_is_refused_with_what_to_do(
    folder: Path, fault: Fault, capfd: pytest.CaptureFixture[str]
) -> None:
    fault.plant(folder)
    with pytest.raises(ModelError, match=fault.says) as caught:
        load(str(folder))
    assert re.search(fault.advises, caught.value.hint)
    assert (
        "safe" in caught.value.hint
        or "Nothing was lost" in caught.value.hint
        or "no run was started" in caught.value.hint
    )
    assert "\n" not in f"{caught.value.title}{caught.value.hint}" and len(caught.value.title) < 400
    assert "[y/N]" not in capfd.readouterr().out and not (folder / "ran").exists()


def test_what_is_sound_is_loaded_in_one_file_and_in_shards(folder: Path, loaded: Callable[[], Model]) -> None:
    whole = answers(loaded())
    sharded(folder)
    assert (folder / INDEX).exists() and answers(loaded()) == whole


def test_what_only_looks_odd_changes_no_answer(folder: Path, loaded: Callable[[], Model]) -> None:
    """A chat template in a file of its own, penalties for somebody else's generate, pad == eos, an unused row or two."""
    plain = answers(loaded())
    (folder / "chat_template.jinja").write_text("{% for m in messages %}<chat>{{ m.content }}{% endfor %}")
    penalties = {"repetition_penalty": 9.0, "no_repeat_ngram_size": 2, "temperature": 3.0, "do_sample": True}
    changed(folder, "generation_config.json", **penalties)
    changed(folder, "tokenizer_config.json", pad_token="<eos>")
    model = loaded()
    assert answers(model) == plain
    assert model.chat([], "x") is None and "<chat>" not in "".join(model.encoding("x").tokens)


def test_an_embedding_that_is_padded_is_sound(folder: Path, loaded: Callable[[], Model]) -> None:
    rows = json.loads((folder / CONFIG).read_text())["vocab_size"]
    resized(rows + 16)(folder)
    assert loaded().encoding("amber").token_ids


def test_a_special_token_beyond_the_embedding_is_sound_where_no_text_can_spell_it(
    folder: Path, loaded: Callable[[], Model]
) -> None:
    found = json.loads((folder / TOKENIZER).read_text())
    rows = json.loads((folder / CONFIG).read_text())["vocab_size"]
    token = {"id": rows, "content": "<image>", "special": True, "normalized": False}
    found["added_tokens"].append({**token, "single_word": False, "lstrip": False, "rstrip": False})
    (folder / TOKENIZER).write_text(json.dumps(found))
    model = loaded()
    assert max(model.encoding("an <image> of it").token_ids) < rows
    (scored,) = model.score([Score("an <image> of it is", (" basin",))])
    assert scored.logprobs[0] < 0


def test_an_empty_prompt_without_bos_is_refused_and_others_are_answered(
    folder: Path, loaded: Callable[[], Model]
) -> None:
    processed("$A")(folder)
    model = loaded()
    assert model.encoding("amber").declared_bos is None and answers(model)[0][0][0] < 0
    with pytest.raises(ModelError, match="no BOS to go on from") as caught:
        list(model.score([Score("", (" basin",))]))
    assert "safe" in caught.value.hint and "BOS" in caught.value.hint


class Overflowing(FakeModel):
    def score(self, requests: Iterable[Score]) -> Iterator[LabelScores]:
        return (LabelScores(request, (-1.0, math.nan), (1, 1)) for request in requests)


def test_what_overflows_in_any_backend_is_no_score() -> None:
    with pytest.raises(ModelError, match=r"gives \(-1.0, nan\) as log-probabilities") as caught:
        list(scores_of(Overflowing(), [ASKED]))
    assert "safe" in caught.value.hint


def test_a_file_of_gguf_is_no_model_s_name(tmp_path: Path) -> None:
    (tmp_path / "a.gguf").write_bytes(b"GGUF")
    with pytest.raises(ModelError, match="a.gguf is GGUF"):
        load(str(tmp_path / "a.gguf"))


def test_quantised_weights_are_left_to_vllm(folder: Path) -> None:
    changed(folder, CONFIG, quantization_config={"quant_method": "gptq"})
    faults.require_sound(folder)
    assert faults.quantisation(folder) == "gptq"
    changed(folder, CONFIG, quantization_config=None, text_config={"quantization_config": {"quant_method": "awq"}})
    assert faults.quantisation(folder) == "awq"


def test_files_that_a_hub_name_has_not_fetched_yet_are_no_fault(folder: Path) -> None:
    sharded(folder)[1].unlink()
    (folder / TOKENIZER).unlink()
    faults.require_sound(folder, whole=False)
    with pytest.raises(ModelError, match="is missing"):
        faults.require_sound(folder)
    (folder / CONFIG).unlink()
    faults.require_sound(folder, whole=False)
    assert faults.quantisation(folder) == ""
    with pytest.raises(ModelError, match=f"{CONFIG} can't be read"):
        faults.require_sound(folder)
