"""The contamination guard against a model that is no base: SmolLM2-135M-Instruct. tests/e2e/test_pilot.py has a base."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.core.control import Control
from engine.models.answers import Answers
from engine.models.files.embedded import SMOLLM2
from engine.models.registry import load
from engine.models.requests import Decoding, Generate, Model
from engine.quality.guard import SENTINELS, encoding_fault, run_guard
from engine.spec.stage import load_spec
from store.db import Store

pytestmark = [pytest.mark.model, pytest.mark.xdist_group("model")]


@pytest.fixture(scope="module")
def assistant() -> Iterator[Model]:
    model = load(SMOLLM2)
    yield model
    model.close()


def verdicts(model: Model, path: Path) -> dict[str, tuple[bool | None, str]]:
    with Store.open(path) as store:
        answers = Answers(model, store, "session", Control())
        rows = run_guard(answers, load_spec("stage_1_small_model").settings, "run")
        return {row["check_id"]: (row["passed"], row["detail"]) for row in rows}


def test_an_assistant_loaded_as_a_base_is_flagged_by_the_sentinels(assistant: Model, tmp_path: Path) -> None:
    found = verdicts(assistant, tmp_path / "a.duckdb")
    passed, detail = found["raw-all"]
    assert passed is False and "for a base" in detail
    assert found["known-answers"][0] is True  # it completes well: only how it ends gives it away
    assert all(found[f"encoding-{n:02d}"][0] for n in range(4))


def templated(text: str) -> str:
    return f"<|im_start|>user\n{text}<|im_end|>\n<|im_start|>assistant\n"


def test_the_door_gives_a_chat_template_no_special_token(assistant: Model) -> None:
    encoding = assistant.encoding(templated(SENTINELS[0]))
    assert not set(encoding.token_ids) & encoding.chat_ids


def test_an_applied_template_is_caught_by_the_token_scan(assistant: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    # A door that lets the template through, as every convenient pipeline does.
    tokenizer = assistant._text.tokenizer  # type: ignore[attr-defined]
    monkeypatch.setattr(
        assistant._text,  # type: ignore[attr-defined]
        "plain",
        lambda text: tokenizer(text, add_special_tokens=False).input_ids,
    )
    fault = encoding_fault(assistant.encoding(templated(SENTINELS[0])))
    assert fault is not None and "<|im_start|>" in fault
    # And then it answers as an assistant does: it ends by itself.
    asked = [Generate(templated(text), Decoding(64), 0) for text in SENTINELS[:10]]
    ended = [answer.stop_reason == "eos" and bool(answer.text.strip()) for answer in assistant.generate(asked)]
    assert sum(ended) >= 5
