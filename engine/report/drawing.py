"""Figures as SVG that is the same at every build: text as text, colours that every eye tells apart, no outside file.

matplotlib is imported where something is drawn, so that neither the screen nor `cai --help` pays for it.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from html import escape
from typing import TYPE_CHECKING, Any

from engine.core.text import without_secrets
from store.inert.markdown import plain
from store.inert.spreadsheet import lines

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing

# Okabe and Ito's colours, which people of all kinds of colour vision tell apart.
BLUE, VERMILLION, GREEN, ORANGE = "#0072B2", "#D55E00", "#009E73", "#E69F00"
INK, GREY, PALE = "#1a1a1a", "#6b6b6b", "#eef2f5"

_STYLE: Mapping[str, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "cai report",
    "font.family": "sans-serif",
    "font.size": 9,
    "text.parse_math": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "text.color": INK,
    "legend.frameon": False,
    "axes.unicode_minus": True,
}
# Of the machine, not of the look.
_NOT_STYLE = (
    "backend",
    "interactive",
    "toolbar",
    "timezone",
    "figure.hooks",
    "tk.",
    "webagg",
    "docstring",
    "savefig.d",
)


@contextmanager
def style() -> Iterator[None]:
    """matplotlib's own defaults with the report's look on them, whatever a person's settings file says."""
    import matplotlib

    own: dict[Any, Any] = dict(matplotlib.rcParamsDefault)
    own = {name: value for name, value in own.items() if not name.startswith(_NOT_STYLE)}
    with matplotlib.rc_context(own | dict(_STYLE)):
        yield


def blank(width: float, height: float) -> Drawing:
    """An empty drawing of so many inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def svg(drawing: Drawing, name: str, title: str, about: str) -> str:
    """The drawing as one `<svg>` with an accessible title and description; its ids begin with `name`."""
    out = io.StringIO()
    drawing.savefig(out, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = out.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"\s*<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = re.sub(r'(href=")#', rf"\1#{name}-", text)
    text = re.sub(r"url\(#", f"url(#{name}-", text)
    head = f'<title id="{name}-title">{escape(title)}</title><desc id="{name}-about">{escape(about)}</desc>'
    opening, rest = text.split(">", 1)
    labelled = f' role="img" aria-labelledby="{name}-title {name}-about">'
    lines = (line.rstrip() for line in (opening + labelled + head + rest).splitlines())
    return without_secrets("\n".join(lines)) + "\n"


def label(text: object, limit: int = 40) -> str:
    """A name for an axis or a box: one visible line, underscores as spaces."""
    return plain(str(text).replace("_", " "), limit)


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as CSV, in the order of the query's columns; text is made visible, and no formula for a spreadsheet."""
    return without_secrets(lines([list(rows[0]), *(list(row.values()) for row in rows)] if rows else []))
