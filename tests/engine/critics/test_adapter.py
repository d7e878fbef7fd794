"""A critic adapter: what it is trained on is never reported, its scores are answered by it alone, and refusals."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import engine.critics.adapted as adapted
from engine.core.control import Control
from engine.core.errors import ModelError, SpecError
from engine.critics import Subject
from engine.critics.adapted import AdapterCritic, FittedAdapter, can_train, fit_of, read_by, split
from engine.critics.audit import calibrate, served, stand_in
from engine.critics.probed import SAME_AT, LabelledItem
from engine.models.answers import Answers, score_request_of, scores_of
from engine.models.checkpoints import tree_sha256
from engine.models.requests import Adapted, LabelScores, LoraFiles, Score, request_id
from engine.spec.stage import load_spec
from engine.stats.similarity import NearDuplicateIndex
from store.db import Store
from store.errors import StoreError
from tests.engine.fakes import FakeModel

WHOLE = adapted.trainable
FILES = LoraFiles(Path("/nowhere"), "ab" * 32)


class Adaptable(FakeModel):
    """With an adapter in front it grades by the length of the prompt: odd ones are good, by two nats."""

    adaptable = "fake"

    def score(self, requests: Iterable[Score]) -> Iterator[LabelScores]:
        if self.in_use is None:
            yield from super().score(requests)
            return
        for request in requests:
            good = -0.5 if len(request.prompt) % 2 else -2.5
            yield LabelScores(request, (good, -1.5), (1, 1))


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[list[LabelledItem]], None]]:
    """Has other items labelled than the shipped ones."""

    def label(items: list[LabelledItem]) -> None:
        monkeypatch.setattr(adapted, "labelled_items", lambda kind, asked: items)
        monkeypatch.setattr(adapted, "read_labelled", lambda *_: [])
        split.cache_clear()

    yield label
    split.cache_clear()


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fake's weights count as on this machine."""
    monkeypatch.setattr(adapted, "trainable", lambda weights: True)


@pytest.fixture
def answers(tmp_path: Path) -> Iterator[Answers]:
    with Store.open(tmp_path / "cai.duckdb") as store:
        yield Answers(Adaptable(), store, "session", Control())  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["instruction", "sample"])
def test_nothing_that_is_reported_or_calibrates_is_near_what_is_trained_on(kind: str) -> None:
    found = split(kind)
    assert {"planted", "own", "fresh"} == set(found.reported) and len(found.trained) <= adapted.TRAINED_AT_MOST
    near = NearDuplicateIndex(SAME_AT)
    for one in found.trained:
        near.add(one.item.key, one.item.instruction)
    apart = [*found.calibrating, *(one for of in found.reported.values() for one in of)]
    assert [one.item.key for one in apart if near.nearest(one.item.instruction)] == []
    trained, calibrating = ({one.told for one in of} for of in (found.trained, found.calibrating))
    reported = {one.told for of in found.reported.values() for one in of}
    assert not trained & calibrating and not trained & reported and not calibrating & reported
    assert {one.part for one in found.calibrating} == {"own"}


def test_as_many_good_as_bad_train_where_there_are_so_many() -> None:
    good = sum(one.good for one in split("instruction").trained)
    assert good == adapted.TRAINED_AT_MOST // 2
    found = split("sample")
    good = sum(one.good for one in found.trained)
    assert 20 < good < adapted.TRAINED_AT_MOST // 2 and len(found.trained) == adapted.TRAINED_AT_MOST


def labelled(n_good: int, n_bad: int) -> list[LabelledItem]:
    """Items of the model's own with instructions that share no word."""
    return [
        LabelledItem(Subject(str(n), f"word{n} other{n} third{n}"), "own", n < n_good, n < n_good, True)
        for n in range(n_good + n_bad)
    ]


def test_the_same_labels_are_one_fit_and_others_or_another_model_are_another(
    few: Callable[[list[LabelledItem]], None],
) -> None:
    model: Any = Adaptable()
    few(labelled(60, 60))
    first, found = fit_of(model, "instruction").fit_id, split("instruction")
    split.cache_clear()
    assert fit_of(model, "instruction").fit_id == first and split("instruction") == found
    few(labelled(60, 61))
    assert fit_of(model, "instruction").fit_id != first
    few(labelled(60, 60))
    model.fingerprint = "ot" * 8
    assert fit_of(model, "instruction").fit_id != first


