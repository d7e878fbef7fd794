"""What each condition has right, by type of item: an interval plot for each type in a grid, or one of them large."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil
from typing import Any, ClassVar

from textual import events
from textual.binding import Binding, BindingType

from engine.core.figures import percent_of
from engine.stats.shares import wilson
from tui.reads.evaluation import Rates
from tui.widgets.drawn import Cell, Plot
from tui.widgets.evaluation import frontier
from tui.widgets.marks import QUIET, interval_bar, share_bar
from tui.words.evaluation import difference_words, place, rate
from tui.words.text import one_line

OWN, OTHER = "$accent", "$warning"
GROUND = "$foreground 20%"
LEAST_COLUMNS = 36  # of a plot that can be read
Row = Mapping[str, Any]
Key = tuple[str, str]  # capability, type
Line = list[Cell]


class Forest(Plot, can_focus=True):
    """Draws the page of the chosen type; given rates and comparisons, of another run the rates only."""

    DEFAULT_CSS = """
    Forest { height: 1fr; width: 1fr; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "large(True)", "Large", id="rates.large", tooltip="Open the chosen type large"),
        Binding("escape", "large(False)", "Back", id="rates.back", show=False, tooltip="From one type to all of them"),
        Binding("left,h", "move(-1, 0)", "Left", id="rates.left", show=False, tooltip="The type to the left"),
        Binding("right,l", "move(1, 0)", "Right", id="rates.right", show=False, tooltip="The type to the right"),
        Binding("down,j", "move(0, 1)", "Down", id="rates.down", show=False, tooltip="The type below"),
        Binding("up,k", "move(0, -1)", "Up", id="rates.up", show=False, tooltip="The type above"),
    ]  # fmt: skip

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id, classes="panel")
        self.border_title = "Right by type"
        self.large = False
        self._at = 0
        self._types: list[Key] = []
        self._own: Rates | None = None
        self._other: Rates | None = None
        self._results: Sequence[Row] = ()
        self._judged: Sequence[Row] = ()
        self._points: Sequence[Row] = ()
        self._grid = (1, 1)
        self._done: object = None

    @property
    def chosen(self) -> Key | None:
        return self._types[self._at] if self._types else None

    def learn(self, own: Rates, results: Sequence[Row], judged: Sequence[Row] = (), points: Sequence[Row] = ()) -> None:
        chosen = self.chosen
        self._own, self._results, self._judged, self._points = own, results, judged, points
        self._types = list(dict.fromkeys((str(one["capability"]), str(one["item_type"])) for one in own.rows))
        self._types.sort(key=lambda key: (key[0] != "instruction_following", key[1] != "all", key[1]))
        self._types += [frontier.KEY] if judged else []
        self._at = self._types.index(chosen) if chosen in self._types else 0
        self._draw()

    def lay_over(self, other: Rates | None) -> None:
        self._other = other
        self._draw()

    def on_resize(self, _: events.Resize) -> None:
        self._draw()

    def action_large(self, large: bool) -> None:
        self.large = large
        self._draw()
        self.refresh_bindings()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        return self.large != parameters[0] if action == "large" else True

    def action_move(self, across: int, down: int) -> None:
        if self._types:
            by = across + down * (1 if self.large else self._grid[0])
            at = self._at + by
            if abs(by) == 1:
                at %= len(self._types)
            if 0 <= at < len(self._types):
                self._at = at
                self._draw()

    def on_click(self, event: events.Click) -> None:
        point = event.get_content_offset(self)
        if point is None or self.large or self._own is None:
            return
        columns, rows = self._grid
        across, tall = self._plot_width, self._plot_height
        at = self._at // (columns * rows) * columns * rows
        at += max(0, point.y - len(self._legend())) // tall * columns + min(columns - 1, point.x // (across + 2))
        if at < len(self._types):
            again, self._at = at == self._at, at
            self._draw() if not again else self.action_large(True)

    # -- drawing -----------------------------------------------------------------------------------------------------

    def _conditions(self) -> list[str]:
        found = {str(one["condition"]) for rates in (self._own, self._other) if rates for one in rates.rows}
        return sorted(found, key=lambda name: (place(name), name))

    @property
    def _plot_height(self) -> int:
        return 1 + len(self._conditions()) * (2 if self._other else 1) + 1

    @property
    def _plot_width(self) -> int:
        columns = self._grid[0]
        return max(1, (self.content_size.width - 2 * (columns - 1)) // columns)

    def _draw(self) -> None:
        size = self.content_size
        if self._own is None or size.area == 0:
            return
        legend = self._legend()
        room = max(1, size.height - len(legend))
        columns = max(1, min(len(self._types) or 1, size.width // LEAST_COLUMNS))
        columns = ceil(len(self._types) / ceil(len(self._types) / columns)) if self._types else 1
        self._grid = (columns, max(1, (room + 1) // self._plot_height))
        now = (self._own, self._other, self._results, self._judged, size, self._at, self.large)
        if now == self._done:
            return
        self._done = now
        rows = [*legend, *(self._large(size.width) if self.large else self._page())]
        self.put(rows[: size.height])
        many, page = len(self._types), self._grid[0] * self._grid[1]
        first = self._at // page * page
        told = "Esc back · " if self.large else ""
        if not self.large and page < many:
            told = f"types {first + 1}–{min(many, first + page)} of {many} · "
        about = "by a judge" if self.large and self.chosen == frontier.KEY else "share right of test items, Wilson 95 %"
        self.border_subtitle = f"{told}{about}"

    def _legend(self) -> list[Line]:
        """Whose is whose, where another run is laid over."""
        if self._own is None or self._other is None:
            return []
        caveat = "" if self._other.same_scorer else " · other verifiers judged it"
        return [_cut([("━●━ ", OWN), (self._own.run_id, ""), ("  ━○━ ", OTHER), (self._other.run_id, ""),
                      (f" ({self._other.place} of {self._other.of}), the same items{caveat}", QUIET)],
                     self.content_size.width)]  # fmt: skip

    def _page(self) -> list[Line]:
        columns, rows = self._grid
        first = self._at // (columns * rows) * columns * rows
        found: list[Line] = []
        for down in range(rows):
            beside = range(first + down * columns, min(len(self._types), first + (down + 1) * columns))
            plots = [self._plot(at, self._plot_width) for at in beside]
            found += [[cell for line in across for cell in (*line, ("  ", ""))] for across in zip(*plots, strict=True)]
            found += [[]] if plots else []
        return found

    def _plot(self, at: int, width: int) -> list[Line]:
        """One type: its name, and a line for each condition and run."""
        key, here = self._types[at], at == self._at
        if key == frontier.KEY:
            return self._frontier(here, width)
        n = max((one["n"] for one in self._of(self._own, key).values()), default=0)
        name = one_line(f"{'▸ ' if here else ''}{title_of(key)}", max(1, width - 10))
        told = f" n {n:,} "
        rule = ("━" if here else "─") * max(0, width - len(name) - len(told))
        rows = [[(name, "bold $accent" if here else "bold"), (told, QUIET), (rule, OWN if here else GROUND)]]
        names = self._conditions()
        beside = min(max(map(len, names), default=0), max(4, width - 20))
        for name in names:
            for rates, tone in ((self._own, OWN), (self._other, OTHER)):
                if rates is not None:
                    label = one_line(name, beside) if tone == OWN else ""
                    rows.append(_interval(label, beside, self._of(rates, key).get(name), width, tone))
        return [_cut(line, width) for line in rows]

    def _frontier(self, here: bool, width: int) -> list[Line]:
        """What a judge said, in the place of a type."""
        name = f"{'▸ ' if here else ''}{frontier.TITLE} "
        rule = ("━" if here else "─") * max(0, width - len(name))
        head = [(name, "bold $accent" if here else "bold"), (rule, OWN if here else GROUND)]
        rows = [head, *frontier.small(self._points, width, self._plot_height - 2)]
        return [_cut(line, width) for line in rows]

    def _large(self, width: int) -> list[Line]:
        """The chosen type alone: an axis, each condition with its interval in figures, and what was compared."""
        if (key := self.chosen) is None:
            return []
        if key == frontier.KEY:
            rows = frontier.large(self._points, self._judged, width, self.content_size.height)
            return [_cut(line, width) for line in rows]
        names = self._conditions()
        beside = max(map(len, names), default=0)
        both = [one for rates in (self._own, self._other) for one in self._of(rates, key).values()]
        told = max(len(rate(one)) for one in both)
        bar = max(8, width - beside - told - 4)
        rows = [
            [(f"▸ {title_of(key)}", "bold $accent"), (f"  {self._at + 1} of {len(self._types)}", QUIET)],
            [(" " * (beside + 1) + _axis(bar), QUIET)],
        ]
        for name in names:
            for rates, tone in ((self._own, OWN), (self._other, OTHER)):
                if (one := self._of(rates, key).get(name)) is not None:
                    share = share_bar(one["n_right"] / one["n"], *wilson(one["n_right"], one["n"]), bar)
                    rows.append([(f"{name if tone == OWN else '':<{beside}} ", "bold"), *_parts(share, tone),
                                 (f" {rate(one)}", "")])  # fmt: skip
        results = [one for one in self._results if (one["capability"], one["item_type"]) == key]
        if results:
            reach = max(abs(one[end]) for one in results for end in ("lo", "hi"))
            rows += [[], [("Differences, points", "bold"), (f"  bars to ±{100 * reach:.0f}", QUIET)]]
            label = max(len(f"{one['before']} → {one['after']}") for one in results)
            across = max(8, width - label - max(len(difference_words(one)) for one in results) - 4)
            for one in results:
                drawn = interval_bar(one["difference"], one["lo"], one["hi"], across, reach)
                rows.append([(f"{one['before']} → {one['after']}".ljust(label) + " ", ""), *_parts(drawn, OWN),
                             (f" {difference_words(one)}", "")])  # fmt: skip
        return [_cut(line, width) for line in rows]

    def _of(self, rates: Rates | None, key: Key) -> dict[str, Row]:
        if rates is None:
            return {}
        return {str(one["condition"]): one for one in rates.rows if (one["capability"], one["item_type"]) == key}


def title_of(key: Key) -> str:
    """A type in words; all types of a capability together by that."""
    if key[1] != "all":
        return key[1].replace("_", " ")
    return "all types" if key[0] == "instruction_following" else f"{key[0].replace('_', ' ')}, all types"


def _interval(label: str, beside: int, one: Row | None, width: int, tone: str) -> Line:
    bar = max(3, width - beside - 9)
    if one is None:
        return [(f"{label:<{beside}} ", QUIET), (" " * bar, ""), ("       –", QUIET)]
    drawn = share_bar(one["n_right"] / one["n"], *wilson(one["n_right"], one["n"]), bar)
    told = f"{percent_of(one['n_right'], one['n']):>8}"
    return [(f"{label:<{beside}} ", QUIET), *_parts(drawn, tone), (told, "bold" if tone == OWN else tone)]


def _parts(drawn: str, tone: str) -> Line:
    """An interval in its colour on a quiet ground; another run's point is hollow."""
    inside = drawn.strip("·│")
    first = drawn.index(inside)
    return [(drawn[:first], GROUND), (inside if tone == OWN else inside.replace("●", "○"), tone),
            (drawn[first + len(inside) :], GROUND)]  # fmt: skip


def _cut(line: Line, width: int) -> Line:
    """The line in exactly `width` cells."""
    found: Line = []
    for text, tone in line:
        found.append((text[:width], tone))
        width -= len(found[-1][0])
    return [*found, (" " * width, "")]


def _axis(width: int) -> str:
    """0 to 100 % over the cells of a bar."""
    rule = [" "] * width
    for share in (0, 25, 50, 75, 100) if width >= 40 else (0, 50, 100) if width >= 16 else (0, 100):
        label = f"{share} %" if share == 100 else str(share)
        at = max(0, min(width - len(label), round(share / 100 * (width - 1)) - len(label) // 2))
        rule[at : at + len(label)] = label
    return "".join(rule)
