"""The guard against a model that meets the known answers by chance and says one word for ever."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from engine.core.control import Control
from engine.models.answers import Answers
from engine.models.requests import Completion, Generate
from engine.quality.guard import is_stuck, run_guard
from engine.spec.stage import load_spec
from store.db import Store
from tests.engine.fakes import FakeModel


class Done(FakeModel):
    """Its continuations are one word, whatever it is asked."""

    def _answer(self, request: Generate) -> Completion:
        return replace(super()._answer(request), text=" done" * 64, stop_reason="length", stop_text=None)


@pytest.mark.parametrize(("model", "passed"), [(Done(), False), (FakeModel(), True)], ids=["one word", "sentences"])
def test_a_model_that_says_one_word_for_ever_is_refused(model: FakeModel, passed: bool, tmp_path: Path) -> None:
    with Store.open(tmp_path / "a.duckdb") as store:
        answers = Answers(model, store, "session", Control())
        rows = {row["check_id"]: row for row in run_guard(answers, load_spec("stage_1_small_model").settings, "run")}
    assert rows["known-answers"]["passed"]  # by chance: it tells nothing of what the model says
    assert rows["raw-all"]["passed"] is passed
    assert ("the same few words over and over in 100%" in rows["raw-all"]["detail"]) is not passed


@pytest.mark.parametrize(
    ("text", "stuck"),
    [
        (" done" * 64, True),
        (" yes and no" * 9, True),
        (" yes yes", False),  # too short to tell
        (" I like the sea. I like the sea. I like the sea.", False),  # as small bases do
        ("", False),  # empty, which is counted apart
    ],
)
def test_few_words_over_and_over(text: str, stuck: bool) -> None:
    assert is_stuck(text) is stuck
