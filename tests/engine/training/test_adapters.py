"""What a trained adapter does: it changes answers, goes away again, writes the next stage's data, and can be merged."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.core.errors import TrainingError
from engine.models import adapters
from engine.models.registry import load
from engine.models.requests import Decoding, Generate
from engine.run.engine import Engine
from engine.training.merge import merge_adapter
from tests.engine.training.training_run import RUN, settings, tiny_model, train, trainable_store

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("training")]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    folder = tmp_path_factory.mktemp("adapters")
    opened = train(trainable_store(folder / "a.duckdb", tiny_model(folder / "tiny"), settings()), "sft", "dpo")
    yield opened
    opened.close()


def answers(model: Any) -> list[str]:
    asked = [Generate(f"Instruction: Name amber {n}.\nResponse:", Decoding(12), seed=n) for n in range(4)]
    return sorted(f"{done.request.seed} {done.text}" for done in model.generate(asked))


def test_one_base_answers_with_each_adapter_in_turn(trained: Engine) -> None:
    with trained.store.reader() as reader:
        run = reader.run(RUN)
        sft, dpo = adapters.of_run(reader, RUN, "sft"), adapters.of_run(reader, RUN, "dpo")
    assert sft is not None and dpo is not None
    model = load(run["model"])
    try:
        base, fingerprint = answers(model), model.fingerprint
        found = {}
        for adapter in (sft, dpo, sft):
            model.use(adapter.folder, adapter.sha256)
            found.setdefault(adapter.method, set()).add((model.fingerprint, tuple(answers(model))))
        model.use(None)
        assert (answers(model), model.fingerprint) == (base, fingerprint)
    finally:
        model.close()
    assert [len(of) for of in found.values()] == [1, 1]  # the same adapter answers the same again
    seen = {fingerprint, *(print_ for of in found.values() for print_, _ in of)}
    assert len(seen) == 3
    texts = {tuple(base), *(said for of in found.values() for _, said in of)}
    assert len(texts) == 3


def test_merged_weights_say_what_base_and_adapter_say(trained: Engine, tmp_path: Path) -> None:
    with trained.store.reader() as reader:
        found = merge_adapter(reader, RUN, "dpo", tmp_path / "merged")
        with pytest.raises(TrainingError, match="is there already"):
            merge_adapter(reader, RUN, "dpo", tmp_path / "merged")
        with pytest.raises(TrainingError, match="no finished adapter"):
            merge_adapter(reader, RUN, "dpo-00000000", tmp_path / "other")
        dpo = adapters.of_run(reader, RUN, "dpo")
        model_name = reader.run(RUN)["model"]
    assert dpo is not None
    assert found["dtype"] == "float32" and found["drift"]["largest_logit"] < 1e-4
    assert found["drift"]["same_top1"] == found["drift"]["prompts"]
    assert json.loads((tmp_path / "merged" / "merge.json").read_text())["drift"] == found["drift"]
    assert not list(tmp_path.glob(".*.partial"))
    with_adapter, merged = load(model_name), load(str(tmp_path / "merged"))
    try:
        with_adapter.use(dpo.folder, dpo.sha256)
        assert answers(with_adapter) == answers(merged)
    finally:
        with_adapter.close()
        merged.close()


def test_a_stage_begins_with_the_adapter_of_its_parent_on_the_same_base(trained: Engine) -> None:
    with trained.store.reader() as reader:
        newest = adapters.of_stage(reader, "stage_6_small_model", "fp-1")
        assert newest is not None and newest.method == "dpo"
        assert adapters.of_stage(reader, "stage_6_small_model", "fp-2") is None
        assert adapters.of_stage(reader, "stage_2_implicit_instructions", "fp-1") is None
        facts = newest.facts(reader.path)
        assert adapters.Adapter.of_facts(reader.path, facts) == newest
