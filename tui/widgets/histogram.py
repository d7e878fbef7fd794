"""Histograms of text: a critic's margins with its threshold as a line, lengths with their limit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from textual.content import Content

from tui.widgets.marks import BLOCKS, QUIET, lines, merged, row


def draw(
    scores: Sequence[float], threshold: float | None, width: int, height: int, kept: int | None, *, nats: bool = False
) -> Content:
    """Columns of eighth blocks over an axis; `width` x `height` cells in all. A score of 1 is on it, for `nats` not."""
    low, high = bounds(scores, threshold, () if nats else (1.0,))
    span = high - low
    bins = [0] * width
    for score in scores:
        bins[max(0, min(width - 1, int((score - low) / span * width)))] += 1
    line_at = int(((threshold if threshold is not None else 0.0) - low) / span * width)
    line_at = max(0, min(width - 1, line_at))
    filtering = threshold is not None
    tone = lambda at: "$accent" if filtering and at >= line_at else "$foreground-muted"  # noqa: E731
    rows = _columns(bins, height - 2, tone, line_at)
    rows.append(_axis(line_at, width, "┻" if filtering else "┴"))
    if threshold is not None:
        label = f"threshold {threshold:+.2f}"
        tail = f"keeps {kept:,} of {len(scores):,}"
    else:
        label, tail = "zero point", f"n={len(scores):,}"
    digits = 1 if high - low > 1 else 2
    left, right = f"{low:+.{digits}f}", f"{high:+.{digits}f}"
    room = max(0, width - len(left) - len(right))
    middle = f"{label} · {tail}"
    if len(middle) > room - 2:
        middle = label if threshold is None else f"┻ {threshold:+.2f}, keeps {kept or 0:,}/{len(scores):,}"
    rows.append(row((left, QUIET), (f"{middle[: max(0, room - 2)]:^{room}}", ""), (right, QUIET)))
    return lines(rows)


def draw_lengths(counts: Mapping[int, int], limit: int | None, width: int, height: int) -> Content:
    """Counts by length as columns of eighth blocks; the token limit is a line at the right."""
    high = max([*counts, limit or 0]) + 1
    bins = [0] * width
    for length, n in counts.items():
        bins[min(width - 1, length * width // high)] += n
    line_at = min(width - 1, limit * width // high) if limit is not None else -1
    rows = _columns(bins, height - 2, lambda at: "$text-warning" if at == line_at else "$accent", line_at)
    rows.append(_axis(line_at, width, "┻") if line_at >= 0 else row(("─" * width, QUIET)))
    right = f"{high - 1}"
    middle = f"limit {limit}" if limit is not None else ""
    rows.append(row(("0", QUIET), (f"{middle:>{max(0, width - 2 - len(right))}} ", ""), (right, QUIET)))
    return lines(rows)


def _columns(bins: Sequence[int], height: int, tone: Callable[[int], str], line_at: int) -> list[Content]:
    top = max(bins)
    rows = []
    for level in range(height - 1, -1, -1):
        cells: list[tuple[str, str]] = []
        for at, number in enumerate(bins):
            eighths = round(number / top * height * 8) if top else 0
            block = BLOCKS[max(0, min(8, (max(eighths, 1) if number else 0) - level * 8))]
            cells.append(("┊", "$text-warning") if at == line_at and block == " " else (block, tone(at)))
        rows.append(row(*merged(cells)))
    return rows


def _axis(line_at: int, width: int, mark: str) -> Content:
    return row(("─" * line_at, QUIET), (mark, "bold $text-warning"), ("─" * (width - line_at - 1), QUIET))


def bounds(scores: Sequence[float], threshold: float | None, shown: tuple[float, ...] = (1.0,)) -> tuple[float, float]:
    """The axis: the middle 98 % of the scores, with zero, what else is to be shown, and the threshold on it."""
    ordered = sorted(scores)
    edge = len(ordered) // 100
    marks = [0.0, *shown] + ([threshold] if threshold is not None else [])
    low = min([ordered[edge], *marks])
    high = max([ordered[-1 - edge], *marks])
    pad = (high - low) * 0.04 or 0.04
    return low - pad, high + pad
