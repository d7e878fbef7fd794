"""Small drawings made of text: bars, shares, sparklines. All pure functions to `Content`."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import wrap

from textual.content import Content

from tui.words.text import make_visible

Piece = str | Content | tuple[str, str]

QUIET = "$foreground-muted"
BLOCKS = " ▁▂▃▄▅▆▇█"
TONES = {
    "good": "$text-success",
    "bad": "$text-error",
    "warn": "$text-warning",
    "busy": "$accent",
    "quiet": "$foreground-muted",
}
VERDICT_TONES = {"accepted": "good", "rejected": "bad", "unsure": "warn"}


def lines(rows: Sequence[Content]) -> Content:
    return Content("\n").join(rows)


def row(*pieces: Piece) -> Content:
    return Content.assemble(*pieces)


def merged(cells: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Neighbours of one style as one piece: a tenth of the spans."""
    found: list[tuple[str, str]] = []
    for text, style in cells:
        if found and found[-1][1] == style:
            found[-1] = (found[-1][0] + text, style)
        else:
            found.append((text, style))
    return found


def progress_bar(share: float, width: int, tone: str = "$accent") -> Content:
    """A thin bar of `width` cells, halves of a cell fine; it is full only when all is done."""
    halves = int(min(1.0, max(0.0, share)) * width * 2)
    full, half = divmod(halves, 2)
    filled = "━" * full + ("╸" if half else "")
    return row((filled, tone), ("─" * (width - len(filled)), "$foreground 20%"))


def sparkline(values: Sequence[float], width: int, top: float | None = None) -> str:
    """The last `width` values, scaled from zero, or the least where that is below, to `top` or their maximum."""
    shown = list(values)[-width:]
    top = max(shown, default=0.0) if top is None else top
    low = min(0.0, *shown) if shown else 0.0
    if top <= low:
        return "▁" * len(shown)
    return "".join(BLOCKS[1 + min(7, int((value - low) / (top - low) * 7.999))] for value in shown)


def signed_bar(value: float, threshold: float | None, width: int, reach: float) -> Content:
    """A margin as a bar out of the zero point in the middle, with its threshold as a line.

    `reach` is the value at either end; what is beyond it ends in an arrow.
    """
    half = width // 2
    cells = [(" ", "")] * (2 * half + 1)
    length = min(half, round(abs(value) / reach * half)) if reach > 0 else 0
    tone = TONES["good"] if value >= (threshold if threshold is not None else 0.0) else TONES["bad"]
    step = 1 if value >= 0 else -1
    for offset in range(1, length + 1):
        cells[half + step * offset] = ("█", tone)
    if abs(value) > reach:
        cells[half + step * half] = ("▶" if step > 0 else "◀", tone)
    cells[half] = ("│", QUIET)
    if threshold is not None:
        at = half + max(-half, min(half, round(threshold / reach * half)))
        cells[at] = ("┃", "bold $accent")
    return row(*cells)


def percent(share: float) -> str:
    return f"{100 * share:5.1f} %"


def interval_bar(value: float, low: float, high: float, width: int, reach: float) -> str:
    """An interval and its estimate over an axis from -`reach` to `reach` with a line at zero."""
    if reach > 0:
        at, first, last, zero = (_place((x / reach + 1) / 2, width) for x in (value, low, high, 0.0))
    else:
        at = first = last = zero = (width - 1) // 2
    return _interval(at, first, last, width, zero)


def share_bar(share: float, low: float, high: float, width: int) -> str:
    """A share and its interval over an axis from 0 to 1."""
    at, first, last = (_place(x, width) for x in (share, low, high))
    return _interval(at, first, last, width)


def _place(share: float, width: int) -> int:
    return max(0, min(width - 1, round(share * (width - 1))))


def _interval(at: int, first: int, last: int, width: int, zero: int | None = None) -> str:
    cells = ["·"] * width
    for inside in range(first, last + 1):
        cells[inside] = "━"
    if zero is not None:
        cells[zero] = "┃" if cells[zero] == "━" else "│"
    cells[first], cells[last] = "╺", "╸"
    cells[at] = "●"
    return "".join(cells)


def hanging(head: tuple[str, str], told: str, width: int, style: str = "", limit: int = 800) -> list[Content]:
    """A text behind its head; what does not fit on the line stands below its beginning."""
    indent = len(head[0])
    first, *rest = wrap(make_visible(told, limit=limit), max(20, width - indent)) or [""]
    return [row(head, (first, style)), *(row(" " * indent, (line, style)) for line in rest)]


def written(before: str, wrote: str, limit: int) -> Content:
    """A text that was only read, quiet, and between ⟪ and ⟫ what a model wrote or learned; each cut to `limit`."""
    read, own = make_visible(before, limit=limit), make_visible(wrote, limit=limit)
    return row((read, QUIET), ("⟪", "$accent"), (own, "bold"), ("⟫", "$accent"))
