"""Phases side by side: the rows of a run are those of one phase after the other, whenever answers come."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from engine.core.events import Event, PhaseFinished, PhaseStarted
from engine.models.requests import Adapted, Completion, Decoding, Generate, LabelScores, LoraFiles, Score
from engine.phases.flow import APART, Flow, Lane, Tally
from engine.run.engine import Engine
from tests.engine.fakes import Elsewhere, FakeElsewhere, FakeModel, data_rows, run_engine, stopped_after
from tests.engine.phases.test_preferences import OPTIONS as PREFERENCES
from tests.engine.phases.test_preferences import Critical, rows_of

pytestmark = pytest.mark.integration

SETTINGS = {
    "critics.instruction": "[grade]", "critics.sample": "[grade, ended]", "critics.shuffles": "1",
    "critics.audit_items": "8", "instructions.round": "4", "expected_candidates_per_accepted": "1.5",
}  # fmt: skip
ONE, SEVERAL = ({"pilot": 6, "overrides": SETTINGS | {"responses.drafts": n}} for n in ("1", "3"))


class CriticalElsewhere(Elsewhere, Critical):
    pass


def rows_and_end(opened: Engine) -> tuple[Any, ...]:
    assert opened.outcome is not None, opened.error
    found = rows_of(opened), opened.outcome.state, opened.outcome.reason, opened.outcome.accepted
    opened.close()
    return found


@pytest.mark.parametrize("options", [ONE, SEVERAL], ids=["one draft", "several"])
def test_the_rows_are_the_same(tmp_path: Path, monkeypatch: Any, options: dict[str, Any]) -> None:
    model = FakeElsewhere(batch_size=5)
    beside = rows_and_end(run_engine(tmp_path / "b.duckdb", monkeypatch, model, **options))
    assert beside == rows_and_end(run_engine(tmp_path / "a.duckdb", monkeypatch, FakeModel(), **options))
    assert model.most == 2  # texts were written while others were scored


def test_the_rows_are_the_same_as_far_as_pairs(tmp_path: Path, monkeypatch: Any) -> None:
    model = CriticalElsewhere(batch_size=5)
    beside = rows_and_end(run_engine(tmp_path / "b.duckdb", monkeypatch, model, **PREFERENCES))
    assert beside == rows_and_end(run_engine(tmp_path / "a.duckdb", monkeypatch, Critical(), **PREFERENCES))
    assert {row["source"] for row in beside[0]["pairs"]} == {"revision", "best_of", "hard_negative", "boundary"}


@pytest.mark.parametrize("stop_after", [3, 11, 22, 31, 60])
def test_a_run_that_was_stopped_goes_on_to_the_same_rows(tmp_path: Path, monkeypatch: Any, stop_after: int) -> None:
    options = PREFERENCES if stop_after > 30 else ONE
    make = CriticalElsewhere if stop_after > 30 else FakeElsewhere
    whole = run_engine(tmp_path / "whole.duckdb", monkeypatch, make(batch_size=5), **options)
    first, run_id = stopped_after(
        stop_after, tmp_path / "cut.duckdb", monkeypatch, lambda **how: make(batch_size=5, **how), **options
    )
    second = make(batch_size=5)
    resumed = run_engine(tmp_path / "cut.duckdb", monkeypatch, second, resume=run_id)
    assert not set(first.generated) & set(second.generated)
    assert rows_and_end(resumed)[0] == rows_and_end(whole)[0]


PHASES = {"instructions": "instructions", "instruction_judgements": "verdicts", "responses": "samples"}


@pytest.mark.parametrize("until", PHASES)
def test_nothing_is_asked_for_a_phase_that_was_not_asked_for(tmp_path: Path, monkeypatch: Any, until: str) -> None:
    events: list[Event] = []
    model = FakeElsewhere(batch_size=5)
    opened = run_engine(tmp_path / "a.duckdb", monkeypatch, model, events.append, until=until, **ONE)
    assert opened.outcome is not None and opened.outcome.state == "done" and until in opened.outcome.reason
    there = {name for name in PHASES.values() if data_rows(opened)[name]}
    assert there == set(list(PHASES.values())[: list(PHASES).index(until) + 1])
    begun = [event.phase for event in events if isinstance(event, PhaseStarted)]
    assert begun == ["guard", "audit", *list(PHASES)[: list(PHASES).index(until) + 1]]
    opened.close()


def test_phases_begin_before_those_in_front_of_them_end_and_end_in_order(tmp_path: Path, monkeypatch: Any) -> None:
    events: list[Event] = []
    opened = run_engine(tmp_path / "a.duckdb", monkeypatch, FakeElsewhere(batch_size=5), events.append, **ONE)
    told = [event for event in events if isinstance(event, PhaseStarted | PhaseFinished)]
    wave = ["instructions", "instruction_judgements", "responses", "response_judgements"]
    ended = [event.phase for event in told if isinstance(event, PhaseFinished) and event.phase in wave]
    assert ended == wave * (len(ended) // 4)
    places = {(type(event), event.phase): at for at, event in reversed(list(enumerate(told)))}
    assert places[PhaseStarted, "response_judgements"] < places[PhaseFinished, "responses"]
    last = {event.phase: event for event in told if isinstance(event, PhaseFinished)}
    verdicts = data_rows(opened)["verdicts"]
    for phase, kind in (("instruction_judgements", "instruction"), ("response_judgements", "sample")):
        judged = [row["verdict"] for row in verdicts if row["subject_kind"] == kind]
        assert (last[phase].done, last[phase].accepted) == (len(judged), judged.count("accepted"))
    opened.close()


def test_what_phases_took_adds_up_to_the_time_that_passed(tmp_path: Path, monkeypatch: Any) -> None:
    opened = run_engine(tmp_path / "a.duckdb", monkeypatch, FakeElsewhere(batch_size=5), **ONE)
    reader = opened.store.reader()
    took = reader.query("SELECT phase, sum(value) AS s FROM metrics WHERE name = 'elapsed_s' GROUP BY 1")
    assert {row["phase"] for row in took if row["s"] > 0} >= {"instructions", "responses", "response_judgements"}
    assert opened.outcome is not None and sum(row["s"] for row in took) <= opened.outcome.elapsed_s
    opened.close()


def flowing(path: Path, monkeypatch: pytest.MonkeyPatch, model: FakeModel, fill: Callable[[Flow], None]) -> None:
    """Run a flow in the place of a run's waves."""

    def run(self: Any, *_: Any) -> tuple[str, str]:
        flow = Flow(self._work)
        fill(flow)
        flow.run()
        return "done", ""

    monkeypatch.setattr("engine.run.runner.Runner._waves", run)
    opened = run_engine(path, monkeypatch, model, **ONE)
    assert opened.outcome is not None and opened.outcome.state == "done", opened.outcome
    opened.close()


