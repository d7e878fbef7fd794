"""The desk: puts one question to whoever is to answer it, records every step, and hands the outcome to the run."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from datetime import datetime
from types import MappingProxyType
from typing import Any

from engine.core.control import Control
from engine.core.errors import ReviewError, SpecError
from engine.core.events import Emit, Noted
from engine.core.key import Key
from engine.core.text import flat, visible
from engine.review import prompt, state
from engine.review.form import Malformed, Outcome, Review, read
from engine.review.prompt import Context, plain_context
from engine.review.reviewers import Answer, Chain, Failure, PersonReviewer, Request, Reviewer, Unanswered
from engine.review.state import State, state_of
from engine.review.text import cut
from engine.review.trail import Case, Trail, TrailEntry, lock_of
from engine.spec.stage import change
from store.db import Store
from store.salvage.clock import utc_now
from store.text import json_text

TEXT_KEPT = 20_000  # characters of an answer that is none
FOLLOW_UPS = 10

Reading = tuple[Mapping[str, Any], str, str | None]  # the fields of an answer, its file, and yes or no


class Desk:
    """Reviews of one run. Use from any thread; equal questions asked at once wait for one another.

    What is recorded goes into `store` and into the folder `<store>.reviews/<run>` beside it, `key` taken out of all of
    it. Raises NotFound where there is no such run, and ReviewError where its record was changed.
    """

    def __init__(
        self,
        store: Store,
        run_id: str,
        reviewer: Reviewer | Chain,
        *,
        control: Control | None = None,
        emit: Emit = lambda event: None,
        key: Key | None = None,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self.store = store
        with store.reader() as reader:
            self.run_id = reader.resolve(run_id)
        if isinstance(reviewer, PersonReviewer):
            reviewer = Chain(None, reviewer)
        elif not isinstance(reviewer, Chain):
            reviewer = Chain(reviewer, None)
        self.reviewer = reviewer
        self.first = reviewer.first
        self.control = control
        self.emit = emit
        self.key = key or getattr(self.first, "key", None)
        self.trail = Trail(store, self.run_id, self.key, now)
        self._asked: set[str] = set()  # reviews whose reviewer was tried since this desk was opened
        if self.trail.swept:
            text = f"{len(self.trail.swept)} files of reviews that a kill left without a row were set aside"
            self._note("warning", text)

    def review(self, topic: str, question: str, context: Context | Mapping[str, Any] | str) -> Review:
        """Have one question answered; the review's `outcome` says what the run does.

        A question that was decided on equal evidence is answered from the store. With nobody there to answer, the
        outcome is waiting and the question stays open. Raises Interrupted where the run is stopped, ReviewError and
        StoreError where it cannot be recorded.
        """
        case = self._case(topic, question, context)
        with lock_of(str(self.store.path), self.run_id, case.review_id):
            if self.control is not None:
                self.control.check()
            found = self._state(case)
            if found.decision is None and found.said is None:
                self._hear(case, found)
                found = self._state(case)
            if found.decision is None or found.said is not None:
                self._settle(case, found)
                found = self._state(case)
            return state.review_of(case, found)

    def answer(self, review_id: str, answer: str, reason: str) -> Outcome:
        """Answer an open question as a person, while no run works on it; by its id or the beginning of it.

        `answer` is approve, reject, override, or modify with settings; see `state.read_person`. What a person rejected
        can still be overridden. Raises ReviewError where there is no such question, it has its answer, or the answer
        cannot be taken.
        """
        known = self.trail.entries()
        ids = sorted({entry.review_id for entry in known if entry.review_id.startswith(review_id)})
        if len(ids) != 1:
            what = "no review" if not ids else f"{len(ids)} reviews"
            raise ReviewError(f"{what} of run {self.run_id} begins with {review_id!r}", "Nothing was recorded.")
        with _unless_busy(lock_of(str(self.store.path), self.run_id, ids[0])):
            found = state_of(self.trail.entries(ids[0])).without_policy()
            first = found.first
            if first is None or first.body.get("form") == "document":
                raise ReviewError(f"{ids[0]} is no question that waits for a decision", "Nothing was recorded.")
            case = Case(ids[0], first.topic, first.evidence_sha256, first.body["question"], first.body["prompt"])
            over = answer.strip().lower() == "override"
            if found.decision is not None and not (over and state.reopened(found.decision)):
                outcome = found.outcome
                assert outcome is not None
                raise ReviewError(
                    f"review {ids[0]} has its answer: {outcome.state}, by {outcome.by}",
                    "Nothing was recorded. Only what was rejected can be overridden, with a reason.",
                )
            try:
                said = state.read_person(answer, reason, found.given, self._check_changes)
                if said.word == "ask":
                    raise Malformed("a follow-up can be asked while a run waits, at the screen")
            except Malformed as error:
                raise ReviewError(f"the answer was not taken: {error}", "Nothing was recorded.") from None
            entry = self._put_to(case, found, "person", "a person answers")
            self._record_person(case, entry, answer, said.reason, said)
            found = self._state(case)
            self._decide(case, found)
            outcome = self._state(case).outcome
            assert outcome is not None
            return outcome

    def _case(self, topic: str, question: str, context: Context | Mapping[str, Any] | str) -> Case:
        topic, question = topic.strip(), question.strip()
        if not topic or not question:
            raise ReviewError("a review needs a topic and a question", "Nothing was asked.")
        if not isinstance(context, Context):
            context = plain_context(self._run(), context)
        evidence = prompt.evidence_sha256(context.evidence)
        text = prompt.prompt_of(topic, question, context)
        return Case(prompt.review_id_of(self.run_id, topic, question, evidence), topic, evidence, question, text)

    def _state(self, case: Case) -> State:
        found = state_of(self.trail.entries(case.review_id))
        return found if self.first is not None and self.first.kind == "policy" else found.without_policy()

    def _hear(self, case: Case, found: State) -> None:
        """Get a reviewer's answer where there is none and one may still come; everything is recorded."""
        first = self.first
        if first is None or case.review_id in self._asked:
            return
        self._asked.add(case.review_id)
        if found.given is not None:
            if found.open is not None and found.open.body.get("to") == first.name:
                self._put(case, first, found.open)  # a follow-up that was interrupted
            return
        while found.given is None and len(found.malformed) <= state.RETRIES:
            turns: tuple[tuple[str, str], ...] = ()
            if found.malformed:
                turns = (*self._last_text(case), ("user", prompt.again(found.malformed[-1])))
            entry = self._put_to(case, found, first.name, turns=turns)
            if not self._put(case, first, entry):
                return
            found = self._state(case)

    def _put(self, case: Case, to: Reviewer, entry: TrailEntry) -> bool:
        """Ask a reviewer what an open request says and record what comes back; False where nothing does."""

        def reading(text: str) -> Reading:
            review = read(text, to.name)
            shown = prompt.response_document(entry, to.name, review, {})
            return review.fields, shown, "yes" if review.approval else "no"

        came, _ = self.put(case, to, entry, reading)
        if isinstance(came, Unanswered):
            self._note("warning", f"{to.name} did not answer: {came.failure.text}")
        return isinstance(came, Answer)

    def put(
        self, case: Case, to: Reviewer, entry: TrailEntry, reading: Callable[[str], Reading], **asked: Any
    ) -> tuple[Answer | Unanswered, dict[str, Any]]:
        """Ask a reviewer what an open request says; returns what came and the body of its row.

        `reading` gives the fields of an answer, its file and its approval, or raises Malformed.
        """
        form = {name: entry.body[name] for name in ("form",) if name in entry.body}

        def failed(failure: Failure, final: bool = False) -> None:
            body = asdict(failure) | {"final": final, "request": entry.seq} | form
            self.trail.add("failure", case, who=to.name, body=body)

        came = to.ask(self._request(case, entry, on_failure=failed, **asked))
        if not isinstance(came, Answer):
            failed(came.failure, final=True)
            return came, {}
        body: dict[str, Any] = {"by": to.kind, "request": entry.seq, "facts": dict(came.facts)} | form
        try:
            if came.problem:
                raise Malformed(came.problem)
            body["fields"], document, approval = reading(came.text)
        except Malformed as error:
            body |= {"problem": flat(str(error)), "text": cut(visible(came.text), TEXT_KEPT)}
            document, approval = prompt.response_document(entry, to.name, None, body), None
        self.trail.add("response", case, who=to.name, body=body, approval=approval, document=document, request=entry)
        return came, body

    def _settle(self, case: Case, found: State) -> None:
        """Decide by what was answered, else by the person; leaves the question open with nobody there."""
        confirm = found.consulted or self.reviewer.confirm
        if found.said is None and found.given is not None and found.given.approval and not confirm:
            self._withdraw(case, found)
            self._decide(case, found)
            return
        follow_ups = 0
        why = state.why_of(found)
        while found.said is None:
            entry = self._put_to(case, found, "person", why)
            person = self.reviewer.person
            came = person.ask(self._request(case, entry)) if person is not None else None
            if not isinstance(came, Answer):
                return
            try:
                said = state.read_person(came.text, came.reason, found.given, self._check_changes)
                if said.word == "ask" and (self.first is None or self.first.kind != "model"):
                    raise Malformed("there is no reviewer to ask")
                if said.word == "ask" and follow_ups == FOLLOW_UPS:
                    raise Malformed(f"{FOLLOW_UPS} follow-ups were asked")
            except Malformed as error:
                self._note("warning", f"the answer was not taken: {error}")
                self._record_person(case, entry, came.text, came.reason, None, str(error), came.facts)
                found, why = self._state(case), f"the answer was not taken: {error}"
                continue
            self._record_person(case, entry, came.text, said.reason, said, facts=came.facts)
            found = self._state(case)
            if said.word == "ask":
                follow_ups += 1
                why = self._follow_up(case, found, said.reason)
                found = self._state(case)
        self._decide(case, found)

    def _follow_up(self, case: Case, found: State, text: str) -> str:
        """Ask the reviewer what a person wants to know; returns what the person is then told."""
        first = self.first
        assert first is not None
        turns = (*self._last_text(case), ("user", f"A person asks: {visible(text)}\n\nAnswer in the same four fields."))
        entry = self._put_to(case, found, first.name, turns=turns)
        if not self._put(case, first, entry):
            return f"the reviewer did not answer: {self._state(case).failed}"
        found = self._state(case)
        return f"no answer: {found.malformed[-1]}" if found.malformed else "the reviewer answered the follow-up"

    def _last_text(self, case: Case) -> tuple[tuple[str, str], ...]:
        """The reviewer's newest answer as a turn of a conversation; none where it gave none."""
        for entry in reversed(self.trail.entries(case.review_id)):
            if entry.kind == "response" and entry.body.get("by") != "person":
                text = json_text(entry.body["fields"]) if "fields" in entry.body else entry.body.get("text", "")
                return (("assistant", cut(text, TEXT_KEPT)),) if text else ()
        return ()

    def _decide(self, case: Case, found: State) -> None:
        """Record what the last answer decides, as an entry and as a row of `decisions`, in one transaction."""
        said = found.said
        if said is not None:
            decided = {"reject": "rejected", "modify": "modified"}.get(said.word, "proceed")
            by, reason, changes = "person", said.reason or f"{said.word}, without a reason", dict(said.changes)
        else:
            assert found.given is not None
            decided, by = "proceed", "policy" if found.given_by == "policy" else "reviewer"
            reason, changes = found.given.recommendation, {}
        if problem := state.unfounded_decision(decided, by, found):
            raise ReviewError(f"review {case.review_id} was not decided: {problem}", "Nothing was recorded.")
        body = {"state": decided, "by": by, "reason": reason, "changes": changes}

        def rows(entry: TrailEntry) -> dict[str, list[dict[str, Any]]]:
            row = {"run_id": self.run_id, "decision_id": state.decision_id(entry.seq), "question": case.question}
            return {"decisions": [row | state.decision_fields(entry)]}

        self.trail.add(
            "decision",
            case,
            who=found.given.reviewer if by == "reviewer" and found.given else by,
            approval={"proceed": "yes", "rejected": "no"}.get(decided),
            body=body,
            also=rows,
        )

    def _put_to(
        self, case: Case, found: State, to: str, why: str = "", turns: tuple[tuple[str, str], ...] = ()
    ) -> TrailEntry:
        """The open request to somebody, else one recorded before it is sent, as a reservation for a restart.

        A request to somebody else is withdrawn.
        """
        if found.open is not None and found.open.body.get("to") == to:
            return found.open
        self._withdraw(case, found)
        body = {
            "run_id": self.run_id,
            "to": to,
            "question": case.question,
            "prompt": found.first.body["prompt"] if found.first else case.prompt,
            "turns": [list(turn) for turn in turns],
            "why": why,
            "given": found.given.fields | {"reviewer": found.given.reviewer} if found.given else None,
        }
        document = prompt.request_document(body, case)
        return self.trail.add("request", case, who="engine", body=body, document=document)

    def _withdraw(self, case: Case, found: State) -> None:
        """Close a request that is to be put to somebody else."""
        if found.open is not None:
            body = {"kind": "withdrawn", "text": "put to somebody else", "final": True, "request": found.open.seq}
            self.trail.add("failure", case, who="engine", body=body)
            found.open = None

    def _record_person(
        self, case: Case, entry: TrailEntry, answer: str, reason: str, said: state.Said | None, problem: str = "",
        facts: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:  # fmt: skip
        body: dict[str, Any] = {"by": "person", "request": entry.seq, "reason": visible(reason), "problem": problem}
        body |= facts
        body |= {"answer": said.word if said else visible(answer), "changes": dict(said.changes) if said else {}}
        document = prompt.response_document(entry, "person", None, body)
        self.trail.add("response", case, who="person", body=body, document=document, request=entry)

    def _request(self, case: Case, entry: TrailEntry, **asked: Any) -> Request:
        turns = tuple((str(role), str(text)) for role, text in entry.body["turns"])
        question = case.topic, case.question, entry.body["prompt"], turns
        given, why = self._state(case).given, entry.body.get("why", "")
        return Request(self.run_id, case.review_id, entry.seq, *question, given, why, **asked)

    def _check_changes(self, changes: Mapping[str, str]) -> None:
        try:
            change(self._run()["settings"], changes)
        except SpecError as error:
            raise Malformed(error.title) from None

    def _run(self) -> dict[str, Any]:
        with self.store.reader() as reader:
            return reader.run(self.run_id)

    def _note(self, level: str, text: str) -> None:
        self.emit(Noted(self.run_id, level, text if self.key is None else self.key.scrub(text)))


@contextlib.contextmanager
def _unless_busy(lock: threading.RLock) -> Iterator[None]:
    """Hold a review's lock. Raises ReviewError where a run of this process waits for its answer."""
    if not lock.acquire(timeout=1.0):
        raise ReviewError("a run waits for this answer: give it there", "Nothing was recorded.")
    try:
        yield
    finally:
        lock.release()
