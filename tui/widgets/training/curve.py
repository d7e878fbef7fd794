"""One measured quantity over the steps of a training, another training's below it, and the step that is read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from textual import events
from textual.message import Message

from tui.widgets.drawn import Cell, Plot
from tui.widgets.marks import QUIET, merged
from tui.widgets.training.line import EMPTY, Line
from tui.words.text import one_line

OWN, OTHER = "$accent", "$warning"
FAINT = "$accent 40%"
RULE = "$foreground 20%"
AXIS_FROM = 6  # lines that a curve has before one of them is for its steps


@dataclass(frozen=True, slots=True)
class Picture:
    """What a curve is drawn from: its own line first, then the one laid over it.

    `factor` is that of the smoothing, 0 for none; `span` the first and the last step; `at` the step that is read.
    """

    title: str
    digits: str
    drawn: tuple[Line, ...]
    factor: float
    span: tuple[int, int]
    at: int
    chosen: bool = False
    large: bool = False


class Curve(Plot):
    """Draws the lines of its picture that changed; its dots are made anew only when the measured lines did."""

    DEFAULT_CSS = """
    Curve { width: 1fr; height: 1fr; }
    """

    @dataclass
    class Pressed(Message):
        """A curve was clicked."""

        curve: Curve

    def __init__(self) -> None:
        super().__init__()
        self._picture: Picture | None = None
        self._done: object = None
        self._dots: tuple[object, list[tuple[str, list[list[int]]]]] = (None, [])

    @property
    def picture(self) -> Picture | None:
        return self._picture

    def draw(self, picture: Picture) -> None:
        self._picture = picture
        self._draw()

    def on_resize(self, _: events.Resize) -> None:
        self._draw()

    def on_click(self) -> None:
        self.post_message(self.Pressed(self))

    def _draw(self) -> None:
        now, (width, height) = (self._picture, self.size), self.size
        if self._picture is None or now == self._done or self.size.area == 0:
            return
        self._done = now
        self.put(self._drawn(self._picture, width, height))

    def _drawn(self, picture: Picture, width: int, height: int) -> list[list[Cell]]:
        rows = [_head(picture, width)]
        reach = _reach(picture.drawn)
        axis = height >= AXIS_FROM
        body = height - 1 - axis
        labels = _labels(reach, body, 4 if picture.large else body - 1 if body < 7 else body // 2)
        beside = max((len(label) for label in labels.values()), default=0)
        across = width - beside - 1
        if body < 1 or across < 2:
            return rows[:height]
        for at, cells in enumerate(self._cells(picture, reach, across, body)):
            mark = "┤" if at in labels else "│"
            rows.append([(f"{labels.get(at, ''):>{beside}}{mark}", QUIET), *merged(cells)])
        if axis:
            rows.append([(" " * beside + _steps_below(picture.span, across, large=picture.large), QUIET)])
        return rows

    def _cells(self, picture: Picture, reach: tuple[float, float], width: int, height: int) -> list[list[Cell]]:
        wanted = (picture.drawn, picture.factor, picture.span, reach, width, height)
        if self._dots[0] != wanted:
            layers = []
            for line, tone in zip(picture.drawn, (OWN, OTHER), strict=False):
                smooth = line.smoothed(picture.factor)
                layers.append((tone, smooth.dots(picture.span, reach, width, height, dashed=tone == OTHER)))
            if picture.factor:
                layers.append((FAINT, picture.drawn[0].dots(picture.span, reach, width, height)))
            self._dots = (wanted, layers)
        layers = self._dots[1]
        cells: list[list[Cell]] = []
        for at in range(height):
            line_of: list[Cell] = [(" ", "")] * width
            for tone, masks in reversed(layers):
                for column, mask in enumerate(masks[at]):
                    if mask:
                        line_of[column] = (chr(EMPTY + mask), tone)
            cells.append(line_of)
        _mark(cells, picture, reach)
        return cells


def _mark(cells: list[list[Cell]], picture: Picture, reach: tuple[float, float]) -> None:
    """A line at the step that is read, with a point where the curve is."""
    width, height = len(cells[0]), len(cells)
    span = (picture.span[1] - picture.span[0]) or 1
    column = min(width - 1, round((picture.at - picture.span[0]) / span * (2 * width - 1)) // 2)
    for line_of in cells:
        if line_of[column][0] == " ":
            line_of[column] = ("│", RULE)
    value = picture.drawn[0].smoothed(picture.factor).at(picture.at)
    if value is not None and value == value and abs(value) != float("inf"):
        dot = round((reach[1] - value) / (reach[1] - reach[0]) * (4 * height - 1))
        cells[max(0, min(height - 1, dot // 4))][column] = ("●", "bold $foreground")


def _head(picture: Picture, width: int) -> list[Cell]:
    """The quantity with its value, and the factor of the smoothing, over the width of the curve."""
    own = picture.drawn[0]
    told = _told(own.at(picture.at), picture.digits)
    mark = "▸ " if picture.chosen else ""
    tail = f" · EMA {picture.factor:g}" if picture.factor else ""
    if picture.large and picture.factor:
        tail += f": {_told(own.smoothed(picture.factor).at(picture.at), picture.digits)}"
    beside = ""
    if len(picture.drawn) > 1 and (value := picture.drawn[1].at(picture.at)) is not None:
        beside = f" · {_told(value, picture.digits)}"
    title = f"{mark}{picture.title}"
    if len(title) + len(told) + len(beside) + len(tail) + 2 > width:
        tail = f" ~{picture.factor:g}" if picture.factor else ""
    title = one_line(title, max(1, width - len(told) - len(tail) - 1))
    used = len(title) + len(told) + len(tail) + 1
    if used + len(beside) > width:
        beside = ""
    rest = width - used - len(beside) - 1
    return [
        (title, "bold $accent" if picture.chosen else ""), (" ", ""), (told, "bold"), (beside, OTHER), (tail, QUIET),
        (f" {('━' if picture.chosen else '─') * rest}" if rest > 0 else "", OWN if picture.chosen else RULE),
    ]  # fmt: skip


def _told(value: float | None, digits: str) -> str:
    return "–" if value is None else format(value, digits)


def _reach(drawn: Sequence[Line]) -> tuple[float, float]:
    ranges = [line.range for line in drawn if line.range is not None]
    low, high = min((one for one, _ in ranges), default=0.0), max((other for _, other in ranges), default=0.0)
    if high <= low:
        pad = abs(low) * 0.1 or 1.0
        return low - pad, high + pad
    return low, high


def _labels(reach: tuple[float, float], height: int, every: int) -> dict[int, str]:
    """Values beside some of the rows, the first and the last among them."""
    if height < 2:
        return {}
    many = max(1, (height - 1) // max(1, every))
    at = {round(index * (height - 1) / many) for index in range(many + 1)}
    step = (reach[1] - reach[0]) / (height - 1)
    return {one: short(reach[1] - one * step, reach[1] - reach[0]) for one in at}


def short(value: float, span: float) -> str:
    """A value on an axis of that length, in few characters."""
    size = max(abs(value), span)
    if abs(value) < 1e-6 * span:
        return "0"
    if size >= 1e6 or size < 1e-3:
        return f"{value:.1e}".replace("e-0", "e-").replace("e+0", "e")
    if span >= 100 or size >= 1e4:
        return f"{value:,.0f}"
    return f"{value:.{2 if span >= 0.1 else 3 if span >= 0.01 else 4}f}" if span < 10 else f"{value:.1f}"


def _steps_below(span: tuple[int, int], width: int, *, large: bool) -> str:
    """A rule with steps on it: the first, the last, and where the curve is large round ones between."""
    rule = ["└", *"─" * width]
    free = 1

    def put(step: int, *, before: int) -> None:
        nonlocal free
        label = f"{step:,}"
        at = 1 + round((width - 1) * (step - span[0]) / max(1, span[1] - span[0])) - len(label) // 2
        at = max(1, min(width + 1 - len(label), at))
        if at >= free and at + len(label) <= before:
            rule[at : at + len(label)] = label
            free = at + len(label) + 2

    last = width + 1 - len(f"{span[1]:,}")
    put(span[0], before=width + 1)
    if large:
        apart = round_step((span[1] - span[0]) * 12 / width)
        for step in range(apart * (span[0] // apart + 1), span[1], apart):
            put(step, before=last - 1)
    if span[1] > span[0]:
        put(span[1], before=width + 1)
    return "".join(rule)


def round_step(least: float) -> int:
    """The least of 1, 2, 5, 10, 20, ... that is not below it."""
    size = 1
    while size * 10 < least:
        size *= 10
    return next((size * by for by in (1, 2, 5) if size * by >= least), size * 10)
