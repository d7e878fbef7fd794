"""The distribution of one critic's calibrated margins, with its threshold as a line."""

from __future__ import annotations

from collections.abc import Sequence

from textual.content import Content
from textual.widgets import Static

from tui.state import RunState
from tui.widgets.marks import BLOCKS, QUIET, lines, row


class MarginHistogram(Static):
    """Zero is the critic's zero point, one its good anchors; right of the threshold is what the critic keeps."""

    def __init__(self) -> None:
        super().__init__(id="histogram", classes="panel", markup=False)
        self.border_title = "Margins"

    def show(self, state: RunState, key: tuple[str, str] | None) -> None:
        if key is None or not state.margins.get(key):
            self.border_title, self.border_subtitle = "Margins", ""
            self.update(row(("A histogram of critic margins appears with the first judgement.", QUIET)))
            return
        critic, kind = key
        threshold = state.threshold(critic, kind)
        scores = list(state.margins[key])
        kept = sum(score >= threshold for score in scores) if threshold is not None else None
        self.border_title = Content(f"Margins · {critic} · {kind}")
        power = "filters" if threshold is not None else "unaudited: stored, filters nothing"
        self.border_subtitle = f"{power} · c next critic" if len(state.margins) > 1 else power
        width, height = max(16, self.content_size.width), max(4, self.content_size.height)
        self.update(draw(scores, threshold, width, height, kept))


def draw(scores: Sequence[float], threshold: float | None, width: int, height: int, kept: int | None) -> Content:
    """Columns of eighth blocks over an axis; `width` x `height` cells in all."""
    low, high = bounds(scores, threshold)
    span = high - low
    bins = [0] * width
    for score in scores:
        bins[max(0, min(width - 1, int((score - low) / span * width)))] += 1
    line_at = int(((threshold if threshold is not None else 0.0) - low) / span * width)
    line_at = max(0, min(width - 1, line_at))
    bar_rows = height - 2
    top = max(bins)
    rows = []
    for level in range(bar_rows - 1, -1, -1):
        cells: list[tuple[str, str]] = []
        for at, number in enumerate(bins):
            eighths = round(number / top * bar_rows * 8) if top else 0
            eighths = max(eighths, 1) if number else 0
            block = BLOCKS[max(0, min(8, eighths - level * 8))]
            tone = "$accent" if at >= line_at and threshold is not None else "$foreground-muted"
            if at == line_at and block == " ":
                cells.append(("┊", "$text-warning"))
            else:
                cells.append((block, tone))
        rows.append(row(*_merged(cells)))
    mark = "┻" if threshold is not None else "┴"
    axis = "─" * line_at + mark + "─" * (width - line_at - 1)
    rows.append(row((axis[:line_at], QUIET), (axis[line_at], "bold $text-warning"), (axis[line_at + 1 :], QUIET)))
    if threshold is not None:
        label = f"threshold {threshold:+.2f}"
        tail = f"keeps {kept:,} of {len(scores):,}"
    else:
        label, tail = "zero point", f"n={len(scores):,}"
    left, right = f"{low:+.1f}", f"{high:+.1f}"
    room = width - len(left) - len(right)
    middle = f"{label} · {tail}"
    if len(middle) > room - 2:
        middle = label if threshold is None else f"┻ {threshold:+.2f}, keeps {kept or 0:,}/{len(scores):,}"
    rows.append(row((left, QUIET), (f"{middle[: max(0, room - 2)]:^{room}}", ""), (right, QUIET)))
    return lines(rows)


def bounds(scores: Sequence[float], threshold: float | None) -> tuple[float, float]:
    """The axis: the middle 98 % of the scores, with zero, one and the threshold on it."""
    ordered = sorted(scores)
    edge = len(ordered) // 100
    marks = [0.0, 1.0] + ([threshold] if threshold is not None else [])
    low = min([ordered[edge], *marks])
    high = max([ordered[-1 - edge], *marks])
    pad = (high - low) * 0.04
    return low - pad, high + pad


def _merged(cells: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Neighbours of one style as one piece: a tenth of the spans."""
    merged: list[tuple[str, str]] = []
    for text, style in cells:
        if merged and merged[-1][1] == style:
            merged[-1] = (merged[-1][0] + text, style)
        else:
            merged.append((text, style))
    return merged
