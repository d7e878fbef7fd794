"""Text that others wrote, made inert for Markdown: the one place for cards, reports and reviews."""

from __future__ import annotations

import re

from store.inert.signs import fenced, visible

_ACTIVE = re.compile(r"([\\`*_\[\]<>|~&$@]|^[#+=-]|^\d+(?=[.)](?:\s|$)))")
# What could begin a heading, a fence or HTML: after nothing but signs of quotation and of lists, or anywhere.
_OPENING = re.compile(r"^([ \t>*+\-.)\d]*)(#|`{3}|~{3}|[=-]+(?=[ \t]*$))", re.MULTILINE)
_LINK = re.compile(r"[\[\]]")
_ADDRESS = re.compile(r"(?i)\b(https?|ftp|www)([:.])")
CUT = "… (cut here; the whole text is in the store)"


def plain(text: str, limit: int = 400) -> str:
    """The text on one visible line of at most `limit` characters and a mark of the cut."""
    shown = visible(text[: limit + 1]).replace("\n", "↵")
    return shown if len(text) <= limit else f"{shown[:limit]}…"


def inline(text: str, limit: int = 400) -> str:
    """The text on one line of Markdown in which nothing is markup, a link, an end of a cell or a formula."""
    return _without_addresses(_ACTIVE.sub(_escaped, plain(text, limit).strip()))


def without_openings(text: str) -> str:
    """The text as Markdown in which no line is a heading, opens a block of code or is HTML."""
    shown = visible(text).strip().replace("<", "\\<")
    return _OPENING.sub(lambda found: f"{found[1]}\\{found[2]}", shown)


def prose(text: str) -> str:
    """The same for a person, with lists and emphasis, and without a link or a picture that something would follow."""
    return _without_addresses(_LINK.sub(lambda found: f"\\{found[0]}", without_openings(text)))


def _without_addresses(text: str) -> str:
    return _ADDRESS.sub(lambda found: f"{found[1]}\\{found[2]}", text)


def _escaped(found: re.Match[str]) -> str:
    # A number that would begin a list ends with its point, which is escaped in its place.
    return f"{found[0]}\\" if found[0].isdigit() else f"\\{found[0]}"


def code(text: str, limit: int = 400) -> str:
    """The text as a code span that nothing in it can end, also inside a table."""
    shown = plain(text, limit).replace("|", "¦") or "(empty)"
    ticks = "`" * (1 + max((len(run) for run in re.findall("`+", shown)), default=0))
    pad = " " if shown[0] in "` " or shown[-1] in "` " else ""
    return f"{ticks}{pad}{shown}{pad}{ticks}"


def fence(text: str, limit: int = 4000) -> str:
    """The text in a fenced block whose fence is longer than any run of backticks in it."""
    return fenced(visible(text[:limit]) + (CUT if len(text) > limit else ""))
