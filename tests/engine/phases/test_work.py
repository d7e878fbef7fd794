"""What a model is loaded for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine.core.events import Event, ModelLoaded, Noted
from engine.models import registry
from engine.phases.work import lora_rank_of, lora_slots_of
from engine.run.engine import open_engine
from engine.run.orders import NewRun
from engine.spec.stage import load_spec
from tests.engine.fakes import FakeModel


@pytest.mark.parametrize(
    ("spec", "overrides", "rank"),
    [
        ("stage_1_explicit_instructions", {}, 32),
        ("stage_1_small_model", {}, 16),
        (
            "stage_1_small_model",
            {"adapter.rank": "4", "critics.sample": "[grade]", "critics.instruction": "[grade]"},
            4,
        ),
        ("stage_1_small_model", {"adapter.rank": "4", "critics.sample": "[probe]"}, 8),  # its stand-in is an adapter
    ],
)
def test_a_model_is_loaded_for_the_largest_adapter_that_its_run_can_answer_with(spec, overrides, rank):
    assert lora_rank_of(load_spec(spec, overrides).settings) == rank


@pytest.mark.parametrize(
    ("overrides", "slots"),
    [({}, 2), ({f"critics.{kind}": "[grade]" for kind in ("sample", "instruction", "pair")}, 1)],
)
def test_two_adapters_are_asked_at_a_time_where_one_writes_and_another_judges(
    overrides: dict[str, str], slots: int
) -> None:
    assert lora_slots_of(load_spec("stage_2_implicit_instructions", overrides).settings) == slots
    assert lora_slots_of(load_spec("stage_1_explicit_instructions", {}).settings) == 1  # no stage is its parent


@pytest.mark.integration
def test_a_run_says_how_its_model_will_lie_and_loads_it_for_its_adapters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, Any] = {}
    told: list[Event] = []
    model = FakeModel(on_answer=lambda answered: opened.stop())

    def load(name: str | None, **how: Any) -> FakeModel:
        asked.update(how)
        return model

    monkeypatch.setattr(registry, "load", load)
    monkeypatch.setattr(registry, "spread", lambda name: "vLLM: 8 engines of one GPU each")
    opened = open_engine(NewRun(tmp_path / "cai.duckdb", spec="stage_1_explicit_instructions"), told.append)
    opened.start()
    assert opened.join(60)
    opened.close()
    assert asked["lora_rank"] == 32
    before = told[: next(n for n, event in enumerate(told) if isinstance(event, ModelLoaded))]
    assert any(isinstance(event, Noted) and "8 engines" in event.text for event in before)
