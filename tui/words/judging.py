"""What a judge of pairs came to, in words, the same on the screen and on the command line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from engine.core.figures import cents, count, p_short, percent, percent_of, percents
from engine.stats.shares import wilson

Row = Mapping[str, Any]
MORE = {"helpful": "more helpful", "harmless": "less harmful"}


def offer_words(judge: Row | None) -> str:
    """Who would compare answers in pairs, how often it is asked, and what that costs."""
    if judge is None:
        return "nobody; evaluation.judge=reviewer or a local model has answers compared in pairs"
    told = f"{judge['name']}: at most {count(judge['calls_at_most'])} calls, both orders of each pair, on "
    told += f"{count(judge['helpful'])} items for helpfulness and {count(judge['harmless'])} for harmlessness"
    if judge["name"] != "reviewer":
        return told
    if judge["usd_at_most"] is not None:
        told += f"; it costs {cents(judge['usd_at_most'])} at most ({judge['priced']})"
    return f"{told}; a person is told what it may cost and has to approve before anything is sent"


def judge_words(rows: Sequence[Row]) -> list[str]:
    """A line for each question and comparison that was judged, and one for each judge on how far a person agrees."""
    told = []
    for judge in dict.fromkeys(row["judge"] for row in rows):
        own = [row for row in rows if row["judge"] == judge]
        told += [win_words(row) for row in own]
        told.append(f"{judge} and a person: {person_words(own)}")
    return told


def win_words(row: Row) -> str:
    """How often the later answer wins: raw, at equal length, and how many ties and unread pairs there are."""
    told = f"{row['after']} against {row['before']}, {MORE[row['question']]}: "
    if row["win_rate"] is None:
        return f"{told}no verdict of {count(row['unreadable'])} pairs"
    told += f"wins {_rate(row, '')}"
    if row["p"] is not None:
        told += f", p {p_short(row['p'])}, q {p_short(row['q'])}"
    if row["lc_win_rate"] is not None:
        told += f"; at equal length {_rate(row, 'lc_')}, log odds {row['lc_log_odds']:+.2f}, "
        told += f"p {p_short(row['lc_p'])}, q {p_short(row['lc_q'])}"
    told += f"; {count(row['n'])} pairs of {count(row['clusters'])} templates, {count(row['ties'])} ties, "
    told += f"{count(row['turned'])} as the orders disagree"
    return told + (f", {count(row['unreadable'])} without a verdict" if row["unreadable"] else "")


def person_words(rows: Sequence[Row]) -> str:
    """How often the judge prefers what a person called good, over all comparisons; "not read" where nobody has."""
    n, agrees = (sum(row[name] for row in rows) for name in ("person_n", "person_agrees"))
    if not n:
        return "not read"
    share = f"{percent_of(agrees, n)} {percents(*wilson(agrees, n))}"
    return f"agree on {share} of {count(n)} pairs that the person told apart"


def _rate(row: Row, kind: str) -> str:
    lo, hi = row[f"{kind}lo"], row[f"{kind}hi"]
    return percent(row[f"{kind}win_rate"]) + ("" if lo is None else f" {percents(lo, hi)}")
