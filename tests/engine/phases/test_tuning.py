"""Critic adapters in a run: trained once before the audit, gone on with after a stop, told where they stand in."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import engine.critics.adapted as adapted
import engine.phases.tuning as tuning
from engine.core.control import Control
from engine.core.errors import Interrupted, ModelError, TrainingError
from engine.core.events import Event
from engine.critics import Subject
from engine.critics.adapted import fit_of, split
from engine.critics.probed import LabelledItem
from engine.models import adapters, checkpoints
from engine.models.answers import Answers
from engine.models.requests import LabelScores, Score
from engine.phases.tuning import tune
from engine.phases.work import Work, begin_session
from engine.spec.stage import load_spec
from engine.stats.intervals import auc
from engine.training.job import Job, Journal, read_journal
from store.db import Store
from tests.engine.fakes import FakeModel, run_engine
from tests.engine.training.training_run import InProcess, tiny_model
from tests.store import rows

NOUNS = ("river", "bridge", "castle", "engine", "garden", "harbour", "island", "jacket", "kitchen", "lantern")


def labelled(n: int = 120) -> list[LabelledItem]:
    """Instructions that share few words; the good ones end with Please."""
    return [
        LabelledItem(
            Subject(f"i{at}", f"{NOUNS[at % 10]}{at} {NOUNS[at // 10 % 10]}{at} {'Please' if at % 2 else 'Never'}"),
            "own",
            at % 2 == 1,
            at % 2 == 1,
            True,
        )
        for at in range(n)
    ]


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(adapted, "labelled_items", lambda kind, asked: labelled())
    monkeypatch.setattr(adapted, "read_labelled", lambda *_: [])
    monkeypatch.setattr(adapted, "trainable", lambda weights: True)
    split.cache_clear()
    yield
    split.cache_clear()


class Pretending:
    """Stands in for the training process: reports its steps and leaves an adapter without weights."""

    jobs: list[Job]
    endings: list[dict[str, Any]]  # of the processes to come; those after are good

    pid = 0
    exit_code = 0

    def __init__(self, folder: Path, job: Job, command: Sequence[str], offset: int) -> None:
        self.folder, self.offset = folder, offset
        type(self).jobs.append(job)
        journal = Journal(folder)
        journal.write("loaded")
        ending = self.endings.pop(0) if self.endings else {"kind": "finished", "why": "done", "step": 9}
        if ending["kind"] == "finished":
            aside = folder / adapters.ASIDE
            aside.mkdir(exist_ok=True)
            (aside / "adapter_config.json").write_text(json.dumps({"r": 8}))
            for step in (1, 2):
                journal.write("step", step=step, planned=9, loss=3.0 - step, seconds=0.5)
        journal.write(ending["kind"], **{name: value for name, value in ending.items() if name != "kind"})

    def reports(self) -> Iterator[dict[str, Any]]:
        for offset, report in read_journal(self.folder, self.offset):
            self.offset = offset
            yield report

    def wait_a_little(self) -> None: ...
    def say(self, command: str) -> None: ...
    def kill(self) -> None: ...


@pytest.fixture
def pretending(monkeypatch: pytest.MonkeyPatch) -> type[Pretending]:
    Pretending.jobs, Pretending.endings = [], []
    monkeypatch.setattr(tuning, "Worker", Pretending)
    return Pretending


class Taking(FakeModel):
    """Takes adapters: with one in front it tells good from bad."""

    adaptable = "gemma-3-270m"

    def score(self, requests: Iterable[Score]) -> Iterator[LabelScores]:
        for scored in super().score(requests):
            if self.in_use is not None:
                good = -0.1 if "Please" in scored.request.prompt else -3.0
                scored = LabelScores(scored.request, (good, -1.5), (1, 1))
            yield scored


def one_run(path: Path, monkeypatch: pytest.MonkeyPatch, model: FakeModel, **options: Any) -> tuple[Any, list[Event]]:
    seen: list[Event] = []
    overrides = {"critics.instruction": "[probe]", "critics.sample": "[grade]"}
    how = options if "resume" in options else {"spec": "stage_1_small_model", "overrides": overrides} | options
    opened = run_engine(path, monkeypatch, model, seen.append, until="audit", **how)
    assert opened.outcome is not None
    return opened, seen


def texts(seen: Sequence[Event]) -> list[str]:
    return [str(event.payload()["text"]) for event in seen if event.kind == "Noted"]


@pytest.mark.integration
def test_a_run_without_hidden_states_trains_an_adapter_once_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pretending: type[Pretending]
) -> None:
    from tui.printed.tables import stand_in_facts

    path = tmp_path / "cai.duckdb"
    opened, seen = one_run(path, monkeypatch, Taking())
    assert opened.outcome.state == "done", opened.outcome
    said = "this backend shows no hidden states to probe: instruction critic is adapter"
    assert texts(seen).count(said) == 1 and any("training a critic adapter of instructions" in t for t in texts(seen))
    reader = opened.store.reader()
    run = reader.run(opened.run_id)
    assert run["manifest"]["stand_ins"] == {"instruction": "adapter"}
    told = reader.status(opened.run_id)
    assert told["stand_ins"] == {"instruction": "adapter"}
    said = [line.plain for line in stand_in_facts(told)]
    assert len(said) == 1 and "adapter judges instructions: the backend shows no hidden states" in said[0]
    (row,) = reader.query("SELECT * FROM critic_adapters")
    (audit,) = reader.query("SELECT * FROM audits WHERE critic = 'adapter'")
    assert audit["part"] == "own" and audit["auc"] == 1.0 and audit["may_filter"]
    assert json.loads(audit["detail"])["adapter"] == row["sha256"]
    assert row["slope"] > 0 and json.loads(row["facts"])["n_good"] > 20
    folder = path.parent / row["path"]
    assert folder.parent.parent == tmp_path / "cai.critics" and "labelled texts" in (folder / "README.md").read_text()
    assert checkpoints.tree_sha256(folder) == row["sha256"] and "lora" in (folder / "manifest.json").read_text()
    (job,) = pretending.jobs
    assert job.adapter["rank"] == 8 and job.method == "sft" and job.start_adapter is None
    opened.close()

    again, seen = one_run(path, monkeypatch, Taking(), resume=opened.run_id)
    assert again.outcome.state == "done" and len(pretending.jobs) == 1
    assert not [t for t in texts(seen) if "adapter" in t]
    again.close()

    overrides = {"critics.instruction": "[adapter]", "critics.sample": "[]"}
    other, seen = one_run(path, monkeypatch, Taking(), overrides=overrides, seed=7)
    assert other.outcome.state == "done" and len(pretending.jobs) == 1  # another run of the store finds the fit
    assert other.store.reader().query("SELECT count(*) AS n FROM audits WHERE critic = 'adapter'")[0]["n"] == 2
    other.close()


@pytest.mark.integration
def test_a_stand_in_that_cannot_be_trained_leaves_labels_for_good(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pretending: type[Pretending]
) -> None:
    path = tmp_path / "cai.duckdb"
    pretending.endings = [{"kind": "failed", "cause": "error", "title": "the loss is no number", "hint": ""}]
    opened, seen = one_run(path, monkeypatch, Taking())
    assert opened.outcome.state == "done" and len(pretending.jobs) == 1
    said = "no critic adapter of instructions could be trained: the loss is no number: instruction critic is grade"
    assert texts(seen).count(said) == 1
    reader = opened.store.reader()
    assert reader.run(opened.run_id)["manifest"]["stand_ins"] == {"instruction": "grade"}
    audited = "SELECT DISTINCT critic FROM audits WHERE subject_kind = 'instruction'"
    assert reader.query(audited) == [{"critic": "grade"}]
    opened.close()
    again, seen = one_run(path, monkeypatch, Taking(), resume=opened.run_id)
    assert again.outcome.state == "done" and len(pretending.jobs) == 1 and said not in texts(seen)
    again.close()


@pytest.mark.integration
def test_a_server_that_takes_no_adapter_has_label_critics_and_refuses_one_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pretending: type[Pretending]
) -> None:
    path = tmp_path / "cai.duckdb"
    opened, seen = one_run(path, monkeypatch, FakeModel())
    assert opened.outcome.state == "done" and pretending.jobs == []
    said = "no hidden states to probe, and no critic adapter was trained for it: instruction critic is grade"
    assert sum(said in text for text in texts(seen)) == 1
    assert opened.store.reader().run(opened.run_id)["manifest"]["stand_ins"] == {"instruction": "grade"}
    opened.close()
    went_on, _ = one_run(path, monkeypatch, Taking(), resume=opened.run_id)  # judged as it was begun
    assert went_on.outcome.state == "done" and pretending.jobs == []
    went_on.close()
    overrides = {"critics.instruction": "[adapter]", "critics.sample": "[]"}
    refused, _ = one_run(path, monkeypatch, FakeModel(), overrides=overrides)
    assert refused.outcome.state == "failed" and "takes no adapter that could be trained" in refused.outcome.reason
    assert "--enable-lora" in refused.outcome.reason
    refused.close()


@pytest.fixture
def work(tmp_path: Path) -> Iterator[Callable[[Any], Work]]:
    store = Store.open(tmp_path / "cai.duckdb")
    store.append({"runs": [rows.run(run_id="run-a", model="fake")]})
    begin_session(store, "run-a", "session")

    def make(model: Any) -> Work:
        spec = load_spec("stage_1_small_model", {"critics.instruction": "[adapter]", "critics.sample": "[]"}).settings
        control, seen = Control(), list[Event]()
        answers = Answers(model, store, "session", control)
        return Work("run-a", "session", 0, spec, answers, store, store.reader(), control, seen.append)

    yield make
    store.close()


def test_a_stop_keeps_what_was_trained_and_the_model_stays_closed(
    work: Callable[[Any], Work], monkeypatch: pytest.MonkeyPatch, pretending: type[Pretending]
) -> None:
    model = Taking()
    monkeypatch.setattr("engine.models.registry.load", lambda *_, **__: model)
    one = work(model)
    pretending.endings = [{"kind": "finished", "why": "stopped", "step": 4}]
    with pytest.raises(Interrupted, match="kept at step 4"):
        tune(one)
    assert one.answers.away and one.reader.query("SELECT * FROM critic_adapters") == []
    again = work(model)
    tune(again)
    assert not again.answers.away and len(pretending.jobs) == 2
    tune(again)
    assert len(pretending.jobs) == 2


def test_a_device_that_is_too_small_gets_smaller_batches_and_at_last_a_refusal(
    work: Callable[[Any], Work], monkeypatch: pytest.MonkeyPatch, pretending: type[Pretending]
) -> None:
    model = Taking()
    monkeypatch.setattr("engine.models.registry.load", lambda *_, **__: model)
    full = {"kind": "failed", "cause": "memory", "title": "the device's memory is used up", "hint": ""}
    pretending.endings = [full, full]
    tune(work(model))
    sizes = [job.micro_batch for job in pretending.jobs]
    assert sizes == [sizes[0], sizes[0], sizes[0] // 2]
    assert [job.gradient_checkpointing for job in pretending.jobs] == [False, True, True]
    pretending.endings = [full] * 9
    other = Taking()
    other.fingerprint = "ot" * 8
    with pytest.raises(TrainingError, match="memory is used up") as refused:
        tune(work(other))
    assert "such as grade, or take a larger device" in refused.value.hint and "max_length" not in refused.value.hint


def test_steps_that_were_done_again_after_a_kill_are_counted_once(
    work: Callable[[Any], Work], monkeypatch: pytest.MonkeyPatch, pretending: type[Pretending]
) -> None:
    model = Taking()
    asked: list[int | None] = []

    def load(*_: Any, batch_size: int | None, **__: Any) -> Taking:
        asked.append(batch_size)
        return model

    monkeypatch.setattr("engine.models.registry.load", load)
    one = replace(work(model), batch_size=7)
    folder = tuning.folder_of(one, fit_of(model, "instruction"))
    folder.mkdir(parents=True)
    for step in (1, 2):  # of the process that was killed
        Journal(folder).write("step", step=step, planned=9, loss=9.0, seconds=5.0)
    tune(one)
    ((row,), (line, last)) = (one.reader.query("SELECT * FROM critic_adapters"), metrics_of(one))
    facts = json.loads(row["facts"])
    assert facts["seconds"] == 1.0 and (line["loss"], last["loss"]) == (2.0, 1.0) and facts["last_loss"] == 1.0
    assert asked == [7]  # texts at once, as before


def metrics_of(one: Work) -> list[dict[str, Any]]:
    (file,) = (one.store.path.parent / "cai.critics").rglob("metrics.jsonl")
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_a_stop_hurries_the_model_that_is_there_now(
    work: Callable[[Any], Work], monkeypatch: pytest.MonkeyPatch, pretending: type[Pretending]
) -> None:
    hurried: list[str] = []
    first, second = Taking(), Taking()
    for name, model in (("first", first), ("second", second)):
        monkeypatch.setattr(model, "hurry", lambda name=name: hurried.append(name), raising=False)
    monkeypatch.setattr("engine.models.registry.load", lambda *_, **__: second)
    one = work(first)
    tune(one)
    one.control.stop()
    assert hurried == ["second"]


def test_another_model_after_the_training_is_refused(
    work: Callable[[Any], Work], monkeypatch: pytest.MonkeyPatch, pretending: type[Pretending]
) -> None:
    other = Taking()
    other.fingerprint = "ot" * 8
    monkeypatch.setattr("engine.models.registry.load", lambda *_, **__: other)
    with pytest.raises(ModelError, match="is not the one this run began with"):
        tune(work(Taking()))


@pytest.mark.slow
@pytest.mark.xdist_group("training")
def test_a_tiny_model_learns_the_labels_and_its_margin_moves(
    work: Callable[[Any], Work], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from engine.models import registry

    folder = tiny_model(tmp_path / "tiny")
    louder(folder / "model.safetensors")
    monkeypatch.setenv("CAI_BACKEND", "transformers")
    monkeypatch.setattr(tuning, "Worker", InProcess)
    monkeypatch.setattr(
        adapted, "TRAINING", adapted.TRAINING.model_copy(update={"learning_rate": 0.02, "epochs": 12.0})
    )
    monkeypatch.setattr(tuning, "TRAINING", adapted.TRAINING)
    model = registry.load(str(folder))
    one = work(model)
    one.store.update_run("run-a", model=str(folder))
    fit = fit_of(model, "instruction")
    asks = {Score(tuning.prompt_of(item.item), adapted.LABELS): item.good for item in fit.split.reported["own"]}
    before = gap({found.request: found for found in model.score(asks)}, asks)
    tune(one)
    made = adapted.fitted_adapter(one.answers, "instruction")
    found = {}
    for item in fit.split.reported["own"]:
        (ask,) = made.critic.asks(item.item)
        ((_, scores),) = one.answers.score([ask.request])
        found[Score(ask.request.prompt, adapted.LABELS)] = scores
    after = gap(found, asks)
    assert one.answers.model.in_use is None and made.slope > 0
    assert after > 0.3 > 10 * abs(before), (before, after)  # in nats, of items that it was not trained on
    sides = [[found[ask].logprobs for ask, good in asks.items() if good is side] for side in (True, False)]
    assert (auc(*([good - bad for good, bad in of] for of in sides)) or 0.0) > 0.9
    one.answers.model.close()


def louder(weights: Path) -> None:
    """Scale a tiny model's embeddings, which are its head: as drawn its logits are all nearly 0, whatever is trained."""
    from safetensors.torch import load_file, save_file

    found = load_file(str(weights))
    save_file(
        {name: one * 10 if "embed" in name else one for name, one in found.items()}, str(weights), {"format": "pt"}
    )


def gap(found: dict[Any, LabelScores], good: dict[Score, bool]) -> float:
    """Mean margin of the good ones less that of the bad ones, in nats."""
    margins = {request: scores.logprobs[0] - scores.logprobs[1] for request, scores in found.items()}
    sides = [[margins[request] for request, is_good in good.items() if is_good is side] for side in (True, False)]
    return sum(sides[0]) / len(sides[0]) - sum(sides[1]) / len(sides[1])
