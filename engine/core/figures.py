"""How figures are written, in one place for screens, command line, reports and reviews. It imports nothing heavy.

Shares come from 0 to 1 and are written in percent. Where two forms of one thing stand here, their names say how they
differ: a screen has less room than a report.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

ABSENT = "–"

# -- counts, sizes, durations ------------------------------------------------------------------------------------------


def count(value: object) -> str:
    """A whole number with thousands separators, or a dash."""
    return f"{value:,}" if isinstance(value, int) else ABSENT


def whole(value: Any) -> str:
    """A count that a query gave as a number of whatever type."""
    return f"{int(value):,}"


def mebibytes(n_bytes: float) -> str:
    """A size: 812 kiB, 45 MiB, 2.1 GiB."""
    if n_bytes < 2**20:
        return f"{n_bytes / 2**10:,.0f} kiB"
    return f"{n_bytes / 2**20:,.0f} MiB" if n_bytes < 2**30 else f"{n_bytes / 2**30:,.1f} GiB"


def format_seconds(value: object) -> str:
    """A duration: 4.2 s, 3:07, 1:02:45."""
    if isinstance(value, (int, float)) and 0 <= value < 60:
        return f"{value:.1f} s" if value < 10 else f"{value:.0f} s"
    return clock_text(value).removeprefix("0")


def clock_text(value: object) -> str:
    """A duration that ticks: 00:04, 3:07, 1:02:45; always with the same width under an hour."""
    if not isinstance(value, (int, float)) or value != value or value < 0:
        return ABSENT
    minutes, seconds = divmod(int(value), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes:02d}:{seconds:02d}"


def hours(value: Any) -> str:
    """Hours as hours, minutes or seconds, whichever is at least one."""
    if value >= 1:
        return f"{value:.2f} h"
    return f"{60 * value:.1f} min" if value * 60 >= 1 else f"{3600 * value:.1f} s"


def minute_utc(value: datetime) -> str:
    return f"{value.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


# -- shares and their differences --------------------------------------------------------------------------------------


def percent(share: Any) -> str:
    return f"{100 * share:.1f} %"


def percent_of(right: int, of: int) -> str:
    """The share that `right` is of `of`, a dash of nothing."""
    return f"{100 * right / of:.1f} %" if of else ABSENT


def percents(lo: Any, hi: Any) -> str:
    """An interval of a share as a paper has it: [12.3, 45.6]."""
    return f"[{100 * lo:.1f}, {100 * hi:.1f}]"


def percents_dashed(lo: float, hi: float) -> str:
    """The same as a line of the command line has it: [12.3–45.6]."""
    return f"[{100 * lo:.1f}–{100 * hi:.1f}]"


def percents_whole(lo: float, hi: float) -> str:
    """The same where a screen has little room: [12–46]."""
    return f"[{100 * lo:.0f}–{100 * hi:.0f}]"


def points(difference: Any) -> str:
    """A difference of shares in percentage points, with its sign; a zero has a plus."""
    return f"{_no_minus_zero(100 * difference, 1):+.1f}"


def points_interval(lo: Any, hi: Any) -> str:
    return f"[{points(lo)}, {points(hi)}]"


def points_signed(difference: float) -> str:
    """The same with the sign that it has, also where it rounds to zero."""
    return f"{100 * difference:+.1f}"


def points_signed_interval(lo: float, hi: float) -> str:
    return f"[{points_signed(lo)}, {points_signed(hi)}]"


# -- measured numbers --------------------------------------------------------------------------------------------------


def decimals(value: Any) -> str:
    return f"{_no_minus_zero(value, 3):.3f}"


def signed(value: float, digits: int = 3) -> str:
    """With its sign, but for a zero, which has none."""
    rounded = round(value, digits)
    return f"{rounded:+.{digits}f}" if rounded else f"{0:.{digits}f}"


def interval(lo: Any, hi: Any) -> str:
    return f"[{lo:.3f}, {hi:.3f}]"


def loss(value: Any) -> str:
    return f"{value:.4f}"


def digits(value: Any) -> str:
    """Three significant digits; a whole number as a count."""
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def measured(value: float | None) -> str:
    """What a check measured: a count as such, a share with three decimals, a dash where it could not be measured."""
    if value is None:
        return ABSENT
    return f"{value:,.0f}" if value == int(value) and (abs(value) >= 2 or value == 0) else f"{value:.3f}"


def measured_plain(value: float | None) -> str:
    """The same without thousands separators, a zero with its decimals."""
    if value is None:
        return ABSENT
    return f"{value:.0f}" if value == int(value) and abs(value) >= 2 else f"{value:.3f}"


def p_value(value: Any) -> str:
    """Two significant digits, as a plain decimal where it is not very small."""
    if value == 0:
        return "<1e-300"
    if value < 1e-4:
        return f"{value:.1e}"
    places = 1
    while value < 10**-places:
        places += 1
    return f"{value:.{places + 1}f}" if value < 1 else f"{value:.1f}"


def p_short(value: float | None) -> str:
    """A p value with two significant digits, a dash where there is none."""
    return ABSENT if value is None else f"{value:.2g}"


def _no_minus_zero(value: float, digits: int) -> float:
    return round(value, digits) + 0.0


# -- money -------------------------------------------------------------------------------------------------------------


def cents(usd: float) -> str:
    """$1,234.56, whatever is below a cent left out."""
    return f"${usd:,.2f}"


def booked(micro_usd: int) -> str:
    """An amount of the ledger as $1,234.56; one below a cent with its digits, such as $0.000125."""
    if 0 < abs(micro_usd) < 10_000:
        return f"${micro_usd / 1e6:.6f}".rstrip("0")
    return cents(micro_usd / 1e6)


NO_PRICE = "no price set"  # the one wording, wherever an amount would stand
NO_GPU_PRICE = f"{NO_PRICE} (price_per_gpu_hour; cai config names its file)"


def dollars(usd: float | None) -> str:
    """A forecast of an amount, below a dollar with three digits, or nothing."""
    if usd is None:
        return ""
    return f"${usd:.3g}" if 0 < usd < 1 else cents(usd)


def usd(value: Any) -> str:
    """An amount as a report has it, with the currency's name, below a cent with two digits."""
    return f"{value:,.2f} USD" if value >= 0.01 or value == 0 else f"{value:.2g} USD"
