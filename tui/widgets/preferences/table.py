"""The table of the Preferences room: principles, revisions or pairs, as many columns as there is room for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from engine.core.figures import percents_whole
from tui.reads.preferences import PAIRS, PRINCIPLES, REVISIONS
from tui.widgets.endless import EndlessTable, GridColumn
from tui.widgets.marks import TONES, VERDICT_TONES, share_bar
from tui.words.text import one_line
from tui.words.wording import VERDICT_SHAPES

BAR, LEAST_TEXT = 15, 14
# (column, how much it matters: the least goes first where there is no room). The last one takes what is left.
_COLUMNS: dict[str, tuple[tuple[GridColumn, int], ...]] = {
    PRINCIPLES: (
        (GridColumn("", "principle", 22), 9),
        (GridColumn("", "category", 12), 1),
        (GridColumn("", "drawn", 6, True), 5),
        (GridColumn("", "named", 6, True), 2),
        (GridColumn("", "useful revisions", 17, True), 8),
        (GridColumn("", "0      ½     1", BAR), 4),
        (GridColumn("", "margin", 8, True), 7),
        (GridColumn("", "pairs kept", 10, True), 6),
    ),
    REVISIONS: (
        (GridColumn("ordinal", "#", 5, True), 2),
        (GridColumn("", "verdict", 10), 9),
        (GridColumn("margin", "margin", 7, True), 8),
        (GridColumn("", "principle", 20), 6),
        (GridColumn("", "round", 5, True), 1),
        (GridColumn("", "flags", 16), 5),
        (GridColumn("", "instruction", LEAST_TEXT), 10),
    ),
    PAIRS: (
        (GridColumn("", "verdict", 10), 9),
        (GridColumn("margin", "margin", 7, True), 8),
        (GridColumn("", "longer", 6, True), 4),
        (GridColumn("", "source", 13), 7),
        (GridColumn("", "kind", 19), 2),
        (GridColumn("", "principle", 20), 1),
        (GridColumn("", "flags", 15), 5),
        (GridColumn("", "instruction", LEAST_TEXT), 10),
    ),
}


def columns_for(view: str, width: int) -> tuple[GridColumn, ...]:
    """What fits into `width` cells, the most important ones first."""
    known = list(_COLUMNS[view])
    while len(known) > 2 and 1 + sum(column.width + 1 for column, _ in known) > width:
        known.remove(min(known, key=lambda item: item[1]))
    found = [column for column, _ in known]
    left = width - 1 - sum(column.width + 1 for column in found)
    if view != PRINCIPLES and left > 0:
        last = found[-1]
        found[-1] = GridColumn(last.name, last.label, last.width + left, last.right)
    return tuple(found)


class PreferenceTable(EndlessTable):
    view = PRINCIPLES

    def cells(self, row: Mapping[str, Any]) -> Sequence[tuple[str, str]]:
        known = _principle(row) if self.view == PRINCIPLES else _judged(row)
        return [known.get(column.label, ("", "")) for column in self.columns]


def _principle(row: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    drawn, kept, margin = row["drawn"], row["kept"], row["margin_nats"]
    low, high = row["kept_lo"], row["kept_hi"]
    share = kept / drawn if drawn else 0.0
    useful = f"{100 * share:.0f} % {percents_whole(low, high)}" if drawn else "not drawn"
    return {
        "principle": (one_line(row["principle_id"], 40), ""),
        "category": (row["category"], "$foreground-muted"),
        "drawn": (f"{drawn:,}", ""),
        "named": (f"{row['named']:,}" if drawn else "–", ""),
        "useful revisions": (useful, "" if drawn else "$foreground-muted"),
        "0      ½     1": (share_bar(share, low, high, BAR) if drawn else "·" * BAR, "$text-accent"),
        "margin": _margin(margin),
        "pairs kept": (f"{row['pairs_kept']:,}/{row['pairs']:,}", ""),
    }


def _judged(row: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    verdict = row["verdict"] or "pending"
    tone = TONES[VERDICT_TONES[verdict]] if verdict in VERDICT_TONES else ""
    known = {
        "#": (str(row["ordinal"]), ""),
        "verdict": (f"{VERDICT_SHAPES.get(verdict, '·')} {verdict}", tone),
        "margin": _margin(row["margin"]),
        "principle": (one_line(row["principle_id"] or "–", 40), ""),
        "flags": (", ".join(row["flags"] or ()), "$text-warning"),
        "instruction": (one_line(row["instruction"] or "", 200), ""),
    }
    if "round" in row:
        return known | {"round": (str(row["round"]), "")}
    return known | {
        "longer": (f"{row['longer']:+,}", ""),
        "source": (row["source"].replace("_", " "), ""),
        "kind": (row["detail"].replace("_", " "), "$foreground-muted"),
    }


def _margin(value: float | None) -> tuple[str, str]:
    """Green and red would say kept and rejected, which a margin alone does not decide."""
    return ("–", "$foreground-muted") if value is None else (f"{value:+.3f}", "")
