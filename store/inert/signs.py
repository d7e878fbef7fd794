"""Text that others wrote with nothing hidden in it: what all faces begin with."""

from __future__ import annotations

import re
import unicodedata

# Invisible although Unicode calls them letters, marks or symbols: fillers, grapheme joiner, variation selectors.
_BLANK = frozenset((0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x2800, 0x3164, 0xFFA0)).union(
    range(0x180B, 0x1810), range(0xFE00, 0xFE10), range(0xE0100, 0xE01F0)
)
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
TAB = "    "


class Signs(dict[int, str]):
    """A table for str.translate: every control, bidirectional, zero-width and unassigned character as a sign."""

    def __missing__(self, code: int) -> str:
        char = chr(code)
        if code < 0x20:
            shown = chr(0x2400 + code)  # ESC is shown as ␛
        elif code in _BLANK or unicodedata.category(char) in _HIDDEN:
            shown = f"⟨U+{code:04X}⟩"
        else:
            shown = " " if unicodedata.category(char) == "Zs" else char
        self[code] = shown
        return shown


_LINES = Signs({0x0A: "\n", 0x09: TAB})


def visible(text: str) -> str:
    """The text with every hidden character as a sign; line ends stay, a CR LF counts as one."""
    return text.replace("\r\n", "\n").translate(_LINES)


def fenced(shown: str) -> str:
    """A visible text in a fenced block of Markdown whose fence is longer than any run of backticks in it."""
    ticks = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", shown)), default=0))
    return f"{ticks}text\n{shown}\n{ticks}"


def flat(text: str, limit: int = 300) -> str:
    """The text on one visible line, its ends as blanks, of at most `limit` characters and a mark of the cut."""
    shown = visible(text[: limit + 1]).replace("\n", " ").strip()
    return shown if len(text) <= limit else f"{shown[:limit]}…"
