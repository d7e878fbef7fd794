"""The form of an answer: four fields, at most 500 words, Yes or No; whatever else comes back is no answer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from engine.core.text import visible
from engine.review.text import words
from store.inert.markdown import prose

FIELDS = ("recommendation", "reasoning", "risks", "approval")
WORDS_AT_MOST = 500
CHARACTERS_AT_MOST = 6_000  # 500 long words: a text without blanks is counted, too
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "recommendation": {"type": "string", "description": "What to do, in plain words."},
        "reasoning": {"type": "string", "description": "Why, in two or three sentences."},
        "risks": {"type": "string", "description": "What could go wrong; 'None seen.' where nothing could."},
        "approval": {"type": "string", "enum": ["Yes", "No"], "description": "Whether the run may go on as it is."},
    },
    "required": list(FIELDS),
    "additionalProperties": False,
}

State = Literal["proceed", "modified", "rejected", "waiting"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run does after a review, who said so and why.

    `state`: proceed; modified (a person wants `changes` to the settings, after which the question is asked anew);
    rejected (by a person); waiting (for a person). `by` is reviewer, person or policy, and nobody while it waits.
    """

    state: State
    by: str
    reason: str
    review_id: str
    evidence_sha256: str
    changes: Mapping[str, str] = field(default_factory=dict)

    @property
    def proceed(self) -> bool:
        return self.state == "proceed"


@dataclass(frozen=True, slots=True)
class Review:
    """One answer. `approval` is what its structured field says; what the run does stands in `outcome`."""

    recommendation: str
    reasoning: str
    risks: str
    approval: bool
    reviewer: str
    outcome: Outcome | None = None

    @property
    def markdown(self) -> str:
        """The answer under exactly four headings; nothing in its text can be a heading."""
        return "\n\n".join(f"## {name.title()}\n\n{prose(text)}" for name, text in self.fields.items()) + "\n"

    @property
    def fields(self) -> dict[str, str]:
        """The four fields as a server would give them."""
        return {name: getattr(self, name) for name in FIELDS} | {"approval": "Yes" if self.approval else "No"}


class Malformed(ValueError):
    """An answer that is none; the text says what is wrong with it, in words that can be sent back."""


def read_json(text: str) -> dict[str, Any]:
    """The one JSON object that a text is, no name twice. Raises Malformed."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            raise Malformed("it names a field twice")
        return found

    try:
        value = json.loads(text, object_pairs_hook=once)
    except Malformed:
        raise
    except (ValueError, RecursionError):
        raise Malformed("it is not one JSON object and nothing else") from None
    if not isinstance(value, dict):
        raise Malformed("it is not a JSON object")
    return value


def read(text: str, reviewer: str) -> Review:
    """The review that an answer's text is. Raises Malformed, which says what is wrong."""
    return of_fields(read_json(text), reviewer)


def of_fields(fields: Mapping[str, Any], reviewer: str) -> Review:
    """The review of four fields. Raises Malformed."""
    missing = [name for name in FIELDS if name not in fields]
    if missing:
        raise Malformed(f"the field {missing[0]} is missing")
    if len(fields) > len(FIELDS):
        raise Malformed("it has fields besides recommendation, reasoning, risks and approval")
    for name in FIELDS:
        value = fields[name]
        if not isinstance(value, str):
            raise Malformed(f"the field {name} is not a text")
        if not any(character.isalnum() for character in value):
            raise Malformed(f"the field {name} is empty")
    if fields["approval"] not in ("Yes", "No"):
        raise Malformed('approval is neither "Yes" nor "No"; a condition belongs into risks')
    texts = [fields[name] for name in FIELDS]
    if (n := sum(map(words, texts))) > WORDS_AT_MOST:
        raise Malformed(f"it has {n} words, and {WORDS_AT_MOST} are allowed")
    if (n := sum(map(len, texts))) > CHARACTERS_AT_MOST:
        raise Malformed(f"it has {n} characters, and {CHARACTERS_AT_MOST} are allowed")
    recommendation, reasoning, risks = (visible(text).strip() for text in texts[:3])
    return Review(recommendation, reasoning, risks, fields["approval"] == "Yes", reviewer)
