"""One measured quantity over the steps of a training, with a line at the step that is read."""

from __future__ import annotations

from collections.abc import Sequence

from textual.color import Color
from textual.content import Content
from textual_plotext import PlotextPlot

POINTS_AT_MOST = 2_000


class Curve(PlotextPlot):
    """A plot of (step, value); drawn in the theme's colours."""

    DEFAULT_CSS = """
    Curve { width: 1fr; height: 1fr; border-top: solid $foreground 20%; border-title-color: $foreground; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._drawn: object = None

    def draw(self, title: str, points: Sequence[tuple[int, float]], at: int, digits: str) -> None:
        """Draw the points and a line at step `at`; nothing is done where all of it is drawn already."""
        accent = self.app.theme_variables.get("accent", "#7fb8f0")
        now = (title, len(points), points[-1:], at, accent)
        if now == self._drawn:
            return
        self._drawn = now
        value = next((value for step, value in reversed(points) if step <= at), None)
        read = "" if value is None else f" · {format(value, digits)}"
        self.border_title = Content(f"{title}{read}")
        shown = points[:: max(1, len(points) // POINTS_AT_MOST)]
        steps, values = [step for step, _ in shown], [value for _, value in shown]
        plt = self.plt
        plt.clear_data()
        plt.frame(False)
        plt.plot(steps, values, marker="braille", color=_rgb(accent))
        plt.vline(at, color=_rgb(self.app.theme_variables.get("warning", "#e5b567")))
        self.refresh()


def _rgb(colour: str) -> tuple[int, int, int]:
    return Color.parse(colour).rgb