@pytest.mark.parametrize(("good", "bad"), [(0, 200), (200, 0), (12, 200), (200, 12)])
def test_too_few_labels_or_all_of_one_kind_are_refused(
    few: Callable[[list[LabelledItem]], None], good: int, bad: int
) -> None:
    few(labelled(good, bad))
    with pytest.raises(SpecError, match="a critic adapter of instructions needs") as refused:
        fit_of(Adaptable(), "instruction")  # type: ignore[arg-type]
    assert "Nothing was trained" in refused.value.hint
    assert not can_train(Adaptable(), "instruction", "explicit")  # type: ignore[arg-type]


def test_whole_weights_and_the_libraries_that_train_are_needed(
    few: Callable[[list[LabelledItem]], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few(labelled(60, 60))
    model: Any = Adaptable()
    model.adaptable = str(tmp_path)
    contents = {"config.json": b"{}", "tokenizer.json": b"{}", "model.safetensors": (2).to_bytes(8, "little") + b"{}"}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    monkeypatch.setattr(adapted, "trainable", WHOLE)
    assert can_train(model, "instruction", "explicit")
    for name, content in contents.items():
        (tmp_path / name).unlink()
        assert not can_train(model, "instruction", "explicit"), name
        (tmp_path / name).write_bytes(content)
    (tmp_path / "config.json").write_text('{"quantization_config": {"quant_method": "gptq"}}')
    assert not can_train(model, "instruction", "explicit")
    (tmp_path / "config.json").write_bytes(contents["config.json"])
    monkeypatch.setattr(adapted, "LIBRARIES", ("torch", "a_library_that_is_not_here"))
    assert not can_train(model, "instruction", "explicit")


def test_enough_labels_are_taken_all(few: Callable[[list[LabelledItem]], None]) -> None:
    few(labelled(60, 60))
    found = split("instruction")
    assert len(found.trained) + len(found.calibrating) + len(found.reported["own"]) == 120
    assert 60 < len(found.trained) < 100


def test_a_margin_is_that_of_the_labels_and_its_scale_the_calibration() -> None:
    critic = AdapterCritic("sample", FILES)
    item = Subject("s", "Name a tree.", "An oak.")
    (ask,) = critic.asks(item)
    assert isinstance(ask.request, Adapted) and ask.request.prompt.endswith("Response: An oak.\nGrade:")
    margin = critic.margin(item, [LabelScores(ask.request, (-0.25, -2.0), (1, 1))])
    assert margin == 1.75
    level = math.log(0.22 / 0.78)
    fitted = FittedAdapter(critic, 0.5, -1.0, {})
    assert fitted.scale(level).score(margin) == pytest.approx(0.5 * margin - 1.0 - level)
    assert math.isinf(FittedAdapter(critic, 0.0, -1.0, {}).scale(level).half_gap)


def test_scores_with_an_adapter_are_of_it_alone_and_leave_the_model_as_it_was(answers: Answers) -> None:
    model: Any = answers.model
    model.use(Path("/stage"), "cd" * 32)  # a parent stage's adapter writes this run's data
    before = model.fingerprint
    asks = [Score("Grade:", (" good", " bad")), Adapted("Grade:", FILES, (" good", " bad"))]
    assert len({request_id(before, ask) for ask in asks}) == 2
    found = {found.request: found for _, found in answers.score(asks)}
    assert model.in_use == LoraFiles(Path("/stage"), "cd" * 32) and model.fingerprint == before
    assert set(found) == set(asks)
    rows = answers._reader.scores([request_id(before, ask) for ask in asks])
    assert [rows[request_id(before, ask)]["readout"] for ask in asks] == [None, FILES.sha256]
    assert all(row["fingerprint"] == before for row in rows.values())
    again = [score_request_of(rows[request_id(before, ask)], lambda sha256: FILES) for ask in asks]
    assert again == asks
    assert [one.logprobs for one in scores_of(model, again)] == [found[ask].logprobs for ask in asks]


class Failing(Adaptable):
    def score(self, requests: Iterable[Score]) -> Iterator[LabelScores]:
        raise RuntimeError("no more")
        yield


def test_a_model_that_fails_with_an_adapter_is_left_without_it() -> None:
    model: Any = Failing()
    with pytest.raises(RuntimeError):
        list(scores_of(model, [Adapted("Grade:", FILES, (" good", " bad"))]))
    assert model.in_use is None and model.fingerprint == "fa" * 8


def keep(answers: Answers, kind: str, slope: float = 0.5) -> LoraFiles:
    """A fit as the phase leaves it, its adapter a file of no weights."""
    fit = fit_of(answers.model, kind)
    folder = answers.folder / "critics" / kind
    folder.mkdir(parents=True)
    (folder / "adapter_config.json").write_text(json.dumps({"r": 8}))
    row = {"fit_id": fit.fit_id, "sha256": tree_sha256(folder), "path": f"critics/{kind}", "kind": kind,
           "fingerprint": fit.fingerprint, "slope": slope, "offset": 0.1, "facts": dict(fit.facts),
           "created_at": datetime.now(UTC)}  # fmt: skip
    answers.keep("critic_adapters", row)
    return LoraFiles(folder, str(row["sha256"]))


def test_an_audit_is_of_items_that_were_not_trained_on_by_part_with_its_calibration(answers: Answers) -> None:
    files = keep(answers, "instruction")
    spec = load_spec("stage_1_small_model", {"critics.instruction": "[adapter]"}).settings.critics
    one, label = calibrate(answers, spec, "instruction")
    assert label.critic.name == "grade"  # since this adapter, which was not trained, may not filter
    assert [audit["part"] for audit in one.audits] == ["planted", "own", "fresh"] and not one.may_filter
    told = split("instruction")
    for audit in one.audits:
        detail = audit["detail"]
        assert audit["critic"] == "adapter" and detail["adapter"] == files.sha256
        assert set(detail["scores"]) <= {item.item.key for item in told.reported[audit["part"]]}
        assert 0 <= detail["calibration_error"] <= 1 and sum(one["n"] for one in detail["reliability"]) == len(
            detail["scores"]
        )
        assert len(detail["scores"]) <= spec.audit_items
    assert read_by(answers._reader, files.sha256) == files
    with pytest.raises(StoreError, match="is not in the store"):
        read_by(answers._reader, "0" * 64)


def test_no_fit_another_model_and_changed_files_are_refused(answers: Answers) -> None:
    spec = load_spec("stage_1_small_model", {"critics.instruction": "[adapter]"}).settings.critics
    with pytest.raises(ModelError, match="no critic adapter of instructions was trained"):
        list(calibrate(answers, spec, "instruction"))
    files = keep(answers, "instruction")
    answers.model.fingerprint = "ot" * 8
    with pytest.raises(ModelError, match="was trained for the model otot"):
        list(calibrate(answers, spec, "instruction"))
    answers.model.fingerprint = "fa" * 8
    (files.folder / "adapter_config.json").write_text("{}")
    with pytest.raises(ModelError, match="was changed since it was trained"):
        list(calibrate(answers, spec, "instruction"))


def test_two_responses_have_no_adapter(answers: Answers) -> None:
    spec = load_spec("stage_6_small_model", {"critics.pair": "[adapter]"}).settings.critics
    with pytest.raises(SpecError, match="no critic 'adapter' for critics.pair"):
        list(calibrate(answers, spec, "pair"))


def test_a_probe_has_an_adapter_in_its_place_where_one_can_be_trained_and_else_labels() -> None:
    probes = {"critics.instruction": "[probe]", "critics.sample": "[probe, pmi]", "critics.pair": "[probe]"}
    spec = load_spec("stage_6_small_model", probes).settings
    taking, without, showing = Adaptable(), FakeModel(), Adaptable()
    showing.layers = 18
    found = {
        name: {kind: stand_in(spec, kind, model) for kind in ("instruction", "sample", "pair")}  # type: ignore[arg-type]
        for name, model in (("taking", taking), ("without", without), ("showing", showing))
    }
    assert found["taking"] == {"instruction": "adapter", "sample": "adapter", "pair": "grade"}
    assert set(found["without"].values()) == {"grade"} and set(found["showing"].values()) == {None}
    critics = served(spec.critics, {"sample": "adapter"})
    assert critics.sample == ["adapter", "pmi"] and critics.instruction == ["probe"]
    assert spec.critics.preferred("sample") == ["probe", "adapter", "grade", "pmi"]
    other = load_spec("stage_2_implicit_instructions", {"critics.instruction": "[probe]"}).settings
    assert stand_in(other, "instruction", taking) == "grade"  # type: ignore[arg-type]  # too few are labelled
