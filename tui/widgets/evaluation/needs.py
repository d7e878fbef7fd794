"""What a claim about a run still needs before anything was evaluated: each with how it stands and what brings it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from textual.content import Content

from engine.core.figures import count
from engine.evaluation import BASE_CONDITIONS
from store.names import TRAINING_PHASES
from tui.reads.evaluation import Standing
from tui.widgets.evaluation.plan import offer_lines
from tui.widgets.marks import QUIET, TONES, hanging, progress_bar, row
from tui.widgets.plan import Plan as Offer
from tui.words.evaluation import gap_against, gap_words, registration_caveat

BAR = 16
_MARKS = {True: ("✓ ", TONES["good"]), False: ("✗ ", TONES["bad"]), None: ("○ ", QUIET)}


class Wanted(NamedTuple):
    """`met` is None where that can't be known before the ones above it are met."""

    name: str
    met: bool | None
    found: str
    key: str


def needs_of(found: Standing, offer: Offer) -> list[Wanted]:
    """In the order in which they are met."""
    run_id, conditions = offer["run"], offer["conditions"]
    tuned = [one["name"] for one in conditions if one["name"] in TRAINING_PHASES]
    base = [one for one in conditions if one["name"] in BASE_CONDITIONS]
    items, missing = (sum(one[name] for one in base) for name in ("items", "missing"))
    registered = offer["registered"]
    caveat = "" if registered is None else registration_caveat(
        registered["body"], offer["items_sha256"], offer["scorer_sha256"]
    )  # fmt: skip
    told = "nothing is, so that results would be exploratory" if registered is None else caveat
    guard = found.guard_blocks
    return [
        Wanted("the contamination guard", not guard, guard or "passed", f"Go on with `cai resume {run_id}`."),
        Wanted("tests are registered", not told,
             told or f"{registered['at']:%Y-%m-%d %H:%M} UTC" if registered else told,
             "Press e, then p, before a tuned model answers."),
        Wanted("the base was asked", not missing, f"{count(items - missing)} of {count(items)} answers", "Press e."),
        Wanted("the gap gate", None if not found.gap else not gap_against(found.gap),
             gap_words(found.gap) or "not decided before the base was asked", "Press e; it is decided then."),
        Wanted("a model is trained", bool(tuned), ", ".join(tuned) or "none is yet",
             "Open the room Training (5): its locks are there, n trains."),
    ]  # fmt: skip


def needs_lines(found: Standing, offer: Offer | str, width: int, room: int) -> list[Content]:
    """The list with how many are met; where there is no offer, why."""
    if isinstance(offer, str):
        return hanging(("✗ ", TONES["bad"]), offer, width, "bold")
    needs = needs_of(found, offer)
    met = sum(need.met is True for need in needs)
    tone = TONES["good"] if met == len(needs) else TONES["warn"]
    rows = [row(progress_bar(met / len(needs), BAR, tone), f" {met} of {len(needs)} are there")]
    parts = []
    for need in needs:
        part = hanging(_MARKS[need.met], f"{need.name}: {need.found}", width, "" if need.met else "bold")
        parts.append([*part, *([] if need.met else hanging(("  to get it: ", QUIET), need.key, width))])
    spread = len(rows) + sum(map(len, parts)) + len(parts) <= room
    for part in parts:
        rows += [*([Content("")] if spread else []), *part]
    return rows


def asked_lines(offer: Offer | str) -> Callable[[int, int], list[Content]]:
    """What would be asked, to be drawn in a column."""

    def draw(width: int, _: int) -> list[Content]:
        return [] if isinstance(offer, str) else offer_lines(offer, width)

    return draw
