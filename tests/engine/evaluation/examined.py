"""A model whose share of right answers is known under every condition, and an evaluation with it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import engine.models.registry
from engine.analyses.offers import training_plan
from engine.core.events import Event
from engine.evaluation.items import EARLIER, ITEMS_SHA256, item_set, plants
from engine.models.checkpoints import tree_sha256
from engine.models.requests import Completion, Generate, adapter_fingerprint
from engine.run.engine import Engine, open_engine
from engine.run.orders import Evaluate
from engine.spec.provenance import short_hash
from store.db import Store
from tests.engine.fakes import FakeModel
from tests.engine.training.training_run import RUN
from tests.store import rows

BASE = "fa" * 8
RATES = {"base_raw": 0.05, "base_formatted": 0.10, "base_few_shot": 0.2, "sft": 0.55, "dpo": 0.6, "reference": 0.95}
SMALL = {"evaluation.items_per_type": "8", "evaluation.conversations": "false"}


class Examined(FakeModel):
    """Answers held-out items, each rightly under a condition just where a hash of both says so."""

    def __init__(self, rates: Mapping[str, float] | None = None, tuned: Mapping[str, str] | None = None) -> None:
        super().__init__(batch_size=8)
        self.rates = RATES | dict(rates or {})
        self.tuned = dict(tuned or {})  # condition by fingerprint
        self.is_reference = False
        self._items = {item.prompt: item for set_ in (*EARLIER, ITEMS_SHA256) for item in item_set(set_).items}

    def generate(self, requests: Any) -> Iterator[Completion]:
        for request in requests:
            self.generated.append(request)
            self._on_answer(len(self.generated))
            yield self._answer(request)

    def condition(self, request: Generate) -> str:
        if self.is_reference:
            return "reference"
        if self.fingerprint in self.tuned:
            return self.tuned[self.fingerprint]
        if not request.prompt.endswith("\nResponse:"):
            return "base_raw"
        return "base_few_shot" if request.prompt.count("Instruction: ") > 1 else "base_formatted"

    def _answer(self, request: Generate) -> Completion:
        text = request.prompt.removesuffix("\nResponse:").rstrip("\n").rpartition("Instruction: ")[2]
        item = self._items[text]
        right = (
            int(short_hash(self.condition(request), item.item_id), 16) % 1000
            < 1000 * self.rates[self.condition(request)]
        )
        by_kind = {plant.kind: plant for plant in plants(item)}
        answer = by_kind["correct" if right else "wrong"].answer
        return Completion(request, f" {answer}", tuple(range(len(answer.split()))), 5, "stop", "\n###")


class Reference(Examined):
    def __init__(self) -> None:
        super().__init__()
        self.is_reference, self.fingerprint = True, "ee" * 8


def add_adapter(path: Path, method: str, number: int = 1) -> str:
    """A finished training whose adapter is a file; returns the fingerprint that the fake model has with it."""
    name = f"{method}-{number}"
    folder = path.parent / f"{path.stem}.trainings" / RUN / name / "adapter"
    folder.mkdir(parents=True)
    (folder / "adapter_config.json").write_text(json.dumps({"r": 16, "lora_alpha": 16, "of": name}))
    sha256 = tree_sha256(folder)
    row = rows.training(name, RUN, method=method, state="done", adapter_path=str(folder.relative_to(path.parent)),
                        adapter_sha256=sha256, updated_at=rows.T0 + timedelta(minutes=number))  # fmt: skip
    with Store.open(path) as store:
        store.append({"trainings": [row]})
    return adapter_fingerprint(BASE, sha256)


def evaluate(
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
    model: Examined,
    on_event: Callable[[Engine, Event], None] = lambda engine, event: None,
    **overrides: str,
) -> Any:
    """Evaluate to the end; returns the outcome."""

    def load(name: str, **options: Any) -> Examined:
        return Reference() if options.get("chat") else model

    monkeypatch.setattr(engine.models.registry, "load", load)
    changed = {f"evaluation.{name}": value for name, value in overrides.items()}
    opened = open_engine(Evaluate(path, RUN, changed), lambda event: on_event(opened, event))
    opened.start()
    assert opened.join(120)
    opened.close()
    if opened.error is not None:
        raise opened.error
    return opened.outcome


def query(path: Path, sql: str) -> list[dict[str, Any]]:
    with Store.open(path, read_only=True) as store, store.reader() as reader:
        return reader.query(sql)


def gap_lock(path: Path) -> Mapping[str, Any]:
    with Store.open(path, read_only=True) as store, store.reader() as reader:
        found = training_plan(reader, RUN, "sft")
    return next(lock for lock in found["locks"] if lock["name"] == "the gap gate passed")
