"""A question to the person at the screen, and what may be answered."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Choice:
    """`key` answers with `value`; the first choice is also what Enter means, unless it asks for a text.

    `asks` is what must be typed before this answer counts, "" for nothing.
    """

    key: str
    label: str
    value: str
    asks: str = ""


@dataclass(frozen=True, slots=True)
class DockedQuestion:
    """`more` names the room that has the evidence."""

    question_id: str
    title: str
    text: str
    choices: tuple[Choice, ...]
    on_escape: str | None = None
    more: str = ""
