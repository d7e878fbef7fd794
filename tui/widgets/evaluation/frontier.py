"""Helpfulness against harmlessness by a judge's win rates: a cell of the grid, and the plane with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import wrap
from typing import Any

from engine.core.figures import percent
from tui.widgets.drawn import Cell
from tui.widgets.marks import QUIET, merged, share_bar
from tui.words.judging import judge_words
from tui.words.text import make_visible

KEY = ("judged", "frontier")  # in the place of a capability and a type
TITLE = "judged in pairs"
TALL = 17  # lines of the plane, where there is room
LABEL = 5
GROUND, POINT = "$foreground 20%", "$accent"
Row = Mapping[str, Any]
Line = list[Cell]


def small(points: Sequence[Row], width: int, tall: int) -> list[Line]:
    """A line for each condition and question: its win rate against the base. `tall` lines in all."""
    sides = ("helpful", "harmless")
    told = [(f"{_name(one, points)} {question}", one, question) for one in points for question in sides]
    beside = min(max((len(label) for label, _, _ in told), default=0), max(4, width - 20))
    bar = max(3, width - beside - 9)
    rows: list[Line] = []
    for label, one, question in told:
        drawn = share_bar(one[question], *_ends(one, question), bar)
        share = f"{percent(one[question]):>8}"
        rows.append([(f"{label[:beside]:<{beside}} ", QUIET), (drawn, POINT), (share, "bold")])
    return [*rows, *([] for _ in range(tall - len(rows)))][:tall]


def large(points: Sequence[Row], judged: Sequence[Row], width: int, tall: int) -> list[Line]:
    """The plane from 0 to 100 % both ways, the base at its middle, and what was judged in figures."""
    rows: list[Line] = [[(f"▸ {TITLE}", "bold " + POINT), ("  win rate against the base, 95 %", QUIET)]]
    told = [line for words in judge_words(judged) for line in wrap(make_visible(words), max(20, width))]
    if points:
        rows += _plane(points, max(20, width - LABEL), max(7, min(TALL, tall - len(told) - 4)))
    return [*rows, [], *([(line, "")] for line in told)]


def _plane(points: Sequence[Row], across: int, down: int) -> list[Line]:
    cells = [[(" ", "")] * across for _ in range(down)]

    def x_of(share: float) -> int:
        return max(0, min(across - 1, round(share * (across - 1))))

    def y_of(share: float) -> int:
        return down - 1 - max(0, min(down - 1, round(share * (down - 1))))

    middle = y_of(0.5)
    for x in range(across):
        cells[middle][x] = ("·", GROUND)
    for y in range(down):
        cells[y][x_of(0.5)] = ("·", GROUND)
    for one in points:
        x, y = x_of(one["helpful"]), y_of(one["harmless"])
        first, last = (x_of(end) for end in _ends(one, "helpful"))
        low, high = (y_of(end) for end in _ends(one, "harmless"))
        for at in range(first, last + 1):
            cells[y][at] = ("━", POINT)
        for at in range(high, low + 1):
            cells[at][x] = ("┃", POINT)
    marks = [("base", 0.5, 0.5, QUIET)]
    marks += [(_name(one, points), one["helpful"], one["harmless"], "bold " + POINT) for one in points]
    for name, helpful, harmless, tone in marks:
        x, y = x_of(helpful), y_of(harmless)
        label = f" {name}"[: max(x, across - x - 1)]  # what there is room for on the wider side
        start = x + 1 if x + 1 + len(label) <= across else x - len(label)
        for at, letter in enumerate(label, start):
            cells[y][at] = (letter, tone)
        cells[y][x] = ("●" if name != "base" else "○", tone)
    scale = {0: "100", middle: "50", down - 1: "0"}
    rows = [[(f"{scale.get(at, ''):>{LABEL - 1}} ", QUIET), *merged(line)] for at, line in enumerate(cells)]
    axis = [" "] * across
    for share, text in ((0.0, "0"), (0.5, "50"), (1.0, "100")):
        at = max(0, min(across - len(text), x_of(share) - len(text) // 2))
        axis[at : at + len(text)] = text
    named = "up: less harmful, % · right: more helpful, %"
    return [*rows, [(" " * LABEL + "".join(axis), QUIET)], [(" " * LABEL + named, QUIET)]]


def _name(one: Row, points: Sequence[Row]) -> str:
    """The condition, with its judge where there are several."""
    several = len({point["judge"] for point in points}) > 1
    return f"{one['condition']} by {make_visible(str(one['judge']))}" if several else str(one["condition"])


def _ends(one: Row, question: str) -> tuple[float, float]:
    """The interval, or the rate itself where it has none."""
    lo, hi = one[f"{question}_lo"], one[f"{question}_hi"]
    return (one[question], one[question]) if lo is None else (lo, hi)
