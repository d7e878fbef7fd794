"""Text that others wrote with nothing hidden in it: what reports and reviews begin with before they escape."""

from __future__ import annotations

import re
import unicodedata

# Invisible although Unicode calls them letters, marks or symbols: fillers, grapheme joiner, variation selectors.
_BLANK = frozenset((0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x2800, 0x3164, 0xFFA0)).union(
    range(0x180B, 0x1810), range(0xFE00, 0xFE10), range(0xE0100, 0xE01F0)
)
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def visible(text: str) -> str:
    """The text with every control, bidirectional, zero-width and unassigned character as a sign; line ends stay."""
    return "".join(map(_shown, text.replace("\r\n", "\n")))


def _shown(character: str) -> str:
    code = ord(character)
    if character == "\n" or 0x20 <= code < 0x7F:
        return character
    if character == "\t":
        return "    "
    if code < 0x20:
        return chr(0x2400 + code)  # ESC is shown as ␛
    if code in _BLANK or unicodedata.category(character) in _HIDDEN:
        return f"⟨U+{code:04X}⟩"
    return " " if unicodedata.category(character) == "Zs" else character


def fenced(shown: str) -> str:
    """A visible text in a fenced block of Markdown whose fence is longer than any run of backticks in it."""
    ticks = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", shown)), default=0))
    return f"{ticks}text\n{shown}\n{ticks}"


def one_line(text: str, limit: int = 300) -> str:
    """The text on one visible line of at most `limit` characters and a mark of the cut."""
    shown = visible(text[: limit + 1]).replace("\n", " ").strip()
    return shown if len(text) <= limit else f"{shown[:limit]}…"
