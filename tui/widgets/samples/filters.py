"""The filters of the Samples room as one bar: what is chosen stands out, a click changes it."""

from __future__ import annotations

from textual.content import Content

from tui.widgets.marks import QUIET, row
from tui.widgets.strip import Strip
from tui.words.text import one_line
from tui.words.wording import VERDICT_SHAPES

_VERDICTS = (("a", "accepted"), ("r", "rejected"), ("u", "unsure"), ("e", "every"))


def _parts(
    verdict: str | None, flagged: bool, split: str | None, label: str | None, words: int
) -> list[tuple[str, bool, str]]:
    """Each filter as (text, whether it is chosen, its action); the fewer `words`, the shorter: 3 is all, 0 shapes."""
    parts: list[tuple[str, bool, str]] = []
    for key, word in _VERDICTS:
        chosen = verdict == word or (word == "every" and verdict is None)
        shape = VERDICT_SHAPES.get(word, "∗")
        name = f"{key} {shape} {word}" if words > 1 or (words and chosen) else f"{key} {shape}"
        parts.append((name, chosen, f"only('{'' if word == 'every' else word}')"))
    parts.append(("f ! flagged" if words > 1 else "f !", flagged, "flagged"))
    parts.append((f"t {split or ('any split' if words > 2 else 'split')}", split is not None, "split"))
    parts.append((f"L {label or 'labels'}", label is not None, "labelled"))
    return parts


class FilterBar(Strip):
    """Wraps onto a second line only where something long, a text or a condition, is chosen."""

    def __init__(self) -> None:
        super().__init__(id="samples-filter")

    def show(
        self, *, verdict: str | None, flagged: bool, split: str | None, label: str | None, margin: str, text: str,
        where: str, width: int,
    ) -> None:  # fmt: skip
        ways = [_parts(verdict, flagged, split, label, words) for words in (3, 2, 1, 0)]
        parts = next((way for way in ways if sum(len(name) + 2 for name, _, _ in way) <= width), ways[-1])
        first = self.draw(parts)
        second = [
            row((f" {key} ", "bold reverse"), (f" {name} ", QUIET), (one_line(value, max(12, width - 20)), "bold"), " ")
            for key, name, value in (("m", "margin", margin), ("/", "text", text), ("w", "where", where))
            if value
        ]
        if second:
            second.append(row((" x ", "bold reverse"), (" clears", QUIET)))
        self.update(Content("\n").join([first, *([Content.assemble(*second)] if second else [])]))
