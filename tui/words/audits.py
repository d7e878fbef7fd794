"""How the critics' audits are told: by how they came to be, and what they say of what a run accepts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from engine.core.figures import percents_whole
from store.names import CROSS_VALIDATED, FRESH

# Headings of an audit's parts. Figures of different groups never stand in one line.
GROUPS: tuple[tuple[str, Sequence[str]], ...] = (("cross-validated", CROSS_VALIDATED), ("fresh, read blind", FRESH))
OTHERS = "labelled by a person"
KINDS = {"instruction": "instr.", "sample": "pair", "pair": "pref."}
GOOD = {"instruction": "good instr.", "sample": "good pairs"}  # among those that are accepted
NOT_KNOWN = "not known: rules alone accept"
UNTOLD = "not known: no audit tells"


def group_of(part: str) -> str:
    """The heading under which a part of an audit stands."""
    return next((title for title, parts in GROUPS if part in parts), OTHERS)


def share_among_accepted(found: Mapping[str, Any]) -> str:
    """The share of good ones with its interval and n; that nothing is known where no critic or no part tells it."""
    if found["critic"] is None:
        return NOT_KNOWN
    if found["part"] is None:
        return UNTOLD
    if not found["taken"]:
        return "none accepted"
    return f"{100 * found['precision']:.0f} % {percents_whole(found['lo'], found['hi'])} of {found['taken']:,}"


def audit_behind(found: Mapping[str, Any], short: bool = False) -> str:
    """Which audit a share is from; empty where there is none."""
    if found["part"] is None:
        return ""
    fresh = found["part"] in FRESH
    if short:
        return "fresh" if fresh else "cross-val."
    return f"{found['n']:,} fresh labels" if fresh else f"cross-validation, {found['n']:,} labels"


def cost(found: Mapping[str, Any]) -> str:
    """How many candidates one that is accepted takes; empty where that is not known."""
    if found["part"] is None or not found["taken"]:
        return ""
    each = found["n"] / found["taken"]
    return f"1 of {each:.1f}" if each < 2.95 else f"1 of {each:.0f}"


def sentence(found: Mapping[str, Any]) -> str:
    """All of it on one line, for what is printed."""
    told = share_among_accepted(found)
    if found["part"] is None:
        return told
    behind = f"by {audit_behind(found)} ({found['critic']})"
    if not found["taken"]:
        return f"{told}, {behind}"
    return f"{told} accepted, {behind} · {cost(found)} candidates taken"


def agreement_words(found: Mapping[str, Any]) -> str:
    """How far readers agree: {statistic, value, lo, hi, n, readers}, of the things that two at least of them read."""
    read = f"{found['n']:,} that two of {found['readers']:,} readers read"
    if found["value"] is None:
        return f"{found['statistic']} is not defined over {read}: they always said the same"
    interval = "" if found["lo"] is None else f" [{found['lo']:+.2f}, {found['hi']:+.2f}]"
    return f"{found['statistic']} {found['value']:+.2f}{interval} over {read}"
