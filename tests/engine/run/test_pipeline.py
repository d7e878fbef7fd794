"""The whole stage with a fake model: identity, order, interruption and what a gate says."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from engine.analyses.offers import recheck
from engine.core.errors import ModelUnknown, NothingParsed, SpecError
from engine.core.events import Event
from engine.models.requests import Completion, Generate
from engine.run.engine import Engine, open_engine
from engine.run.orders import NewRun
from store.db import Store
from tests.engine.fakes import FakeModel, data_rows, run_engine

pytestmark = pytest.mark.integration

SETTINGS = {
    "critics.instruction": "[grade]", "critics.sample": "[grade, ended]", "instructions.round": "4",
    "responses.drafts": "1", "expected_candidates_per_accepted": "1.5",
}  # fmt: skip


@pytest.fixture
def options() -> dict[str, object]:
    return {"pilot": 6, "overrides": SETTINGS}


def test_a_pilot_reaches_its_target_and_decides_its_gate(tmp_path, monkeypatch, options):
    events: list[Event] = []
    opened = run_engine(tmp_path / "a.duckdb", monkeypatch, FakeModel(), events.append, **options)
    assert opened.outcome is not None and opened.outcome.accepted >= 6, opened.error
    reader = opened.store.reader()
    gates = reader.gates(opened.run_id)
    assert {row["check_name"] for row in gates} >= {"runaway share", "marker leaks", "guard passed"}
    kinds = [event.kind for event in events]
    assert kinds[0] == "RunStarted" and kinds[-1] == "RunFinished"
    opened.close()


def test_the_file_alone_is_complete_at_the_end_of_each_phase_and_of_the_run(tmp_path, monkeypatch, options):
    path, events, asked = tmp_path / "a.duckdb", [""], []
    merge_soon = Store.merge_soon
    monkeypatch.setattr(Store, "merge_soon", lambda store: (asked.append(events[-1]), merge_soon(store)))
    opened = run_engine(path, monkeypatch, FakeModel(), lambda event: events.append(event.kind), **options)
    assert len(asked) == events.count("PhaseFinished") + 1
    until = time.monotonic() + 30
    while path.with_name("a.duckdb.wal").exists():  # the run has ended, and the program is still open
        assert time.monotonic() < until
        time.sleep(0.01)
    opened.close()


def test_the_same_seed_gives_the_same_rows_whatever_the_batch(tmp_path, monkeypatch, options):
    one = run_engine(tmp_path / "a.duckdb", monkeypatch, FakeModel(batch_size=1), **options)
    many = run_engine(tmp_path / "b.duckdb", monkeypatch, FakeModel(batch_size=7), **options)
    assert data_rows(one) == data_rows(many)
    one.close(), many.close()


def test_another_seed_gives_other_instructions(tmp_path, monkeypatch, options):
    one = run_engine(tmp_path / "a.duckdb", monkeypatch, FakeModel(), **options)
    other = run_engine(tmp_path / "b.duckdb", monkeypatch, FakeModel(), seed=7, **options)
    texts = [{row["text"] for row in data_rows(opened)["instructions"]} for opened in (one, other)]
    assert texts[0] != texts[1]
    one.close(), other.close()


@pytest.mark.parametrize("stop_after", [1, 9, 17, 26, 33])
def test_a_stopped_run_resumes_to_the_same_rows_and_pays_for_nothing_twice(tmp_path, monkeypatch, options, stop_after):
    whole = run_engine(tmp_path / "whole.duckdb", monkeypatch, FakeModel(), **options)
    wanted = data_rows(whole)
    whole.close()

    box = []
    first = FakeModel(on_answer=lambda n: box[0].stop() if n == stop_after else None)
    monkeypatch.setattr("engine.models.registry.load", lambda *_, **__: first)
    stopped = open_engine(NewRun(tmp_path / "cut.duckdb", **options), lambda e: None)
    box.append(stopped)
    stopped.start()
    assert stopped.join(60)
    assert stopped.outcome is not None and stopped.outcome.state == "stopped"
    stopped.close()

    second = FakeModel()
    resumed = run_engine(tmp_path / "cut.duckdb", monkeypatch, second, resume=stopped.run_id)
    assert data_rows(resumed) == wanted
    assert not set(first.generated) & set(second.generated)
    resumed.close()


# One round of lists brings some sixty instructions, of which the first wave takes twenty.
MANY = {"instructions.round": "16", "instructions.duplicate_at": "0.95", "instructions.cluster_at": "0.95"}
WIDE = {"pilot": 20, "overrides": SETTINGS | MANY | {"expected_candidates_per_accepted": "1.0"}}


def judged(opened: Engine) -> tuple[list[str], list[str], list[str]]:
    """Ids of the distinct instructions in their order, of those that have a verdict, and of those that were answered."""
    rows = data_rows(opened)
    distinct = [row["instruction_id"] for row in rows["instructions"] if row["status"] == "distinct"]
    verdicts = {row["subject_id"] for row in rows["verdicts"] if row["subject_kind"] == "instruction"}
    answered = {row["instruction_id"] for row in rows["samples"]}
    return distinct, [name for name in distinct if name in verdicts], [name for name in distinct if name in answered]


def test_only_as_many_instructions_of_a_round_are_judged_and_answered_as_the_goal_needs(tmp_path, monkeypatch):
    opened = run_engine(tmp_path / "a.duckdb", monkeypatch, FakeModel(), **WIDE)
    distinct, taken, answered = judged(opened)
    assert opened.outcome is not None and 20 <= opened.outcome.accepted <= 23
    assert len(distinct) == 64 and 20 < len(taken) < 30 and answered == taken
    assert taken == distinct[: len(taken)]  # the rest wait, in their order
    opened.close()


def test_what_waits_is_taken_before_more_is_written(tmp_path, monkeypatch):
    model = FakeModel()
    opened = run_engine(tmp_path / "a.duckdb", monkeypatch, model, **WIDE | {"target": 34})
    distinct, taken, _ = judged(opened)
    lists = [request for request in model.generated if "numbered list" in request.prompt]
    assert opened.outcome is not None and opened.outcome.accepted >= 34
    assert len(lists) == 16 and 40 < len(taken) < 60 and taken == distinct[: len(taken)]
    opened.close()


@pytest.mark.parametrize("share", [0.6, 0.8, 0.95])
def test_waves_within_a_round_are_the_same_after_a_stop(tmp_path, monkeypatch, share):
    options = WIDE | {"target": 34}
    model = FakeModel()
    whole = run_engine(tmp_path / "whole.duckdb", monkeypatch, model, **options)
    wanted, stop_after = data_rows(whole), int(share * len(model.generated))
    whole.close()
    box = []
    first = FakeModel(on_answer=lambda n: box[0].stop() if n == stop_after else None)
    monkeypatch.setattr("engine.models.registry.load", lambda *_, **__: first)
    box.append(open_engine(NewRun(tmp_path / "cut.duckdb", **options), lambda e: None))
    box[0].start()
    assert box[0].join(60) and box[0].outcome.state == "stopped"
    box[0].close()
    resumed = run_engine(tmp_path / "cut.duckdb", monkeypatch, FakeModel(), resume=box[0].run_id)
    assert data_rows(resumed) == wanted
    resumed.close()


def test_a_model_that_writes_nothing_useful_ends_in_a_clear_error(tmp_path, monkeypatch, options):
    class Silent(FakeModel):
        def _answer(self, request: Generate) -> Completion:
            return Completion(request, "", (1,), 5, "eos", None)

    opened = run_engine(
        tmp_path / "a.duckdb",
        monkeypatch,
        Silent(),
        **options | {"overrides": SETTINGS | {"guard.max_empty_rate": "1.0"}},
    )
    assert isinstance(opened.error, NothingParsed)
    assert opened.outcome is not None and opened.outcome.state == "failed" and "kept" in opened.outcome.reason
    opened.close()


def test_a_model_that_ends_like_an_assistant_is_refused(tmp_path, monkeypatch, options):
    class Assistant(FakeModel):
        def _answer(self, request: Generate) -> Completion:
            return Completion(request, " Certainly, here it is.", (1, 2), 5, "eos", None)

    opened = run_engine(tmp_path / "a.duckdb", monkeypatch, Assistant(), **options)
    assert opened.outcome is not None and opened.outcome.state == "gate_failed"
    assert data_rows(opened)["instructions"] == []
    opened.close()


def test_recheck_under_other_thresholds_changes_verdicts_and_generates_nothing(tmp_path, monkeypatch, options):
    model = FakeModel()
    opened = run_engine(tmp_path / "a.duckdb", monkeypatch, model, **options)
    calls = len(model.generated)
    before = data_rows(opened)
    found = recheck(
        opened.store.reader(), opened.run_id, {"rules.repeated_trigrams": "1.0", "gate.runaway_below": "0.0"}
    )
    stored = {row["subject_id"]: row["verdict"] for row in before["verdicts"] if row["subject_kind"] == "sample"}
    assert found["before"]["counts"]["sample"]["accepted"] == list(stored.values()).count("accepted")
    assert not found["after"]["passed"]
    assert data_rows(opened) == before and len(model.generated) == calls
    opened.close()


def test_wrong_input_is_found_before_a_store_is_made(tmp_path):
    store = tmp_path / "none.duckdb"
    with pytest.raises(ModelUnknown):
        open_engine(NewRun(store, model="./nowhere"), lambda e: None)
    with pytest.raises(SpecError, match="instructions.temperature"):
        open_engine(NewRun(store, overrides={"instructions.temprature": "1"}), lambda e: None)
    with pytest.raises(SpecError, match="no phase"):
        open_engine(NewRun(store, until="dinner"), lambda e: None)
    assert not Path(store).exists()
