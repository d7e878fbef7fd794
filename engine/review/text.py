"""Text that others wrote, made inert: quoted as data for a reviewer."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from engine.core.text import fenced, flat, visible


def cut(text: str, limit: int) -> str:
    """The first `limit` characters, and how many are missing."""
    return text if len(text) <= limit else f"{text[:limit]} … (+{len(text) - limit:,} characters)"


def words(text: str) -> int:
    """How many words a text has, by its blanks."""
    return len(text.split())


def fence(text: str) -> str:
    """The text in a fenced block whose fence is longer than any run of backticks in it."""
    return fenced(visible(text))


def slug(text: str) -> str:
    """A piece of a file's name: lower-case letters, digits and lines, at most 40."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:40] or "review"


def boundary(texts: Iterable[str], token: Callable[[], str]) -> str:
    """A token that none of the texts contains in whatever case."""
    lowered = [text.lower() for text in texts]
    while True:
        found = token()
        if not any(found in text for text in lowered):
            return found


def quote(title: str, text: str, token: str) -> str:
    """The text, made visible, between two lines with the token. Raises ValueError where it contains the token."""
    shown = visible(text)
    if token in shown.lower():
        raise ValueError("the boundary stands in what it should enclose")
    return f"<<<BEGIN DATA {token}: {flat(title, 120)}>>>\n{shown}\n<<<END DATA {token}>>>"
