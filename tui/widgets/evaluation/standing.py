"""How an evaluation stands, in a few lines: what each condition has right, and what a claim rests on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from textwrap import wrap
from typing import Any

from textual.content import Content

from engine.core.figures import points_signed, points_signed_interval
from store.outcomes import items_of, shown
from tui.reads.evaluation import Standing
from tui.widgets.marks import QUIET, TONES, row
from tui.words.evaluation import (
    audit_words,
    decided_words,
    gap_against,
    gap_words,
    place,
    rate,
    read_words,
    repeat_words,
    score_words,
    seeds_against,
    seeds_words,
    unread_words,
)
from tui.words.judging import judge_words
from tui.words.suites import suite_words
from tui.words.text import one_line

BAR = 12


def standing_lines(found: Standing, width: int, room: int) -> list[Content]:
    """At most `room` lines: what blocks a claim first, then shares, then what was measured besides."""
    shape, tone, verdict = _verdict(found)
    first, *more = wrap(one_line(verdict, 2 * (width - 3)), width - 2)[:2]
    rows = [row((f"{shape} ", tone), (first, "bold")), *(row(("  ", ""), (line, "bold")) for line in more)]
    rows += [row((line, "")) for told in _shares(found) for line in wrap(told, width)]
    if registered := _registered(found):
        rows.append(row(registered))
    for told, tone in (
        (gap_words(found.gap), TONES["bad"] if found.failed_gap else QUIET),
        *((text, TONES["bad"] if text.startswith("✗") else QUIET) for text in audit_words(found.audits)),
        *((text, QUIET) for text in read_words(found.audits)),
        *((f"Over seeds: {text}", QUIET) for text in seeds_words(found.seeds[:1])),
        *((text, QUIET) for text in score_words(found.scores)),
        *((text, QUIET) for text in repeat_words(found.repeats)),
        *((text, QUIET) for text in judge_words(found.judged)),
        *((text, "") for text in suite_words(found.suite_means, found.suite_results)),
    ):
        rows += [row((line, tone)) for line in wrap(told, width)]
    if len(rows) > room:
        rows[room - 1] = row(rows[room - 1].truncate(width - 2), (" …", QUIET))
    return rows[:room]


def _verdict(found: Standing) -> tuple[str, str, str]:
    """Where the evaluation stands: shape, tone and words."""
    if found.failed_audits:
        return "✗", TONES["bad"], f"No claim: the scorer's audit failed ({', '.join(found.failed_audits)})"
    if found.results and found.guard_blocks:
        return "✗", TONES["bad"], f"No claim: {found.guard_blocks}"
    if found.failed_gap:
        return "✗", TONES["bad"], f"No gap: {', '.join(name.replace('_', ' ') for name in found.failed_gap)}"
    against = gap_against(found.gap) or seeds_against(found.results, found.seeds)
    against = against or unread_words(found.results, found.audits)
    if found.results and against:
        return "?", TONES["warn"], f"No claim: {against}"
    primary = next((one for one in found.results if one["role"] == "primary"), None)
    if primary is not None:
        told = (
            f"{primary['before']} → {primary['after']} {points_signed(primary['difference'])} points "
            f"{points_signed_interval(primary['lo'], primary['hi'])} of {items_of('test', primary['n'])}, "
            f"{'shown' if shown(primary) else 'not shown'} at level {primary['alpha']:.3g}, registered, "
            f"{decided_words(primary)}"
        )
        return ("✓", TONES["good"], told) if shown(primary) else ("·", QUIET, told)
    if found.results:
        return "?", TONES["warn"], _without_primary(found)
    if found.gap:
        told = "The base was asked; no tuned model was yet"
        return ("?", TONES["warn"], f"{told}: {against}") if against else ("✓", TONES["good"], told)
    if found.conditions or not found.suite_means:
        return "◌", QUIET, "Items are being asked"
    return "·", QUIET, "Benchmarks were asked, no held-out item was"


def _without_primary(found: Standing) -> str:
    if found.registration is None:
        return "Results are exploratory: nothing was registered before"
    body = json.loads(found.registration["body"])
    primary = [_compared(one) for one in body.get("hypotheses", ()) if one["role"] == "primary"]
    if any(one["role"] == "descriptive" and _compared(one) in primary for one in found.results):
        return "Nothing is shown of the registered primary comparison: too few templates answered to test it"
    if any(one["registered"] for one in found.results):
        return "Nothing is shown yet: the registered primary comparison has no answers"
    return "Results are exploratory: the registration is about other items, or younger than answers"


def _compared(row: Mapping[str, Any]) -> tuple[str, ...]:
    """What a result or a registered hypothesis compares, and of which items."""
    return tuple(str(row[name]) for name in ("capability", "before", "after", "item_type"))


def _shares(found: Standing) -> list[str]:
    """What each condition has right of the test items, a line for each capability; the claim's own first."""
    test = sorted((one for one in found.conditions if one["split"] == "test"), key=lambda one: place(one["condition"]))
    capabilities = sorted({one["capability"] for one in test}, key=lambda name: name != "instruction_following")
    told = []
    for name in capabilities:
        about = f"{name.replace('_', ' ')}: " if len(capabilities) > 1 else ""
        told.append(about + " · ".join(f"{one['condition']} {rate(one)}" for one in test if one["capability"] == name))
    return told


def _registered(found: Standing) -> tuple[str, str] | None:
    if found.registration is None:
        return None if found.results else ("nothing registered: e, then p settles tests before results exist", QUIET)
    if json.loads(found.registration["body"]).get("items_sha256") != found.items_sha256:
        told = "registered for other items than were asked: it counts for nothing; e, then p registers anew"
        return told, TONES["warn"]
    return f"registered {found.registration['at']:%Y-%m-%d %H:%M} UTC", QUIET
