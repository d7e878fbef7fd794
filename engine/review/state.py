"""How far a review is, read from its entries; and what in a record no answer accounts for."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from engine.core.text import flat
from engine.review.form import Malformed, Outcome, Review, of_fields, read_json
from engine.review.trail import Case, TrailEntry

WORDS = ("approve", "reject", "modify", "override", "ask")
RETRIES = 1  # after an answer that is none, before a person is asked


@dataclass(frozen=True, slots=True)
class Said:
    """What a person answered."""

    word: str
    reason: str
    changes: Mapping[str, str]


@dataclass(slots=True)
class State:
    """`open` is the request that has no answer yet, `given` the newest answer of a reviewer, `said` a person's."""

    first: TrailEntry | None = None
    open: TrailEntry | None = None
    given: Review | None = None
    given_by: str = ""  # model or policy
    said: Said | None = None
    malformed: tuple[str, ...] = ()  # what was wrong with each answer that was none, since the last good one
    failed: str = ""  # why the last request had no answer
    decision: TrailEntry | None = None
    consulted: bool = False  # a person asked a follow-up, and is to decide

    @property
    def outcome(self) -> Outcome | None:
        """The outcome that was decided, None where none was."""
        return None if self.decision is None else outcome_of(self.decision)

    def without_policy(self) -> State:
        """The same for whoever does not go by a policy: its answer and its decision count for nothing."""
        given = None if self.given_by == "policy" else self.given
        by_policy = self.decision is not None and self.decision.body.get("by") == "policy"
        return replace(self, given=given, decision=None if by_policy else self.decision)


def outcome_of(entry: TrailEntry) -> Outcome:
    """A decision as an outcome."""
    body = entry.body
    changes = dict(body.get("changes") or {})
    return Outcome(body["state"], body["by"], body["reason"], entry.review_id, entry.evidence_sha256, changes)


def state_of(entries: Sequence[TrailEntry], problems: list[str] | None = None) -> State:
    """The state of one review from its entries, in order; `problems` takes in what should not be there."""
    state = State()

    def wrong(entry: TrailEntry, text: str) -> None:
        if problems is not None:
            problems.append(f"entry {entry.seq}: {text}")

    for entry in entries:
        if entry.kind == "request":
            state.first = state.first or entry
            if state.open is not None:
                wrong(entry, f"a request while that of entry {state.open.seq} is open")
            if state.decision is not None and not reopened(state.decision):
                wrong(entry, "a request after the decision")
            state.open = entry
        elif entry.kind == "failure":
            if entry.body.get("final", True):
                state.open = None
                if entry.body.get("kind") != "withdrawn":
                    state.failed = str(entry.body.get("text", ""))
        elif entry.kind == "response":
            if state.open is None:
                wrong(entry, "a response to no open request")
            state.open, state.failed = None, ""
            _respond(state, entry, wrong)
        elif entry.kind == "decision":
            _decide(state, entry, wrong)
    return state


def _respond(state: State, entry: TrailEntry, wrong: Callable[[TrailEntry, str], None]) -> None:
    body = entry.body
    if body.get("form") == "document":
        return
    if body.get("problem"):
        if entry.approval is not None:
            wrong(entry, "an approval in an answer that is none")
        if body.get("by") != "person":
            state.malformed = (*state.malformed, str(body["problem"]))
        return
    if body.get("by") == "person":
        said = Said(str(body.get("answer")), str(body.get("reason", "")), dict(body.get("changes") or {}))
        if said.word == "ask":
            state.consulted = True
        else:
            state.said = said
        return
    try:
        review = of_fields(body.get("fields") or {}, entry.who)
    except Malformed as error:
        wrong(entry, f"an answer that is none: {error}")
        return
    if entry.approval != ("yes" if review.approval else "no"):
        wrong(entry, "an approval that its answer did not give")
    state.given, state.given_by, state.malformed = review, str(body.get("by")), ()


def _decide(state: State, entry: TrailEntry, wrong: Callable[[TrailEntry, str], None]) -> None:
    body = entry.body
    before = state.decision
    if before is not None:
        over = body.get("by") == "person" and state.said is not None and state.said.word == "override"
        anew = before.body.get("by") == "policy" and body.get("by") != "policy"
        if not (anew or (over and before.body.get("state") == "rejected")):
            wrong(entry, "a second decision")
    if problem := unfounded_decision(str(body.get("state")), str(body.get("by")), state):
        wrong(entry, problem)
    if entry.approval != {"proceed": "yes", "rejected": "no"}.get(str(body.get("state"))):
        wrong(entry, "an approval other than its decision")
    state.decision, state.said = entry, None


