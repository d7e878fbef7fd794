"""The rows of the table of the room Evaluation: comparisons, and the answers of single conditions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.text import Text
from textual.content import Content

from engine.core.figures import count, p_short, percent_of, percents
from engine.stats.shares import wilson
from store.outcomes import shown
from tui.widgets.marks import interval_bar
from tui.words.evaluation import difference_words
from tui.words.text import one_line

BAR = 21
COLUMNS = (
    ("type", 15), ("test n", 6), ("before", 6), ("after", 6), ("difference, 95 %", 20), ("p corr.", 9), ("", BAR),
    ("+ −", 9), ("p", 8), ("templates", 9), ("McNemar p, of items", 19), ("effect", 12), ("role", 11),
    ("compared", 28), ("test", 40),
)  # fmt: skip

Cells = list[Text | Content]


def result_cells(one: Mapping[str, Any], reach: float) -> Cells:
    """A comparison; over all items it is bold, and what is significant after correction is marked."""
    n = one["n"]
    whole = one["item_type"] == "all"
    corrected = "–" if one["p_corrected"] is None else f"{p_short(one['p_corrected'])}{' *' if shown(one) else ''}"
    plain = [
        one_line(_type(one), 40), f"{n:,}", percent_of(one["before_right"], n), percent_of(one["after_right"], n),
        difference_words(one), corrected,
    ]  # fmt: skip
    rest = [
        f"+{one['gained']} −{one['lost']}", p_short(one["p"]), count(one["clusters"]),
        p_short(one["mcnemar_p"]),
        f"{one['effect_name']} {one['effect']:+.2f}", str(one["role"]),
        f"{one['before']} → {one['after']}", one_line(f"{one['test']}, {one['interval_method']}", 60),
    ]  # fmt: skip
    style = "bold" if whole else ""
    bar = Text(interval_bar(one["difference"], one["lo"], one["hi"], BAR, reach))
    return [*(Text(text, style=style) for text in plain), bar, *(Text(text, style=style) for text in rest)]


def _type(one: Mapping[str, Any]) -> str:
    name = str(one["item_type"]).replace("_", " ")
    return "conversation" if name == "all" and one["capability"] == "conversation" else name


def answers_cells(one: Mapping[str, Any]) -> Cells:
    """The answers of one condition to all test items of a capability."""
    right, n = one["n_right"], one["n"]
    told = ", conversation" if one["capability"] == "conversation" else ""
    cells = [f"{one['condition']}{told}", f"{n:,}", "", percent_of(right, n), percents(*wilson(right, n))]
    return [Text(text) for text in [*cells, *[""] * (len(COLUMNS) - len(cells))]]
