"""The program's own themes, and how the screen reads where colour is unwanted.

`cai-safe` tells good from bad by blue and vermillion, whose difference people with the common colour deficiencies see:
Okabe and Ito's palette (https://jfly.uni-koeln.de/color/), lightened on the dark ground until text has a contrast of
4.5 (WCAG 2.2, 1.4.3).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from difflib import get_close_matches
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from rich.color import ColorType
from rich.segment import Segment
from rich.style import Style
from textual.color import Color
from textual.filter import LineFilter, Monochrome, NoColor
from textual.theme import BUILTIN_THEMES, Theme

from tui.config.settings import FIRST_THEMES

if TYPE_CHECKING:
    from textual.app import App

# A ground that stands out by so much from the screen's is a cursor or a choice, and is drawn in reverse without colour.
STANDS_OUT = 1.3
READS_WELL = 4.5


_COLOURS = {  # of the dark theme, the light one and the safe one
    "primary": ("#3f7fbf", "#3a78b8", "#0072b2"),
    "secondary": ("#5a6b8c", "#5f6f8a", "#56b4e9"),
    "accent": ("#7fb8f0", "#094a88", "#56b4e9"),
    "success": ("#6cc287", "#17662f", "#56b4e9"),
    "warning": ("#e5b567", "#7d5200", "#f0e442"),
    "error": ("#f0787e", "#b3261e", "#d55e00"),
    "foreground": ("#e4e6eb", "#1c2129", "#ececec"),
    "background": ("#12151b", "#fbfbf9", "#101010"),
    "surface": ("#1b2029", "#f0f0ec", "#1c1c1c"),
    "panel": ("#232936", "#e5e6e2", "#262626"),
}
_DERIVED = {  # what Textual derives from no colour of the theme, or too pale
    "text-muted": ("#a3abba", "#454d59", "#b4b4b4"),
    "foreground-muted": ("#a3abba", "#454d59", "#b4b4b4"),
    "foreground-disabled": ("#6f7787", "#838a94", "#7a7a7a"),
    "footer-key-foreground": ("#8fc5f7", "#0b4a87", "#7cc7f0"),
}


def _theme(at: int, name: str) -> Theme:
    colours: dict[str, Any] = {key: row[at] for key, row in _COLOURS.items()}
    derived = {key: row[at] for key, row in _DERIVED.items()}
    return Theme(name, **colours, dark=name != "cai-light", variables=derived)


DARK, LIGHT, SAFE = (_theme(at, name) for at, name in enumerate(FIRST_THEMES))
THEMES = (DARK, LIGHT, SAFE)


def known_themes() -> list[str]:
    """The names that may be chosen, the program's own first."""
    return [theme.name for theme in THEMES] + sorted(BUILTIN_THEMES)


def unknown_theme(name: str) -> str:
    """What to say about a theme that there is not; nothing where there is."""
    if name in known_themes():
        return ""
    near = get_close_matches(name, known_themes(), n=1, cutoff=0.4)
    return f"there is no theme {name!r}{f'; the nearest is {near[0]!r}' if near else ''}; {DARK.name} is used"


def dress(app: App[Any]) -> None:
    """Make the themes known to the app, and take colour away where NO_COLOR asks for that."""
    for theme in THEMES:
        app.register_theme(theme)
    app._filters[:] = [item for item in app._filters if not isinstance(item, (Monochrome, NoColor))]
    # https://no-color.org: set and not empty. Textual (8.2.8, app.py) takes an empty one for a wish, and sends greys.
    app.no_color = bool(os.environ.get("NO_COLOR"))
    if app.no_color:
        app._filters.append(Colourless(app))


def wear(app: App[Any], name: str) -> None:
    """Give the app a theme; the first one where there is none of that name, or where there is no colour anyway."""
    if app.no_color or unknown_theme(name):
        name = DARK.name
    if app.is_running:
        app.theme = name
        return
    # Before the first frame: the style sheet is parsed once, with these colours.
    app.set_reactive(type(app).theme, name)
    app.set_class(app.current_theme.dark, "-dark-mode", update=False)
    app.set_class(not app.current_theme.dark, "-light-mode", update=False)
    app.stylesheet.set_variables(app.get_css_variables())


class Colourless(LineFilter):
    """Draws without colour: what stood out by its ground is in reverse, what was pale is dim, the rest is plain."""

    def __init__(self, app: App[Any]) -> None:
        super().__init__()
        self._app = app

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        ground = self._app.theme_variables.get("background", "#000000")
        return [
            Segment(text, None if style is None else colourless(style, ground), control)
            for text, style, control in segments
        ]


@lru_cache(4096)
def colourless(style: Style, ground: str) -> Style:
    """The style without colours, on a screen whose ground is of this colour."""
    below = Color.parse(ground)
    back = _rgb(style.bgcolor, below)
    fore = _rgb(style.color, below.get_contrast_text(1.0))
    reverse = bool(style.reverse)
    if reverse:
        back, fore = fore, back
    plain = Style(
        bold=style.bold,
        italic=style.italic,
        underline=style.underline,
        strike=style.strike,
        dim=style.dim or (contrast(fore, back) < READS_WELL and not reverse) or None,
        reverse=contrast(back, below) >= STANDS_OUT or None,
        link=style.link,
    )
    return plain + Style.from_meta(style.meta) if style.meta else plain


def contrast(one: Color, other: Color) -> float:
    """The contrast of two opaque colours, from 1 to 21 (WCAG 2.2, relative luminance)."""
    high, low = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def _luminance(colour: Color) -> float:
    parts: Sequence[float] = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in colour.normalized
    ]
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]


def _rgb(colour: object, default: Color) -> Color:
    if colour is None or getattr(colour, "type", None) is ColorType.DEFAULT:
        return default
    return Color.from_rich_color(colour)
