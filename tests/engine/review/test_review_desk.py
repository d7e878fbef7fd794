"""Who is asked, what an answer does, and what is recorded of it."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from engine.core.errors import Interrupted, ReviewError
from engine.review.door import open_desk, request_codex_review
from engine.review.reviewers import PolicyReviewer
from engine.review.state import modify
from store.db import Store
from tests.engine.review.review_desk import KEY, QUESTION, RUN, Person, decided, desk, kinds, model, new_store
from tests.engine.review.review_server import cut_off, fields, good, refused, says, serving, slow, status


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return new_store(tmp_path / "cai.duckdb")


def test_a_reviewers_yes_lets_the_run_go_on_and_is_recorded(path: Path) -> None:
    with serving(good()) as server, desk(path, model(server)) as opened:
        found = request_codex_review("pilot", QUESTION, "figures", desk=opened)
        assert found.approval and found.outcome is not None and found.outcome.proceed
        assert found.outcome.by == "reviewer" and found.reviewer == "gpt-5"
        assert kinds(opened) == ["request", "response", "decision"]
        [row] = decided(opened.store)
        assert (row["topic"], row["answer"], row["decided_by"]) == ("pilot", "proceed", "reviewer")
        files = sorted(file.name for file in opened.trail.folder.glob("*.md"))
        assert len(files) == 2 and files[0].endswith("_pilot_request.md") and files[1].endswith("_pilot_response.md")
        assert opened.trail.folder == path.parent / "cai.reviews" / RUN


def test_an_equal_question_is_answered_from_the_store_and_another_is_asked(path: Path) -> None:
    with serving(good(), good(approval="No")) as server:
        with desk(path, model(server)) as opened:
            assert opened.review("pilot", QUESTION, "figures").approval
            assert opened.review("pilot", QUESTION, "figures").approval
        with desk(path, model(server)) as opened:
            assert opened.review("pilot", QUESTION, "figures").approval
            assert len(server.requests) == 1
            assert not opened.review("pilot", QUESTION, "other figures").approval
            assert len(server.requests) == 2


def test_a_reviewers_no_waits_where_nobody_is_there(path: Path) -> None:
    with serving(good(approval="No"), good()) as server:
        for _ in range(2):
            with desk(path, model(server)) as opened:
                found = opened.review("pilot", QUESTION, "figures")
                assert found.outcome is not None and found.outcome.state == "waiting" and not found.outcome.proceed
                assert decided(opened.store) == []
        assert len(server.requests) == 1


def test_only_an_override_with_a_reason_goes_on_after_a_no(path: Path) -> None:
    person = Person(("approve", ""), ("override", " "), ("sure", ""), ("override", "The interval is narrow enough."))
    with serving(good(approval="No")) as server, desk(path, model(server), person) as opened:
        found = opened.review("pilot", QUESTION, "figures")
        assert not found.approval and found.outcome is not None
        assert (found.outcome.proceed, found.outcome.by) == (True, "person")
        assert found.outcome.reason == "The interval is narrow enough."
        assert len(person.asked) == 4 and len({event.question_id for event in person.asked}) == 4


@pytest.mark.parametrize(
    "script",
    [
        [says("Yes, go on."), says("## Approval\nYes")],
        [says(fields(approval="Yes, but")), says(fields(approval="Conditional"))],
        [says(fields(risks=None)), says(fields(extra="x"))],
        [says(fields(reasoning=" ".join(["word"] * 500))), says(fields(risks=" "))],
        [refused, cut_off],
        [says("```json\n" + fields() + "\n```"), says(fields()[:-1] + ', "approval": "Yes"}')],
    ],
)
@pytest.mark.parametrize("api", ["responses", "chat"])
def test_what_is_no_answer_is_asked_for_once_more_and_goes_to_a_person(path: Path, script: list, api: str) -> None:
    with serving(*script, good()) as server:
        with desk(path, model(server, api=api)) as opened:
            found = opened.review("pilot", QUESTION, "figures")
            assert found.outcome is not None and found.outcome.state == "waiting" and found.reviewer == "nobody"
        assert len(server.requests) == 2
        sent = server.requests[1]["body"]["input" if api == "responses" else "messages"]
        assert "That is no answer: " in sent[-1]["content"]
        with desk(path, model(server, api=api), Person(("approve", "I looked at them."))) as opened:
            found = opened.review("pilot", QUESTION, "figures")
            assert found.outcome is not None and found.outcome.proceed and found.outcome.by == "person"
        assert len(server.requests) == 2


def test_a_second_answer_in_form_counts(path: Path) -> None:
    with serving(says("hm"), good()) as server, desk(path, model(server)) as opened:
        assert opened.review("pilot", QUESTION, "figures").outcome.proceed
        assert kinds(opened) == ["request", "response", "request", "response", "decision"]


def test_a_server_that_fails_leaves_the_question_to_a_person_and_is_tried_again_on_resume(path: Path) -> None:
    with serving(*[status(500)] * 4, good()) as server:
        with desk(path, model(server)) as opened:
            assert opened.review("pilot", QUESTION, "figures").outcome.state == "waiting"
            assert opened.review("pilot", QUESTION, "figures").outcome.state == "waiting"
            assert kinds(opened) == ["request", "failure", "failure", "failure", "failure", "request"]
        assert len(server.requests) == 4
        with desk(path, model(server)) as opened:
            assert opened.review("pilot", QUESTION, "figures").outcome.by == "reviewer"


def test_a_person_modifies_rejects_and_overrides_the_rejection(path: Path) -> None:
    person = Person(
        ("modify instructions.temperatur=0.9", ""), (modify({"instructions.temperature": "0.9"}), "Cooler.")
    )
    with desk(path, person=person) as opened:
        found = opened.review("pilot", QUESTION, "figures")
        assert found.outcome.state == "modified" and found.outcome.changes == {"instructions.temperature": "0.9"}
        assert not found.outcome.proceed and not found.approval
    with desk(path, person=Person(("reject", "No."))) as opened:
        found = opened.review("sft", QUESTION, "figures")
        assert found.outcome.state == "rejected"
        with pytest.raises(ReviewError, match="has its answer"):
            opened.answer(found.outcome.review_id, "approve", "")
        assert opened.answer(found.outcome.review_id, "override", "It was a slip.").proceed
        assert opened.review("sft", QUESTION, "figures").outcome.proceed
        with pytest.raises(ReviewError, match="has its answer"):
            opened.answer(found.outcome.review_id, "override", "Again.")


def test_a_follow_up_goes_to_the_reviewer_and_its_new_answer_counts(path: Path) -> None:
    person = Person(("ask", "And with 200 samples?"), ("approve", ""))
    with serving(good(approval="No"), good()) as server, desk(path, model(server), person) as opened:
        found = opened.review("pilot", QUESTION, "figures")
        assert found.approval and found.outcome.by == "person" and found.outcome.proceed
        roles = [turn["role"] for turn in server.requests[1]["body"]["input"]]
        assert roles == ["user", "assistant", "user"]
        assert "And with 200 samples?" in server.requests[1]["body"]["input"][-1]["content"]


def test_with_confirm_a_person_is_asked_in_any_case(path: Path) -> None:
    person = Person(("approve", ""))
    with serving(good()) as server, desk(path, model(server), person, confirm=True) as opened:
        found = opened.review("pilot", QUESTION, "figures")
        assert found.approval and found.outcome.by == "person" and len(person.asked) == 1


def test_a_question_left_waiting_is_answered_later(path: Path) -> None:
    with serving(good(approval="No")) as server, desk(path, model(server)) as opened:
        review_id = opened.review("pilot", QUESTION, "figures").outcome.review_id
    with desk(path) as opened:
        with pytest.raises(ReviewError, match="the reviewer said No"):
            opened.answer(review_id[:6], "approve", "")
        with pytest.raises(ReviewError, match="no review"):
            opened.answer("zz", "override", "x")
        assert opened.answer(review_id[:6], "override", "Known and wanted.").proceed
        assert opened.review("pilot", QUESTION, "figures").outcome.by == "person"


def test_a_policy_answers_a_dry_run_and_nobody_else_goes_by_it(path: Path) -> None:
    with desk(path, PolicyReviewer({"pilot": True})) as opened:
        assert opened.review("pilot", QUESTION, "figures").outcome.by == "policy"
        assert opened.review("pilot", QUESTION, "figures").outcome.proceed
        assert opened.review("sft", QUESTION, "figures").outcome.state == "waiting"
    with serving(good(approval="No")) as server, desk(path, model(server)) as opened:
        assert opened.review("pilot", QUESTION, "figures").outcome.state == "waiting"
        assert len(server.requests) == 1


def test_a_stop_while_a_person_is_asked_ends_the_run_and_the_question_is_asked_again(path: Path) -> None:
    with desk(path, person=Person()) as opened, pytest.raises(Interrupted):
        opened.review("pilot", QUESTION, "figures")
    with desk(path, person=Person(("approve", ""))) as opened:
        assert opened.review("pilot", QUESTION, "figures").outcome.proceed
        assert kinds(opened) == ["request", "response", "decision"]


def test_scripts_find_the_desk_that_is_open(path: Path) -> None:
    with pytest.raises(ReviewError, match="no desk is open"):
        request_codex_review("pilot", QUESTION, "figures")
    with open_desk(path, RUN, PolicyReviewer({"*": True})):
        assert request_codex_review("pilot", QUESTION, {"figures": [1, 2]}).outcome.proceed
    with Store.open(path) as store:
        assert len(decided(store)) == 1
    assert KEY not in path.read_bytes().decode("latin-1")


def test_a_follow_up_that_was_interrupted_is_sent_again_and_a_person_still_decides(path: Path) -> None:
    person = Person(("ask", "And with 200 samples?"))
    with serving(good(approval="No"), slow(30), good()) as server:
        with desk(path, model(server), person) as opened:
            opened.reviewer.first._stopped = lambda: len(server.requests) > 1
            with pytest.raises(Interrupted):
                opened.review("pilot", QUESTION, "figures")
        with desk(path, model(server), Person(("approve", ""))) as opened:
            found = opened.review("pilot", QUESTION, "figures")
            assert found.approval and found.outcome.by == "person"
            assert kinds(opened).count("request") == 4 and len(server.requests) == 3
            assert server.requests[1]["body"] == server.requests[2]["body"]


def test_an_answer_is_refused_while_a_run_waits_for_it_elsewhere(path: Path) -> None:
    with serving(slow(3)) as server, desk(path, model(server)) as opened:
        thread = threading.Thread(target=opened.review, args=("pilot", QUESTION, "figures"))
        thread.start()
        while not opened.trail.entries():
            time.sleep(0.01)
        with pytest.raises(ReviewError, match="a run waits"):
            opened.answer(opened.trail.entries()[0].review_id, "reject", "")
        thread.join()
