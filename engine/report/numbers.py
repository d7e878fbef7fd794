"""How a value of a row is written: one function a kind, with the digits that the figure deserves."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from engine.core import figures
from store.inert.markdown import code, inline
from store.outcomes import NOT_TESTED, PASSED


def figure(value: Any) -> str:
    """A measured number with three significant digits; a whole one as a count."""
    return inline(str(value)) if isinstance(value, (bool, str)) else figures.digits(value)


def time(value: Any) -> str:
    return figures.minute_utc(value) if isinstance(value, datetime) else inline(str(value))


def against(op: Any, threshold: Any) -> str:
    """What a check asks for, such as `<= 0.05`; one without an operator decides nothing."""
    return f"{inline(str(op))} {figure(threshold)}"


def against_share(op: Any, threshold: Any) -> str:
    """The same of a share."""
    return f"{inline(str(op))} {figures.percent(threshold)}"


KINDS: dict[str, Callable[..., str]] = {
    "count": figures.whole,
    "share": figures.percent,
    "points": figures.points,
    "figure": figure,
    "p": figures.p_value,
    "shares": lambda lo, hi: f"{figures.percents(lo, hi)} %",
    "points_interval": figures.points_interval,
    "interval": figures.interval,
    "decimals": figures.decimals,
    "loss": figures.loss,
    "dollars": figures.usd,
    "hours": figures.hours,
    "time": time,
    "yes": lambda value: "yes" if value else "no",
    "result": lambda value: value if value in (PASSED, NOT_TESTED) else f"**{value}**",
    "passed": lambda value: "passed" if value else "**failed**",
    "against": against,
    "against_share": against_share,
    "text": lambda value: inline(str(value)),
    "whole": lambda value: inline(str(value), 20_000),
    "words": lambda value: inline(str(value).replace("_", " ")),
    "code": lambda value: code(str(value)),
    "short": lambda value: code(str(value)[:12]),
}
TEXTS = frozenset(
    {"text", "whole", "words", "code", "short", "yes", "passed", "result", "time"}
)  # kinds whose cells stand on the left


def written(kind: str, values: tuple[Any, ...], absent: str = figures.ABSENT) -> str:
    """The values of one cell in their kind's form; `absent` where one of them is not there or is not a number."""
    if any(value is None or (isinstance(value, float) and value != value) for value in values):
        return absent
    return KINDS[kind](*values)
