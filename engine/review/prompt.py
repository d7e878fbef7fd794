"""What a reviewer is sent, and the files that show it: our own words, and others' words between boundary lines."""

from __future__ import annotations

import functools
import hashlib
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from engine.core.text import flat, visible
from engine.review.form import Review
from engine.review.text import boundary, fence, quote
from engine.review.trail import Case, TrailEntry
from engine.spec import provenance
from store.inert.markdown import prose, without_openings
from store.text import json_text

EVIDENCE = ("spec", "data", "figures", "code")


@dataclass(frozen=True, slots=True)
class Section:
    """A part of what a reviewer is told. `quoted` is whatever this program did not word itself."""

    title: str
    text: str
    quoted: bool = True


@dataclass(frozen=True, slots=True)
class Context:
    """What a question is about: what the reviewer reads, and the evidence that its answer is bound to.

    `evidence` has what identifies spec, data, figures and code; another value of any makes another question.
    """

    sections: tuple[Section, ...]
    evidence: Mapping[str, Any] = field(default_factory=dict)


@functools.cache
def code_sha256() -> str:
    """The hash of this program's code, as in a run's manifest."""
    return str(provenance.manifest()["code_sha256"])


def plain_context(run: Mapping[str, Any], given: Mapping[str, Any] | str) -> Context:
    """A script's own context: each text of it is quoted as data, and is the data that the answer is bound to."""
    texts = {"context": given} if isinstance(given, str) else given
    sections = tuple(
        Section(str(name), value if isinstance(value, str) else json_text(value)) for name, value in texts.items()
    )
    evidence = {"spec": run["settings"], "data": dict(texts), "figures": None, "code": code_sha256()}
    return Context(sections, evidence)


def evidence_sha256(evidence: Mapping[str, Any]) -> str:
    """The hash that binds an approval to spec, data, figures and code; whatever else is named counts, too."""
    whole = {name: evidence.get(name) for name in EVIDENCE} | dict(evidence)
    return hashlib.sha256(json_text(whole).encode()).hexdigest()


def review_id_of(run_id: str, topic: str, question: str, evidence: str) -> str:
    """The id of a question, the same for the same question on the same evidence: 16 hexadecimal digits."""
    return hashlib.sha256(json_text([run_id, topic, question, evidence]).encode()).hexdigest()[:16]


def prompt_of(
    topic: str,
    question: str,
    context: Context,
    token: Callable[[], str] = lambda: secrets.token_hex(16),
    ending: str = "Answer the question in the four fields.",
) -> str:
    """The prompt of a question; `token` makes boundaries."""
    texts = [visible(part.text) for part in context.sections] + [part.title for part in context.sections]
    mark = boundary([*texts, topic, question], token)
    parts = [f"# Topic\n\n{flat(topic, 120)}", f"# Question\n\n{without_openings(question)}"]
    for part in context.sections:
        if part.quoted:
            parts.append(quote(part.title, part.text, mark))
        else:
            parts.append(f"# {flat(part.title, 120)}\n\n{visible(part.text).strip()}")
    parts.append(f"# Answer\n\n{ending} The boundary of this request is {mark}.")
    return "\n\n".join(parts) + "\n"


def again(problem: str) -> str:
    """What is sent after an answer that was none."""
    return (
        f"That is no answer: {problem}. Answer the same question once more, with one JSON object and nothing else: "
        '"recommendation", "reasoning", "risks" and "approval", at most 500 words in all, approval exactly "Yes" or '
        '"No".'
    )


def request_document(body: Mapping[str, Any], case: Case) -> str:
    """A request as a file for a person: nothing in the quoted text can leave its block."""
    turns = "".join(f"\n## Then ({role})\n\n{fence(text)}\n" for role, text in body.get("turns", ()))
    given = body.get("given")
    said = f"\n## What the reviewer said\n\n{fence(json_text(given))}\n" if given else ""
    why = f"- Why: {flat(body['why'])}\n" if body.get("why") else ""
    return (
        f"# Request for review: {flat(case.topic, 120)}\n\n- Run: {body['run_id']}\n- Review: {case.review_id}\n"
        f"- Evidence: {case.evidence_sha256}\n- Asked of: {flat(body['to'], 120)}\n{why}"
        f"\n## Question\n\n{prose(body['question'])}\n\n## Sent\n\n{fence(body['prompt'])}\n{turns}{said}"
    )


def response_document(request: TrailEntry, who: str, review: Review | None, body: Mapping[str, Any]) -> str:
    """A response as a file: the four headings where it is an answer, else what came back and what is wrong with it."""
    head = f"# Response of {flat(who, 120)}: {flat(request.topic, 120)}\n\nReview {request.review_id}.\n\n"
    if review is not None:
        return head + review.markdown
    if body.get("by") == "person":
        changes = f"\n\n{fence(json_text(body['changes']))}" if body.get("changes") else ""
        problem = f"\n\nNot taken: {prose(body['problem'])}" if body.get("problem") else ""
        through = f"\n\nGiven through {prose(body['through'])}." if body.get("through") else ""
        reason = prose(body["reason"]) or "(no reason given)"
        return f"{head}{prose(body['answer'])}: {reason}{through}{changes}{problem}\n"
    return f"{head}No answer: {prose(str(body.get('problem')))}.\n\n{fence(str(body.get('text', '')))}\n"
