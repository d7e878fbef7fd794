"""Every measured quantity of a training as a small curve in a grid, one of them chosen, or that one alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, log
from typing import Any, NamedTuple

from textual import events
from textual.containers import Grid
from textual.message import Message

from tui.widgets.training.curve import Curve, Picture
from tui.widgets.training.line import Line

LEAST_COLUMNS, LEAST_ROWS = 24, 5  # of a curve that can be read
WELL_SHAPED = 4.5  # columns for each row of a curve
FACTORS = (0.0, 0.6, 0.9, 0.98)  # of the smoothing, none first
Step = Mapping[str, Any]


class Quantity(NamedTuple):
    key: str
    title: str
    digits: str
    measured: bool = True  # with noise, which smoothing takes out


QUANTITIES = (
    Quantity("loss", "Loss", ".4f"),
    Quantity("heldout_loss", "Held-out loss", ".4f"),
    Quantity("learning_rate", "Learning rate", ".2e", measured=False),
    Quantity("grad_norm", "Gradient norm", ".3f"),
    Quantity("speed", "Tokens/s", ",.0f"),
    Quantity("entropy", "Entropy, nats/token", ".3f"),
    Quantity("reward_margin", "Reward margin", "+.3f"),
    Quantity("reward_accuracy", "Reward accuracy", ".3f"),
)


class Curves(Grid):
    """Given steps, it draws those that there is room for, the page of the chosen one; what did not change stays."""

    DEFAULT_CSS = """
    Curves { height: 1fr; grid-gutter: 0 2; grid-size: 1; }
    """

    @dataclass
    class Chosen(Message):
        """A curve was clicked; `again` where it was chosen already."""

        again: bool

    class Paged(Message):
        """Other curves are shown than before; see `page`."""

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self.chosen = QUANTITIES[0].key
        self.large = False
        self.factor = FACTORS[0]
        self.columns = 1
        self._own: dict[str, Line] = {}
        self._other: dict[str, Line] = {}
        self._at = 0
        self._curves: list[Curve] = []
        self._shape = (0, 0)
        self.page = (1, 1, 1)  # the first and the last quantity that is drawn, and how many there are

    @property
    def quantities(self) -> list[Quantity]:
        """What this training measured at least once."""
        return [item for item in QUANTITIES if item.key in self._own]

    @property
    def line(self) -> Line | None:
        """The chosen quantity as it was measured."""
        return self._own.get(self.chosen)

    def learn(self, steps: Sequence[Step]) -> None:
        """Take the steps of the training; drawn by `read_at`, as all that follows."""
        self._own = lines_of(steps)
        found = self.quantities
        if found and self.chosen not in self._own:
            self.chosen = found[0].key

    def lay_over(self, steps: Sequence[Step]) -> None:
        """Take the steps of another training; none for no other."""
        self._other = lines_of(steps)

    def read_at(self, step: int) -> None:
        """Draw, with a line at the step that is read."""
        self._at = step
        self.lay_out()

    def choose(self, across: int, down: int) -> None:
        """Choose the curve so many columns and rows away; those that are large follow one another."""
        found = [item.key for item in self.quantities]
        if found:
            by = across + down * (1 if self.large else self.columns)
            at = found.index(self.chosen) + by
            if self.large or abs(by) == 1:
                at %= len(found)
            elif not 0 <= at < len(found):  # the row above or below has no such column, or there is none
                many = ceil(len(found) / self.columns) * self.columns
                at %= many
                at = at if at < len(found) else len(found) - 1
            self.chosen = found[at]

    def smooth(self) -> None:
        self.factor = FACTORS[(FACTORS.index(self.factor) + 1) % len(FACTORS)]

    def lay_out(self) -> None:
        """Draw what changed in as many curves as there is room for."""
        found, size = self.quantities, self.content_size
        if not found or size.area == 0:
            return
        shape = (1, 1) if self.large else shape_of(len(found), size.width, size.height)
        self.columns, room = shape[0], shape[0] * shape[1]
        chosen = next(at for at, item in enumerate(found) if item.key == self.chosen)
        first = chosen // room * room
        page = found[first : first + room]
        if (now := (first + 1, first + len(page), len(found))) != self.page:
            self.page = now
            self.post_message(self.Paged())
        while len(self._curves) < len(page):
            self._curves.append(Curve())
            self.mount(self._curves[-1])
        if shape != self._shape:
            self._shape = shape
            self.styles.grid_size_columns, self.styles.grid_size_rows = shape
        last = max((line.steps[-1] for lines in (self._own, self._other) for line in lines.values()), default=1)
        begin = min((line.steps[0] for lines in (self._own, self._other) for line in lines.values()), default=1)
        for at, curve in enumerate(self._curves):
            curve.display = at < len(page)
            if at < len(page):
                item = page[at]
                drawn = tuple(lines[item.key] for lines in (self._own, self._other) if item.key in lines)
                curve.draw(
                    Picture(
                        item.title, item.digits, drawn, self.factor if item.measured else 0.0, (begin, last), self._at,
                        chosen=item.key == self.chosen and len(found) > 1, large=self.large,
                    )
                )  # fmt: skip

    def on_resize(self, _: events.Resize) -> None:
        self.lay_out()

    def on_curve_pressed(self, event: Curve.Pressed) -> None:
        event.stop()
        titles = {item.title: item.key for item in QUANTITIES}
        if event.curve.picture is not None:
            key = titles[event.curve.picture.title]
            again, self.chosen = key == self.chosen, key
            self.post_message(self.Chosen(again))


def lines_of(steps: Sequence[Step]) -> dict[str, Line]:
    """A line for each quantity that was measured at all."""
    found = {}
    for item in QUANTITIES:
        if item.key == "speed":
            points = [(one["step"], one["n_tokens"] / one["seconds"]) for one in steps if one["seconds"] > 0]
        else:
            points = [(one["step"], one[item.key]) for one in steps if one[item.key] is not None]
        if points:
            at, values = zip(*points, strict=True)
            found[item.key] = Line(at, values, steps[-1]["step"])
    return found


def shape_of(many: int, width: int, height: int) -> tuple[int, int]:
    """Columns and rows of a grid that shows the most of so many curves, each as well shaped as can be."""
    best, found = (0, 0.0), (1, 1)
    for columns in range(1, max(1, min(many, width // LEAST_COLUMNS)) + 1):
        rows = max(1, min(ceil(many / columns), height // LEAST_ROWS))
        ill = abs(log(max(1, width // columns) / max(1, height // rows) / WELL_SHAPED))
        empty = columns * rows - min(many, columns * rows)
        rank = (min(many, columns * rows), -ill - 0.15 * empty)
        if rank > best or columns == 1:
            best, found = rank, (columns, rows)
    return found
