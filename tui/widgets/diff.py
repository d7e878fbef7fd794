"""What changed from one text to another, word by word."""

from __future__ import annotations

import difflib
import re

from textual.content import Content

from tui.widgets.marks import row
from tui.words.text import make_visible

_WORDS = re.compile(r"\s+|[^\s\w]|\w+")
LONGEST = 6_000  # words; above it the comparison would take seconds


def word_diff(before: str, after: str) -> Content:
    """One text: what went is struck through between [- -], what came is underlined between {+ +}."""
    old, new = _WORDS.findall(make_visible(before)), _WORDS.findall(make_visible(after))
    if max(len(old), len(new)) > LONGEST:
        return row(("[-", "dim"), "".join(old), ("-]\n{+", "dim"), "".join(new), ("+}", "dim"))
    pieces: list[Content | str] = []
    for kind, a, b, c, d in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        gone, came = "".join(old[a:b]), "".join(new[c:d])
        if kind == "equal":
            pieces.append(gone)
            continue
        if gone:
            pieces.append(row((f"[-{gone}-]", "strike $text-error")))
        if came:
            pieces.append(row((f"{{+{came}+}}", "underline $text-success")))
    return Content.assemble(*pieces)
