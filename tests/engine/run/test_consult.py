"""A run that asks for reviews by itself: it goes on, waits, is changed, and stops at its budget."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import engine.models.registry
from engine.budget.ledger import raise_cap, spent
from engine.core.events import Event
from engine.review.options import ReviewOptions
from engine.review.verify import verify
from engine.run.engine import Engine, open_engine
from store.db import Store
from tests.engine.fakes import FakeModel, order_of

pytestmark = pytest.mark.integration

SPEC = "stage_1_small_model"
OPTIONS: dict[str, Any] = {"spec": SPEC, "pilot": 6, "target": 14, "seed": 5}
LOOSE = {
    "gate.runaway_below": "1.0", "gate.token_limit_below": "1.0", "gate.median_tokens_below": "400",
    "gate.instruction_acceptance_at_least": "0.0", "gate.pair_acceptance_at_least": "0.0",
    "gate.distinct_at_least": "0.0", "expected_candidates_per_accepted": "1.5",
}  # fmt: skip


def run(
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
    review: ReviewOptions,
    ask: str = "[pilot]",
    on_event: Callable[[Engine, Event], None] = lambda engine, event: None,
    **options: Any,
) -> tuple[Engine, list[Event]]:
    """Run to its end, a new run or one that is resumed; its store is closed."""
    monkeypatch.setattr(engine.models.registry, "load", lambda *_, **__: FakeModel())
    seen: list[Event] = []

    def emit(event: Event) -> None:
        seen.append(event)
        if event.kind == "QuestionAsked":  # a screen answers from a thread of its own
            threading.Thread(target=on_event, args=(opened, event)).start()
        else:
            on_event(opened, event)

    if "resume" not in options:
        options = OPTIONS | {"overrides": LOOSE | {"review.ask": ask} | options.pop("changed", {})} | options
    opened = open_engine(order_of(path, review=review, **options), emit)
    opened.start()
    assert opened.join(90)
    opened.close()
    if opened.error is not None:
        raise opened.error
    return opened, seen


def query(path: Path, sql: str) -> list[dict[str, Any]]:
    with Store.open(path, read_only=True) as store, store.reader() as reader:
        return reader.query(sql)


def verified(path: Path, run_id: str) -> list[str]:
    with Store.open(path) as store, store.reader() as reader:
        return verify(reader, run_id, path.parent / f"{path.stem}.reviews" / run_id)


def test_an_approved_pilot_scales_and_the_decision_is_kept(tmp_path: Path, monkeypatch: Any) -> None:
    path = tmp_path / "a.duckdb"
    opened, _ = run(path, monkeypatch, ReviewOptions(reviewer="policy", policy={"pilot": True}))
    assert opened.outcome is not None and opened.outcome.state == "done" and opened.outcome.accepted >= 14
    (decision,) = query(path, "SELECT topic, answer, decided_by FROM decisions")
    assert (decision["topic"], decision["answer"], decision["decided_by"]) == ("pilot", "proceed", "policy")
    assert verified(path, opened.run_id) == []
    sent = query(path, "SELECT body->>'$.prompt' AS p FROM review_entries WHERE kind = 'request'")[0]["p"]
    assert "pilot" in sent and "Sample 1 of " in sent and "nats" in sent
    assert "Forecast from the pilot" in sent and "budget left: $300.00" in sent and "one accepted example: " in sent


def test_with_nobody_there_the_run_waits_and_goes_on_once_it_is_answered(tmp_path: Path, monkeypatch: Any) -> None:
    path = tmp_path / "a.duckdb"
    opened, _ = run(path, monkeypatch, ReviewOptions())
    assert opened.outcome is not None and opened.outcome.state == "waiting"
    assert "cai review answer" in opened.outcome.reason and 6 <= opened.outcome.accepted < 14
    again, _ = run(path, monkeypatch, ReviewOptions(), resume=opened.run_id)
    assert again.outcome is not None and again.outcome.state == "waiting", "asked once, still open"
    assert len(query(path, "SELECT 1 FROM review_entries WHERE kind = 'request'")) == 1
    from engine.core.control import Control
    from engine.review.consultant import reviewer_of
    from engine.review.desk import Desk
    from engine.review.listing import reviews

    with Store.open(path) as store:
        desk = Desk(store, opened.run_id, reviewer_of(ReviewOptions(), Control(), lambda event: None))
        desk.answer(reviews(store.reader(), opened.run_id)[0]["review_id"], "approve", "the samples read well")
    done, _ = run(path, monkeypatch, ReviewOptions(), resume=opened.run_id)
    assert done.outcome is not None and done.outcome.state == "done"
    assert verified(path, opened.run_id) == []


def test_a_run_that_was_scaled_keeps_its_pilot_as_it_was_decided(tmp_path: Path, monkeypatch: Any) -> None:
    """Stopped in the first list of instructions behind the pilot, whose rows would change the pilot's figures."""
    path, policy, gates = tmp_path / "a.duckdb", ReviewOptions(reviewer="policy", policy={"pilot": True}), []

    def stop(opened: Engine, event: Event) -> None:
        if event.kind == "GateDecided":
            gates.append(event)
        elif gates and event.kind == "PhaseFinished" and event.payload()["phase"] == "instructions":
            opened.stop()

    opened, _ = run(path, monkeypatch, policy, on_event=stop)
    assert opened.outcome is not None and opened.outcome.state == "stopped"
    asked = "SELECT gate, check_name, measured, n, subject_ids, decided_at FROM gates WHERE gate = 'pilot' ORDER BY ALL"
    before = query(path, asked)
    assert before
    again, _ = run(path, monkeypatch, ReviewOptions(), resume=opened.run_id)  # nobody is there to be asked
    assert again.outcome is not None and again.outcome.state == "done"
    assert query(path, asked) == before
    assert len(query(path, "SELECT 1 FROM decisions")) == 1


