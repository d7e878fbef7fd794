"""A measured quantity over the steps of a training, smoothed, and as dots of Braille."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from math import isfinite

_BITS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))  # by row and column of the 4 x 2 dots of a cell
EMPTY = 0x2800


class Line:
    """Values by step, steps rising, of a training that came to the step `ends`.

    Two lines are one only where they are the same object: it is drawn once.
    """

    def __init__(self, steps: Sequence[int], values: Sequence[float], ends: int) -> None:
        self.steps, self.values, self.ends = steps, values, ends
        self._whole = all(map(isfinite, values))
        finite = values if self._whole else [value for value in values if isfinite(value)]
        self.range = (min(finite), max(finite)) if finite else None
        self._smoothed: dict[float, Line] = {}

    def at(self, step: int) -> float | None:
        """The last value that was measured up to a step; None before the first and behind the training's last step."""
        index = bisect_right(self.steps, step) if step <= self.ends else 0
        return self.values[index - 1] if index else None

    def where(self, value: float) -> int:
        """The first step that has this value."""
        return self.steps[self.values.index(value)]

    def smoothed(self, factor: float) -> Line:
        """The exponential moving average by steps, its bias to the first value taken out.

        A value weighs `factor` times less for each step that it is older: what is measured every hundredth step is
        hardly smoothed. Kingma and Ba 2015, section 3, has the correction.
        """
        if factor and factor not in self._smoothed:
            found, mean, weight, before = [], 0.0, 0.0, 0
            for step, value in zip(self.steps, self.values, strict=True):
                if isfinite(value):
                    kept = factor ** (step - before)
                    mean, weight, before = kept * mean + (1 - kept) * value, kept * weight + 1 - kept, step
                found.append(mean / weight if isfinite(value) else value)
            self._smoothed[factor] = Line(self.steps, found, self.ends)
        return self._smoothed.get(factor, self)

    def dots(
        self, span: tuple[float, float], reach: tuple[float, float], width: int, height: int, *, dashed: bool = False
    ) -> list[list[int]]:
        """The line over the steps of `span` and the values of `reach`, in `height` rows of `width` masks of dots.

        A value that is no number is a gap. Where steps share a column of dots, it goes from their least to their
        greatest value.
        """
        masks = [[0] * width for _ in range(height)]
        columns, below = 2 * width, 4 * height - 1
        scale = (columns - 1) / ((span[1] - span[0]) or 1.0)
        tall = below / (reach[1] - reach[0])

        def row_of(value: float) -> int:
            return max(0, min(below, round((reach[1] - value) * tall)))

        def fill(column: int, one: int, other: int) -> None:
            if dashed and column // 2 % 2:
                return
            for dot in range(min(one, other), max(one, other) + 1):
                masks[dot // 4][column // 2] |= _BITS[dot % 4][column % 2]

        before: tuple[int, int] | None = None
        index = bisect_left(self.steps, span[0])
        while index < len(self.steps) and self.steps[index] <= span[1]:
            column = min(columns - 1, round((self.steps[index] - span[0]) * scale))
            end = max(index + 1, bisect_left(self.steps, span[0] + (column + 0.5) / scale, index))
            values = self.values[index:end]
            gap = False
            if not self._whole:
                finite = [value for value in values if isfinite(value)]
                gap, values = len(finite) < len(values), finite
            index = end
            if not values:
                before = None
                continue
            first = row_of(values[0])
            if before is not None:
                far, was = column - before[0], before[1]
                for step in range(1, far + 1):
                    now = round(before[1] + (first - before[1]) * step / far)
                    fill(before[0] + step, was + (now > was) - (now < was), now)
                    was = now
            fill(column, row_of(min(values)), row_of(max(values)))
            before = None if gap else (column, row_of(values[-1]))
        return masks
