"""How an evaluation stands, in a few lines: what each condition has right, and what a claim rests on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from textwrap import wrap
from typing import Any

from textual.content import Content

from engine.core.figures import percent_of, points_signed, points_signed_interval
from tui.reads.evaluation import Standing
from tui.widgets.marks import QUIET, TONES, row
from tui.words.evaluation import audit_words, gap_words, place, repeat_words
from tui.words.text import one_line

BAR = 12


def standing_lines(found: Standing, width: int, room: int) -> list[Content]:
    """At most `room` lines: what blocks a claim first, then shares, then what was measured besides."""
    rows = [_verdict(found, width), _shares(found, width)]
    more: list[Content] = []
    if registered := _registered(found):
        more.append(registered)
    for told, tone in (
        (gap_words(found.gap), TONES["bad"] if found.failed_gap else QUIET),
        *((text, TONES["bad"] if text.startswith("✗") else QUIET) for text in audit_words(found.audits)),
        *((text, QUIET) for text in repeat_words(found.repeats)),
    ):
        more += [row((line, tone)) for line in wrap(told, width)]
    return (rows + more)[:room]


def _verdict(found: Standing, width: int) -> Content:
    """The one line that says where the evaluation stands."""
    if found.failed_audits:
        told = f"No claim: the scorer's audit failed ({', '.join(found.failed_audits)})"
        return row(("✗ ", TONES["bad"]), (one_line(told, width - 2), "bold"))
    if found.results and found.guard_blocks:
        return row(("✗ ", TONES["bad"]), (one_line(f"No claim: {found.guard_blocks}", width - 2), "bold"))
    if found.failed_gap:
        told = f"No gap: {', '.join(name.replace('_', ' ') for name in found.failed_gap)}"
        return row(("✗ ", TONES["bad"]), (one_line(told, width - 2), "bold"))
    primary = next((one for one in found.results if one["role"] == "primary"), None)
    if primary is not None:
        shown = primary["p_corrected"] is not None and primary["p_corrected"] <= primary["alpha"]
        clustered = "" if primary["clustered_p"] is None else f" (clustered {primary['clustered_p']:.2g})"
        told = (
            f"{primary['before']} → {primary['after']} {points_signed(primary['difference'])} points "
            f"{points_signed_interval(primary['lo'], primary['hi'])}, p {primary['p']:.2g}{clustered}, "
            f"{'shown' if shown else 'not shown'} at level {primary['alpha']:.3g}, registered"
        )
        shape, tone = ("✓ ", TONES["good"]) if shown else ("· ", QUIET)
        return row((shape, tone), (one_line(told, width - 2), "bold"))
    if found.results:
        return row(("? ", TONES["warn"]), (one_line(_without_primary(found), width - 2), "bold"))
    if found.gap:
        return row(("✓ ", TONES["good"]), ("The base was asked; no tuned model was yet", "bold"))
    return row(("◌ ", QUIET), ("Items are being asked", "bold"))


def _without_primary(found: Standing) -> str:
    if found.registration is None:
        return "Results are exploratory: nothing was registered before"
    if any(one["registered"] for one in found.results):
        return "Nothing is shown yet: the registered primary comparison has no answers"
    return "Results are exploratory: the registration is about other items, or younger than answers"


def _shares(found: Standing, width: int) -> Content:
    test: list[Any] = [one for one in found.conditions if one["split"] == "test"]
    names: Sequence[str] = sorted({one["condition"] for one in test}, key=place)
    told = []
    for name in names:
        right = sum(one["n_right"] for one in test if one["condition"] == name)
        told.append(f"{name} {percent_of(right, sum(one['n'] for one in test if one['condition'] == name))}")
    return row((one_line(" · ".join(told), width), ""))


def _registered(found: Standing) -> Content | None:
    if found.registration is None:
        return (
            None if found.results else row(("nothing registered: e, then p settles tests before results exist", QUIET))
        )
    if json.loads(found.registration["body"]).get("items_sha256") != found.items_sha256:
        return row(
            (
                "registered for other items than were asked: it counts for nothing; e, then p registers anew",
                TONES["warn"],
            )
        )
    return row((f"registered {found.registration['at']:%Y-%m-%d %H:%M} UTC", QUIET))