def told_by(
    path: Path, monkeypatch: pytest.MonkeyPatch, model: FakeModel, lanes: dict[str, list[Any]]
) -> list[tuple[str, Any]]:
    """Run lanes of requests, one beside the other; returns what each was told."""
    told: list[tuple[str, Any]] = []

    def fill(flow: Flow) -> None:
        tally = flow.phase("responses", sum(map(len, lanes.values())))
        for name, requests in lanes.items():
            lane = Lane(
                tally, list, lambda batch, name=name: told.extend((name, answer.request) for _, answer in batch)
            )
            lane.put(requests)
            flow.add(lane)

    flowing(path, monkeypatch, model, fill)
    return told


@pytest.mark.parametrize("make", [FakeElsewhere, FakeModel])
def test_a_row_that_needs_no_answer_may_send_the_flow_back(
    tmp_path: Path, monkeypatch: Any, make: type[FakeModel]
) -> None:
    told: list[int] = []

    def fill(flow: Flow) -> None:
        def then(seeds: Sequence[int]) -> None:
            told.extend(seeds)
            second.put(seeds)

        def back(rows: list[int]) -> list[Any]:
            first.put([row + 1 for row in rows if row < 3])
            return []

        tally = flow.phase("responses")
        first = Lane(
            tally,
            lambda rows: [Generate("A text", Decoding(4), row) for row in rows],
            lambda batch: then([answer.request.seed for _, answer in batch]),  # type: ignore[union-attr]
        )
        second = Lane(tally, back, lambda batch: None)
        third = Lane(tally, list, lambda batch: None)
        first.put([1])
        third.put([Generate("Another", Decoding(4), 0)])  # asked last, so that the first lane is looked at first
        flow.add(first, second, third)

    flowing(tmp_path / "a.duckdb", monkeypatch, make(), fill)
    assert told == [1, 2, 3]


