"""How a value of a row is written: one function a kind, with the digits that the figure deserves."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from engine.report.text import code, inline

ABSENT = "–"


def count(value: Any) -> str:
    return f"{int(value):,}"


def share(value: Any) -> str:
    return f"{100 * value:.1f} %"


def points(value: Any) -> str:
    """A difference of shares in percentage points, with its sign."""
    return f"{_no_minus_zero(100 * value, 1):+.1f}"


def figure(value: Any) -> str:
    """A measured number with three significant digits; a whole one as a count."""
    if isinstance(value, (bool, str)):
        return inline(str(value))
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def p_value(value: Any) -> str:
    """Two significant digits, as a plain decimal where it is not very small."""
    if value == 0:
        return "<1e-300"
    if value < 1e-4:
        return f"{value:.1e}"
    digits = 1
    while value < 10**-digits:
        digits += 1
    return f"{value:.{digits + 1}f}" if value < 1 else f"{value:.1f}"


def shares(lo: Any, hi: Any) -> str:
    return f"[{100 * lo:.1f}, {100 * hi:.1f}] %"


def points_interval(lo: Any, hi: Any) -> str:
    return f"[{points(lo)}, {points(hi)}]"


def interval(lo: Any, hi: Any) -> str:
    return f"[{lo:.3f}, {hi:.3f}]"


def decimals(value: Any) -> str:
    return f"{_no_minus_zero(value, 3):.3f}"


def loss(value: Any) -> str:
    return f"{value:.4f}"


def dollars(value: Any) -> str:
    return f"{value:,.2f} USD" if value >= 0.01 or value == 0 else f"{value:.2g} USD"


def hours(value: Any) -> str:
    """Hours as hours, minutes or seconds, whichever is at least one."""
    if value >= 1:
        return f"{value:.2f} h"
    return f"{60 * value:.1f} min" if value * 60 >= 1 else f"{3600 * value:.1f} s"


def time(value: Any) -> str:
    return f"{value.astimezone(UTC):%Y-%m-%d %H:%M} UTC" if isinstance(value, datetime) else inline(str(value))


def yes(value: Any) -> str:
    return "yes" if value else "no"


def passed(value: Any) -> str:
    return "passed" if value else "**failed**"


def against(op: Any, threshold: Any) -> str:
    """What a check asks for, such as `<= 0.05`; one without an operator decides nothing."""
    return f"{inline(str(op))} {figure(threshold)}"


def _no_minus_zero(value: float, digits: int) -> float:
    return round(value, digits) + 0.0


KINDS: dict[str, Callable[..., str]] = {
    "count": count,
    "share": share,
    "points": points,
    "figure": figure,
    "p": p_value,
    "shares": shares,
    "points_interval": points_interval,
    "interval": interval,
    "decimals": decimals,
    "loss": loss,
    "dollars": dollars,
    "hours": hours,
    "time": time,
    "yes": yes,
    "passed": passed,
    "against": against,
    "text": lambda value: inline(str(value)),
    "words": lambda value: inline(str(value).replace("_", " ")),
    "code": lambda value: code(str(value)),
    "short": lambda value: code(str(value)[:12]),
}
TEXTS = frozenset({"text", "words", "code", "short", "yes", "passed", "time"})  # kinds whose cells stand on the left


def written(kind: str, values: tuple[Any, ...], absent: str = ABSENT) -> str:
    """The values of one cell in their kind's form; `absent` where one of them is not there or is not a number."""
    if any(value is None or (isinstance(value, float) and value != value) for value in values):
        return absent
    return KINDS[kind](*values)