def reopened(decision: TrailEntry) -> bool:
    """Whether another decision may follow: a person's override of a rejection, or a real answer after a policy's."""
    return bool(decision.body.get("state") == "rejected" or decision.body.get("by") == "policy")


def unfounded_decision(decided: str, by: str, state: State) -> str:
    """Why a decision does not follow from what was answered; empty where it does."""
    if by in ("reviewer", "policy"):
        if state.given is None or not state.given.approval or decided != "proceed":
            return "a decision that the reviewer did not give"
        return "" if (by == "policy") == (state.given_by == "policy") else "a decision of another than who answered"
    said = state.said
    if by != "person" or said is None:
        return "a decision that nobody gave"
    wanted = {"approve": "proceed", "override": "proceed", "reject": "rejected", "modify": "modified"}.get(said.word)
    if decided != wanted:
        return "a decision other than the person's answer"
    if said.word == "approve" and state.given is not None and not state.given.approval:
        return "an approval against the reviewer's No without an override"
    if said.word == "override" and not said.reason.strip():
        return "an override without a reason"
    return ""


def decision_id(seq: int) -> str:
    """The id of a decision's row in the table `decisions`."""
    return f"review-{seq:05}"


def decision_fields(entry: TrailEntry) -> dict[str, Any]:
    """What the row in `decisions` says of a decision's entry."""
    return {
        "topic": entry.topic,
        "answer": entry.body["state"],
        "reason": entry.body["reason"],
        "decided_by": entry.body["by"],
        "evidence_sha256": entry.evidence_sha256,
        "at": entry.at,
    }


def read_person(answer: str, reason: str, given: Review | None, check: Callable[[Mapping[str, str]], None]) -> Said:
    """What a person said, from a word and a reason.

    `modify` is followed by a JSON object or by `key=value; key=value`, which `check` looks at. Raises Malformed.
    """
    word, _, rest = answer.strip().partition(" ")
    word, reason = word.lower(), reason.strip()
    if word not in WORDS:
        raise Malformed(f"{flat(word, 40)!r} is none of {', '.join(WORDS)}")
    if rest.strip() and word != "modify":
        raise Malformed(f"{word} takes a reason, and nothing else")
    changes: dict[str, str] = {}
    if word == "modify":
        changes = _changes(rest.strip())
        check(changes)
    if word == "approve" and given is not None and not given.approval:
        raise Malformed("the reviewer said No: override it with a reason, modify or reject")
    if word in ("override", "ask") and not any(character.isalnum() for character in reason):
        raise Malformed("an override needs a reason" if word == "override" else "a follow-up needs its question")
    return Said(word, reason, changes)


def modify(changes: Mapping[str, str]) -> str:
    """The answer of a person who wants settings changed: {key: value as YAML}."""
    return f"modify {json.dumps(dict(changes))}"


def _changes(text: str) -> dict[str, str]:
    if text.startswith("{"):
        found = {k: v if isinstance(v, str) else json.dumps(v) for k, v in read_json(text).items()}
    else:
        pairs = [part.partition("=") for part in text.replace("\n", ";").split(";") if part.strip()]
        found = {name.strip(): value.strip() for name, _, value in pairs}
    if not found or not all(name and value for name, value in found.items()):
        raise Malformed("modify needs settings: key=value; key=value")
    return found


def review_of(case: Case, found: State) -> Review:
    """What a run is handed: the reviewer's answer or the person's, with the outcome so far."""
    outcome = found.outcome
    if outcome is None:
        reason = why_of(found)
        outcome = Outcome("waiting", "nobody", reason, case.review_id, case.evidence_sha256)
    if found.given is not None:
        return replace(found.given, outcome=outcome)
    if outcome.by == "person":
        words = {"proceed": "Go on.", "rejected": "Do not go on.", "modified": "Change the settings, then ask again."}
        return Review(words[outcome.state], outcome.reason, "None named.", outcome.proceed, "person", outcome=outcome)
    nobody = "Wait for a person."
    return Review(nobody, outcome.reason, "None named.", approval=False, reviewer="nobody", outcome=outcome)


def why_of(found: State) -> str:
    """Why a person is asked."""
    if found.given is not None:
        return f"{found.given.reviewer} says {'Yes' if found.given.approval else 'No'}"
    if found.failed:
        return f"no reviewer answered: {found.failed}"
    if found.malformed:
        return f"the reviewer's answer was none: {found.malformed[-1]}"
    return "a person is to answer"
