"""How an evaluation stands, in a few lines: what each condition has right, and what a claim rests on."""

from __future__ import annotations

import json
from textwrap import wrap

from textual.content import Content

from engine.core.figures import percent_of, points_signed, points_signed_interval
from store.outcomes import shown
from tui.reads.evaluation import Standing
from tui.widgets.marks import QUIET, TONES, row
from tui.words.evaluation import audit_words, decided_words, gap_words, place, repeat_words, score_words
from tui.words.text import one_line

BAR = 12


def standing_lines(found: Standing, width: int, room: int) -> list[Content]:
    """At most `room` lines: what blocks a claim first, then shares, then what was measured besides."""
    shape, tone, verdict = _verdict(found)
    rows = [row((f"{shape} ", tone), (one_line(verdict, width - 2), "bold")), _shares(found, width)]
    if registered := _registered(found):
        rows.append(row(registered))
    for told, tone in (
        (gap_words(found.gap), TONES["bad"] if found.failed_gap else QUIET),
        *((text, TONES["bad"] if text.startswith("✗") else QUIET) for text in audit_words(found.audits)),
        *((text, QUIET) for text in score_words(found.scores)),
        *((text, QUIET) for text in repeat_words(found.repeats)),
    ):
        rows += [row((line, tone)) for line in wrap(told, width)]
    return rows[:room]


def _verdict(found: Standing) -> tuple[str, str, str]:
    """Where the evaluation stands: shape, tone and words."""
    if found.failed_audits:
        return "✗", TONES["bad"], f"No claim: the scorer's audit failed ({', '.join(found.failed_audits)})"
    if found.results and found.guard_blocks:
        return "✗", TONES["bad"], f"No claim: {found.guard_blocks}"
    if found.failed_gap:
        return "✗", TONES["bad"], f"No gap: {', '.join(name.replace('_', ' ') for name in found.failed_gap)}"
    primary = next((one for one in found.results if one["role"] == "primary"), None)
    if primary is not None:
        told = (
            f"{primary['before']} → {primary['after']} {points_signed(primary['difference'])} points "
            f"{points_signed_interval(primary['lo'], primary['hi'])}, {'shown' if shown(primary) else 'not shown'} at "
            f"level {primary['alpha']:.3g}, registered, {decided_words(primary)}"
        )
        return ("✓", TONES["good"], told) if shown(primary) else ("·", QUIET, told)
    if found.results:
        return "?", TONES["warn"], _without_primary(found)
    if found.gap:
        return "✓", TONES["good"], "The base was asked; no tuned model was yet"
    return "◌", QUIET, "Items are being asked"


def _without_primary(found: Standing) -> str:
    if found.registration is None:
        return "Results are exploratory: nothing was registered before"
    if any(one["registered"] for one in found.results):
        return "Nothing is shown yet: the registered primary comparison has no answers"
    return "Results are exploratory: the registration is about other items, or younger than answers"


def _shares(found: Standing, width: int) -> Content:
    told = []
    test = [one for one in found.conditions if one["split"] == "test"]
    for name in sorted({one["condition"] for one in test}, key=place):
        right, n = (sum(one[key] for one in test if one["condition"] == name) for key in ("n_right", "n"))
        told.append(f"{name} {percent_of(right, n)}")
    return row((one_line(" · ".join(told), width), ""))


def _registered(found: Standing) -> tuple[str, str] | None:
    if found.registration is None:
        return None if found.results else ("nothing registered: e, then p settles tests before results exist", QUIET)
    if json.loads(found.registration["body"]).get("items_sha256") != found.items_sha256:
        told = "registered for other items than were asked: it counts for nothing; e, then p registers anew"
        return told, TONES["warn"]
    return f"registered {found.registration['at']:%Y-%m-%d %H:%M} UTC", QUIET