def test_a_person_answers_at_the_screen(tmp_path: Path, monkeypatch: Any) -> None:
    def approve(opened: Engine, event: Event) -> None:
        if event.kind == "QuestionAsked":
            assert opened.answer(event.payload()["question_id"], "approve", "looks fine")

    opened, seen = run(tmp_path / "a.duckdb", monkeypatch, ReviewOptions(present=True), on_event=approve)
    assert opened.outcome is not None and opened.outcome.state == "done"
    kinds = [event.kind for event in seen]
    assert kinds.index("QuestionAsked") < kinds.index("QuestionAnswered")


def test_a_rejected_pilot_waits_for_an_override(tmp_path: Path, monkeypatch: Any) -> None:
    path = tmp_path / "a.duckdb"

    def reject(opened: Engine, event: Event) -> None:
        if event.kind == "QuestionAsked":
            opened.answer(event.payload()["question_id"], "reject", "too many loops")

    opened, _ = run(path, monkeypatch, ReviewOptions(present=True), on_event=reject)
    assert opened.outcome is not None and opened.outcome.state == "waiting"
    assert "too many loops" in opened.outcome.reason and "override" in opened.outcome.reason
    again, seen = run(path, monkeypatch, ReviewOptions(present=True), on_event=reject, resume=opened.run_id)
    assert again.outcome is not None and again.outcome.state == "waiting"
    assert all(event.kind != "QuestionAsked" for event in seen), "it has its answer on this evidence"


@pytest.mark.parametrize(
    ("name", "was", "now"), [("responses.temperature", 0.7, 0.6), ("instructions.temperature", 1.0, 0.9)]
)
def test_changed_settings_are_the_runs_own_and_asked_about_anew(
    name: str, was: float, now: float, tmp_path: Path, monkeypatch: Any
) -> None:
    path = tmp_path / "a.duckdb"
    answers = iter([f"modify {name}={now}", "approve"])

    def modify(opened: Engine, event: Event) -> None:
        if event.kind == "QuestionAsked":
            opened.answer(event.payload()["question_id"], next(answers), "said on the screen")

    opened, seen = run(path, monkeypatch, ReviewOptions(present=True), on_event=modify)
    assert opened.outcome is not None and opened.outcome.state == "done"
    assert sum(event.kind == "QuestionAsked" for event in seen) == 2
    (row,) = query(path, f"SELECT settings->>'$.{name}' AS t, overrides FROM runs")
    assert float(row["t"]) == now and f'"{name}": [{was}, {now}]' in row["overrides"]


def test_deviations_from_the_spec_are_asked_about_first(tmp_path: Path, monkeypatch: Any) -> None:
    path = tmp_path / "a.duckdb"
    opened, _ = run(path, monkeypatch, ReviewOptions(), ask="[override]")
    assert opened.outcome is not None and opened.outcome.state == "waiting"
    assert not query(path, "SELECT 1 FROM completions"), "nothing was generated before"


def test_at_the_cap_a_run_stops_cleanly_and_only_a_person_raises_it(tmp_path: Path, monkeypatch: Any) -> None:
    path = tmp_path / "a.duckdb"
    monkeypatch.setattr("engine.budget.spending.EVERY_S", 0.0)
    monkeypatch.setattr("engine.budget.spending.WRITE_EVERY_S", 0.02)
    costs = {"price_per_gpu_hour": 3600.0}  # a dollar a second, and a slice of sixty is set aside
    changed = {"budget.cap_usd": "60.5"}
    opened, seen = run(path, monkeypatch, ReviewOptions(), ask="[]", changed=changed, **costs)
    assert opened.outcome is not None and opened.outcome.state == "budget_reached", opened.outcome
    assert any("of the budget" in str(event.payload().get("text")) for event in seen if event.kind == "Noted")
    with Store.open(path) as store:
        paid = spent(store.reader())
        assert paid.all.reserved == 0 and 0 < paid.all.settled < 60_000_000, "what was reserved is given back"
    held, _ = run(path, monkeypatch, ReviewOptions(), resume=opened.run_id, **costs)
    assert held.outcome is not None and held.outcome.state == "budget_reached"
    with Store.open(path) as store:
        raise_cap(store, opened.run_id, 5000.0, "it is worth it", "person")
    done, _ = run(path, monkeypatch, ReviewOptions(), resume=opened.run_id, **costs)
    assert done.outcome is not None and done.outcome.state == "done"


def test_what_was_approved_is_not_asked_again_once_the_run_has_gone_on(tmp_path: Path, monkeypatch: Any) -> None:
    """The pilot is approved, the run is stopped while it scales, and goes on without a second question."""
    path = tmp_path / "a.duckdb"
    answered: list[str] = []

    def approve_then_stop(opened: Engine, event: Event) -> None:
        if event.kind == "QuestionAsked":
            answered.append(event.payload()["topic"])
            opened.answer(event.payload()["question_id"], "approve", "fine")
        if answered[-1:] == ["pilot"] and event.kind == "PhaseFinished" and event.payload()["phase"] == "responses":
            opened.stop()

    ask = "[override, pilot]"
    opened, _ = run(path, monkeypatch, ReviewOptions(present=True), ask, approve_then_stop)
    assert opened.outcome is not None and opened.outcome.state == "stopped" and answered == ["override", "pilot"]
    done, seen = run(path, monkeypatch, ReviewOptions(), resume=opened.run_id)
    assert done.outcome is not None and done.outcome.state == "done", done.outcome
    assert all(event.kind != "QuestionAsked" for event in seen)
