"""A reliability diagram of text: of bins of items, the predicted probability beside the share that was good."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from textual.content import Content

from engine.core.figures import percents_whole
from tui.reads.audits import Calibration
from tui.widgets.marks import QUIET, TONES, row, share_bar
from tui.words.audits import KINDS, group_of
from tui.words.text import one_line

LEAST_BAR = 8
WITH_N = 60  # cells from which each bin has its n
SAME = "◈"  # predicted and found lie in one cell


def calibration_lines(one: Calibration, above: float, accepted: Mapping[str, Any], width: int) -> list[Content]:
    """One part's diagram; the line between two bins is the probability from which an item is accepted.

    Every row is a bin: its mean probability as a number and as a diamond, the share of good ones as a dot in its 95 %
    interval. Where diamond and dot are apart, the critic is over- or underconfident.
    """
    name = f"{KINDS[one.subject_kind]} {one_line(one.critic, 12)} · {group_of(one.part)}"
    rows = [
        row((name, f"{QUIET} underline")),
        row(f"n={one.n:,} · calibration error {one.error:.3f}"),
        *([row(f"{one.doubtful:,} labels doubtful")] if one.doubtful else []),
        _accepted_line(above, accepted),
    ]
    at = 1 / (1 + math.exp(-max(-30.0, min(30.0, above + one.level))))
    top = max(max(found["hi"], found["probability"]) for found in one.bins)
    top = min(1.0, math.ceil(10 * top) / 10)
    drawn = max(LEAST_BAR, width - 20 - (8 if width >= WITH_N else 0))
    line = row((f"{f'── accept at {at:.2f} ':─<{max(0, width)}}"[: max(20, width)], "bold $text-warning"))
    passed = False
    for found in one.bins:
        if not passed and found["probability"] > at:
            rows.append(line)
            passed = True
        rows.append(_bin_line(found, top, drawn, passed, width))
    if not passed:
        rows.append(line)
    axis = f"{'0 %':<{max(3, drawn - 5)}}{100 * top:3.0f} %"
    rows.append(row((f"{'':5}{axis}", QUIET)))
    return [*rows, row(("◆ predicted  ● good, ╺━╸ 95 % interval", QUIET)), Content("")]


def _bin_line(found: Mapping[str, Any], top: float, drawn: int, accepted: bool, width: int) -> Content:
    share, low, high, predicted = (min(1.0, found[name] / top) for name in ("share", "lo", "hi", "probability"))
    cells = list(share_bar(share, low, high, drawn))
    place = round(predicted * (drawn - 1))
    cells[place] = SAME if cells[place] == "●" else "◆"
    n = f" n={found['n']:,}" if width >= WITH_N else ""
    told = f" {100 * found['share']:3.0f} % {percents_whole(found['lo'], found['hi'])}"
    return row(
        (f"{found['probability']:.2f} ", QUIET), ("".join(cells), "$accent" if accepted else QUIET), told, (n, QUIET)
    )


def _accepted_line(above: float, accepted: Mapping[str, Any]) -> Content:
    n, taken = accepted["n"], accepted["taken"]
    if not taken:
        return row((f"Scores above {above:+.2f}: none of {n:,}.", TONES["warn"]))
    share = f"{100 * accepted['precision']:.0f} % good {percents_whole(accepted['lo'], accepted['hi'])}"
    recall = "" if accepted["recall"] is None else f", {100 * accepted['recall']:.0f} % of the good ones"
    return row(f"Scores above {above:+.2f}: {taken:,} of {n:,}, ", (share, "bold"), recall, ".")