def test_a_request_of_several_is_asked_once_and_told_to_each(tmp_path: Path, monkeypatch: Any) -> None:
    model = FakeElsewhere(batch_size=5)
    text, score = Generate("A text", Decoding(4), 1), Score("A text", (" a", " b"))
    told = told_by(tmp_path / "a.duckdb", monkeypatch, model, {name: [text, score, text] for name in "ab"})
    assert {(name, request) for name, request in told} == {(name, one) for name in "ab" for one in (text, score)}
    assert model.generated.count(text) == 1


class Careful(FakeElsewhere):
    """Notes which adapter was in front when something was answered."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.seen: set[tuple[type, bool]] = set()
        self.sizes: list[int] = []  # how many were asked together with one

    def generate(self, requests: Iterable[Generate]) -> Iterator[Completion]:
        for answer in super().generate(requests):
            self.seen.add((Generate, self.in_use is not None))
            yield answer

    def score(self, requests: Iterable[Score]) -> Iterator[LabelScores]:
        asked = list(requests)
        if self.in_use is not None:
            self.sizes.append(len(asked))
        for answer in super().score(asked):
            self.seen.add((Score, self.in_use is not None))
            yield answer


def test_what_needs_an_adapter_in_front_is_asked_apart(tmp_path: Path, monkeypatch: Any) -> None:
    model = Careful(batch_size=5)
    texts = [Generate("A text", Decoding(4), seed) for seed in range(30)]
    adapted = [Adapted(f"A text {n}", LoraFiles(tmp_path, "ab" * 32), (" a", " b")) for n in range(90)]
    told = told_by(tmp_path / "a.duckdb", monkeypatch, model, {"texts": texts, "adapted": adapted})
    assert len(told) == 120 and set(told) == {("texts", one) for one in texts} | {("adapted", one) for one in adapted}
    assert model.seen == {(Generate, False), (Score, False), (Score, True)}  # without one: the guard and the audit
    assert model.in_use is None


def test_what_is_asked_apart_is_taken_in_parts(tmp_path: Path, monkeypatch: Any) -> None:
    model = Careful(batch_size=5)
    adapted = [Adapted(f"A text {n}", LoraFiles(tmp_path, f"{n % 2}" * 64), (" a", " b")) for n in range(4 * APART)]
    told = told_by(tmp_path / "a.duckdb", monkeypatch, model, {"adapted": adapted})
    assert len(told) == 4 * APART and {one for _, one in told} == set(adapted)
    assert sum(model.sizes) == 4 * APART and max(model.sizes) <= APART


def test_requests_that_differ_in_a_hint_are_one(tmp_path: Path, monkeypatch: Any) -> None:
    lanes: dict[str, list[Any]] = {
        name: [Score("A text", (" a", " b"), shared), Generate("A text", Decoding(4), 1, shared)]
        for name, shared in (("a", 0), ("b", 3))
    }
    assert len(told_by(tmp_path / "a.duckdb", monkeypatch, FakeElsewhere(batch_size=5), lanes)) == 4


@pytest.mark.parametrize("make", [FakeElsewhere, FakeModel])
def test_time_before_the_first_request_and_at_the_end_is_counted(
    tmp_path: Path, monkeypatch: Any, make: type[FakeModel]
) -> None:
    found: list[Tally] = []

    def fill(flow: Flow) -> None:
        found.append(flow.phase("responses", at_end=lambda: time.sleep(0.2)))
        time.sleep(0.2)
        flow.add(Lane(found[0], list, lambda batch: None))

    flowing(tmp_path / "a.duckdb", monkeypatch, make(), fill)
    assert found[0].seconds >= 0.4
