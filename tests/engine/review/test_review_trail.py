"""The record: what tampering shows, what an approval is bound to, and kills between asking and recording."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb
import pytest

from engine.core.errors import ReviewError
from engine.review.listing import current_approval, reviews
from engine.review.prompt import Context, Section, evidence_sha256
from engine.review.reviewers import PolicyReviewer
from engine.review.state import decision_fields, decision_id
from engine.review.trail import Case, Trail, TrailEntry, entries
from store.db import Store
from tests.engine.review import review_kill
from tests.engine.review.review_desk import (
    QUESTION,
    RUN,
    Clock,
    Person,
    decided,
    desk,
    kinds,
    model,
    new_store,
    problems,
)
from tests.engine.review.review_server import fields, good, says, serving, slow

EVIDENCE = {"spec": {"a": 1}, "data": ["d", 3], "figures": [0.1, 0.2], "code": "c"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return new_store(tmp_path / "cai.duckdb")


def context(**changed: object) -> Context:
    return Context((Section("figures", "0.1"),), EVIDENCE | changed)


def filled(path: Path) -> Path:
    """Three reviews: a person's override of a No, a reviewer's Yes after an answer that was none, one that waits."""
    with serving(good(approval="No"), says("hm"), good(), good(approval="No")) as server:
        with desk(path, model(server), Person(("override", "Known."))) as opened:
            opened.review("pilot", QUESTION, context())
        with desk(path, model(server)) as opened:
            opened.review("sft", QUESTION, context())
            opened.review("dpo", QUESTION, context())
    return path


def test_a_record_that_nobody_touched_is_sound_and_has_no_gap(path: Path) -> None:
    with Store.open(filled(path)) as store, store.reader() as reader:
        assert problems(store) == []
        found = entries(reader, RUN)
        assert [entry.seq for entry in found] == list(range(1, len(found) + 1))
        assert found[0].previous_sha256 == RUN
        states = {row["topic"]: (row["state"], row["by"]) for row in reviews(reader, RUN)}
        assert states == {"pilot": ("proceed", "person"), "sft": ("proceed", "reviewer"), "dpo": ("waiting", "nobody")}
        [waiting] = [row for row in reviews(reader, RUN) if row["state"] == "waiting"]
        assert waiting["question_id"] and waiting["review"]["approval"] == "No" and waiting["reviewer"] == "gpt-5"


SQL = {
    "an approval turned round": "UPDATE review_entries SET approval = 'yes' WHERE kind = 'response' AND approval = 'no'",
    "a field of an answer": "UPDATE review_entries SET body = replace(body, 'small', 'large')::JSON WHERE seq = 2",
    "a blank in a body": "UPDATE review_entries SET body = replace(body, ': ', ':  ')::JSON WHERE seq = 2",
    "a time": 'UPDATE review_entries SET "at" = "at" + INTERVAL 1 second WHERE seq = 3',
    "who": "UPDATE review_entries SET who = 'gpt-6' WHERE seq = 2",
    "a path": "UPDATE review_entries SET path = NULL WHERE seq = 2",
    "a row in the middle": "DELETE FROM review_entries WHERE seq = 3",
    "the first row": "DELETE FROM review_entries WHERE seq = 1",
    "the last row": "DELETE FROM review_entries WHERE seq = (SELECT max(seq) FROM review_entries)",
    "all rows": "DELETE FROM review_entries",
    "the order": "UPDATE review_entries SET seq = CASE seq WHEN 2 THEN 102 WHEN 3 THEN 2 ELSE 3 END WHERE seq IN (2, 3)",
    "a decision's row": "UPDATE decisions SET answer = 'rejected'",
    "a decision's reason": "UPDATE decisions SET reason = 'because'",
    "a decision gone": "DELETE FROM decisions",
    "a decision more": "INSERT INTO decisions SELECT * REPLACE ('review-00099' AS decision_id) FROM decisions LIMIT 1",
    "evidence": "UPDATE review_entries SET evidence_sha256 = repeat('a', 64) WHERE seq = 1",
}


@pytest.mark.parametrize("what", SQL)
def test_rows_that_were_changed_show(path: Path, what: str) -> None:
    filled(path)
    with duckdb.connect(str(path)) as database:
        for statement in SQL[what].split(";"):
            database.execute(statement)
    with Store.open(path) as store:
        assert problems(store) != []


FILES: dict[str, Callable[[list[Path]], object]] = {
    "changed": lambda files: files[1].write_text(files[1].read_text() + " "),
    "taken away": lambda files: files[0].unlink(),
    "exchanged": lambda files: (files[0].rename("x"), files[1].rename(files[0]), Path("x").rename(files[1])),
    "put in": lambda files: files[0].with_name("20260101T000000.000000Z_x_response.md").write_text("x"),
    "without its head": lambda files: (files[0].parent / "head.json").unlink(),
}


@pytest.mark.parametrize("what", FILES)
def test_files_that_were_changed_show(path: Path, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(path)
    monkeypatch.chdir(path.parent)
    FILES[what](sorted((path.parent / "cai.reviews" / RUN).glob("*.md")))
    with Store.open(path) as store:
        assert problems(store) != []


def test_an_approval_that_was_planted_counts_for_nothing(path: Path) -> None:
    filled(path)
    with duckdb.connect(str(path)) as database:
        database.execute("UPDATE review_entries SET approval = 'yes' WHERE topic = 'dpo' AND kind = 'response'")
    with Store.open(path) as store, store.reader() as reader, pytest.raises(ReviewError, match="was changed"):
        current_approval(reader, RUN, "sft", EVIDENCE)


def test_a_record_that_lost_its_end_takes_no_more(path: Path) -> None:
    filled(path)
    with duckdb.connect(str(path)) as database:
        database.execute(SQL["the last row"])
    with Store.open(path), pytest.raises(ReviewError, match="once had an entry"), desk(path):
        pass


@pytest.mark.parametrize("name", EVIDENCE)
def test_an_approval_lapses_when_its_evidence_changes(path: Path, name: str) -> None:
    with serving(good(), good()) as server, desk(path, model(server)) as opened:
        assert opened.review("pilot", QUESTION, context()).outcome.proceed
        with opened.store.reader() as reader:
            approved = current_approval(reader, RUN, "pilot", EVIDENCE)
            assert approved is not None and approved.by == "reviewer"
            assert current_approval(reader, RUN, "pilot", evidence_sha256(EVIDENCE)) == approved
            assert current_approval(reader, RUN, "pilot", EVIDENCE | {name: "other"}) is None
            assert current_approval(reader, RUN, "sft", EVIDENCE) is None
        opened.review("pilot", QUESTION, context(**{name: "other"}))
        assert len(server.requests) == 2


def test_evidence_is_the_same_whatever_the_order_of_its_names() -> None:
    assert evidence_sha256(EVIDENCE) == evidence_sha256(dict(reversed(EVIDENCE.items())))
    assert evidence_sha256({"spec": 1}) == evidence_sha256({"spec": 1, "data": None, "figures": None, "code": None})
    assert evidence_sha256({"spec": 1}) != evidence_sha256({"spec": "1"})


def test_a_policys_approval_is_no_current_one_but_in_a_dry_run(path: Path) -> None:
    with desk(path, PolicyReviewer({"*": True})) as opened, opened.store.reader() as reader:
        opened.review("pilot", QUESTION, context())
        assert current_approval(reader, RUN, "pilot", EVIDENCE) is None
        assert current_approval(reader, RUN, "pilot", EVIDENCE, policy=True) is not None


def test_a_question_on_other_evidence_supersedes_one_that_waits(path: Path) -> None:
    with serving(good(approval="No"), good()) as server, desk(path, model(server)) as opened:
        opened.review("pilot", QUESTION, context())
        opened.review("pilot", QUESTION, context(data="more"))
        with opened.store.reader() as reader:
            assert [row["state"] for row in reviews(reader, RUN)] == ["superseded", "proceed"]


def test_the_same_question_from_two_threads_is_asked_once(path: Path) -> None:
    with serving(slow(0.3), slow(0.3)) as server, desk(path, model(server)) as opened:
        found: list[bool] = []
        threads = [
            threading.Thread(target=lambda: found.append(opened.review("pilot", QUESTION, context()).outcome.proceed))
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found == [True] * 4 and len(server.requests) == 1


def test_different_questions_from_two_threads_share_one_chain(path: Path) -> None:
    with serving(*[good()] * 6) as server, desk(path, model(server)) as opened:
        threads = [
            threading.Thread(target=opened.review, args=("pilot", f"{QUESTION} {n}", context())) for n in range(6)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(decided(opened.store)) == 6 and sorted(kinds(opened)) == sorted(
            ["request", "response", "decision"] * 6
        )


def test_a_commit_that_failed_leaves_a_file_that_the_next_try_sets_aside(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    append, calls = Store.append, []

    def full(self: Store, rows: object) -> None:
        calls.append(1)
        if len(calls) == 2:
            raise OSError("no space")
        append(self, rows)  # type: ignore[arg-type]

    monkeypatch.setattr(Store, "append", full)
    with serving(good(), good()) as server, desk(path, model(server)) as opened:
        with pytest.raises(OSError, match="no space"):
            opened.review("pilot", QUESTION, context())
        opened._asked.clear()
        assert opened.review("pilot", QUESTION, context()).outcome.proceed
        assert len(list(opened.trail.folder.glob("*.unrecorded"))) == 1


NO, YES = fields(approval="No"), fields()
ASKED = ("request", "engine", None, {"to": "gpt-5"})
SAID_NO = ("response", "gpt-5", "no", {"by": "model", "fields": json.loads(NO)})
SAID_YES = ("response", "gpt-5", "yes", {"by": "model", "fields": json.loads(YES)})
ASKED_PERSON = ("request", "engine", None, {"to": "person"})


def said(word: str, reason: str = "") -> tuple[str, str, None, dict[str, object]]:
    return ("response", "person", None, {"by": "person", "answer": word, "reason": reason, "changes": {}})


def goes(state: str, by: str, approval: str | None) -> tuple[str, str, str | None, dict[str, object]]:
    return ("decision", by, approval, {"by": by, "state": state, "reason": "r", "changes": {}})


GO = goes("proceed", "person", "yes")
FORGED = {
    "an approval that the fields did not give": [ASKED, (*SAID_NO[:2], "yes", SAID_NO[3])],
    "an approval of no answer": [ASKED, ("response", "gpt-5", "yes", {"by": "model", "problem": "x", "text": YES})],
    "an answer out of form": [ASKED, ("response", "gpt-5", "yes", {"by": "model", "fields": {"approval": "Yes"}})],
    "a decision by a reviewer that said No": [ASKED, SAID_NO, goes("proceed", "reviewer", "yes")],
    "a decision that nobody gave": [ASKED, SAID_NO, GO],
    "a decision by a policy where a model answered": [ASKED, SAID_YES, goes("proceed", "policy", "yes")],
    "a rejection taken for an approval": [ASKED_PERSON, said("reject"), GO],
    "an approval against a No": [ASKED, SAID_NO, ASKED_PERSON, said("approve"), GO],
    "an override without a reason": [ASKED, SAID_NO, ASKED_PERSON, said("override"), GO],
    "a second decision": [ASKED_PERSON, said("approve"), GO, ASKED_PERSON, said("reject"), goes("rejected", "person", "no")],
    "two open requests": [ASKED, ASKED],
    "a response to nothing": [SAID_YES],
    "a second response": [ASKED, SAID_YES, SAID_YES],
    "an approval other than the decision": [ASKED_PERSON, said("reject"), goes("rejected", "person", "yes")],
}  # fmt: skip
SOUND = {
    "a reviewer's yes": [ASKED, SAID_YES, goes("proceed", "reviewer", "yes")],
    "an override": [ASKED, SAID_NO, ASKED_PERSON, said("override", "Known."), GO],
    "a rejection, overridden": [
        ASKED_PERSON, said("reject"), goes("rejected", "person", "no"), ASKED_PERSON, said("override", "Known."), GO,
    ],
}  # fmt: skip


@pytest.mark.parametrize("what", [*FORGED, *SOUND])
def test_a_record_that_is_chained_but_says_what_nobody_gave_shows(path: Path, what: str) -> None:
    """Written by the trail itself, with all hashes right: only what the entries say can give it away."""
    case = Case("r1", "pilot", "e" * 64, QUESTION, "prompt")
    with Store.open(path) as store:
        trail = Trail(store, RUN, None, Clock())
        for kind, who, approval, body in (FORGED | SOUND)[what]:

            def rows(entry: TrailEntry) -> dict[str, list[dict[str, object]]]:
                fields_of = {"run_id": RUN, "decision_id": decision_id(entry.seq), "question": QUESTION}
                return {"decisions": [fields_of | decision_fields(entry)]}

            document, also = (None, rows) if kind == "decision" else ("text", None)
            trail.add(kind, case, who=who, approval=approval, body=body, document=document, also=also)
        found = problems(store)
    assert bool(found) == (what in FORGED), found


STEPS = [
    (who, step, when, nth)
    for who, of in (("reviewer", {"rename": 5, "commit": 3, "send": 1}), ("person", {"rename": 9, "commit": 5, "answer": 1}))
    for step, n in of.items()
    for nth in range(1, n + 1)
    for when in ("before", "after")
]  # fmt: skip


@pytest.fixture(scope="module")
def kill() -> Iterator[review_kill.Killer]:
    with review_kill.Killer() as killer:
        yield killer


@pytest.mark.slow
@pytest.mark.parametrize("part", range(2))
def test_a_kill_at_any_step_loses_no_question_and_answers_none_twice(
    tmp_path: Path, part: int, kill: review_kill.Killer
) -> None:
    """Every rename, commit, request and answer, before and after: the record is sound, and asked once where recorded."""
    for n, (who, step, when, nth) in enumerate(STEPS[part::2]):
        path, at = new_store(tmp_path / f"{n}.duckdb"), (who, step, when, nth)
        with serving(otherwise=good() if who == "reviewer" else good(approval="No")) as server:
            assert kill(path, server.url, *at) == 9, at
            before = len(server.requests)
            with Store.open(path) as store, store.reader() as reader:
                recorded = [entry.kind for entry in entries(reader, RUN)]
                assert review_kill.ask(store, server.url, who), at
                asked = len(server.requests) - before
                assert asked == (0 if "response" in recorded else 1), (*at, recorded)
                assert review_kill.ask(store, server.url, who) and len(server.requests) == before + asked, at
                found = entries(reader, RUN)
                to_model = [entry for entry in found if entry.kind == "request" and entry.body["to"] == "gpt-5"]
                from_model = [entry for entry in found if entry.kind == "response" and entry.body["by"] == "model"]
                assert len(to_model) == len(from_model) == len(decided(store)) == 1, at
                assert [entry.kind for entry in found].count("decision") == 1, at
