"""Two runs side by side: what they were told differently first, then what was measured."""

from __future__ import annotations

from collections.abc import Mapping
from textwrap import wrap

from textual.content import Content

from tui.reads.runs import CHANGED, Account
from tui.widgets.marks import QUIET, TONES, lines, row
from tui.words.text import one_line


def compare(left: Account, right: Account, width: int) -> Content:
    """Aligned columns; ≠ marks what differs, and settings that are equal are only counted."""
    name = max(14, min(36, width * 2 // 5))
    side = max(8, (width - name - 4) // 2)
    ids = (one_line(run.run_id, side) for run in (left, right))
    head = row(" " * (name + 3), (" ".join(f"{name:<{side}}" for name in ids), "bold"))
    rows = [head, row(("Settings that differ", f"bold {QUIET}"))]
    # How a setting came about is no difference where its value is none.
    keys = [key for key in dict.fromkeys([*left.told, *right.told]) if not key.startswith(CHANGED)]
    differ = [key for key in keys if left.told.get(key, "–") != right.told.get(key, "–")]
    rows += [_pair(key, left.told.get(key, "–"), right.told.get(key, "–"), name, side) for key in differ]
    if not differ:
        rows.append(row(("  none: these runs were told the same", QUIET)))
    rows += [row((f"  {len(keys) - len(differ)} settings and facts are equal", QUIET)), Content("")]
    rows.append(row(("Measured", f"bold {QUIET}")))
    for key in dict.fromkeys([*left.measured, *right.measured]):
        rows.append(_pair(key, left.measured.get(key, "–"), right.measured.get(key, "–"), name, side))
    return lines(rows)


def describe(found: Account, width: int) -> Content:
    """One run: what was measured, then what it was told."""
    name = max(16, min(34, width // 2))

    def listed(facts: Mapping[str, str]) -> list[Content]:
        found = []
        for key, value in facts.items():
            first, *rest = wrap(one_line(value, 200), max(8, width - name - 1)) or [""]
            found.append(row((f"{one_line(key, name):<{name}} ", QUIET), first))
            found += [row(" " * (name + 1), line) for line in rest]
        return found

    head = row((one_line(found.run_id, width), "bold"))
    told = [Content(""), row(("Told", f"bold {QUIET}")), *listed(found.told)]
    return lines([head, *listed(found.measured), *told])


def _pair(key: str, left: str, right: str, name: int, side: int) -> Content:
    differs = left != right
    first, second = one_line(left, side), one_line(right, side)
    if differs and first == second:  # alike as far as they are shown: show where they end
        first, second = (f"…{one_line(text[1 - side :], side)}" for text in (left, right))
    style = "bold" if differs else QUIET
    shown = (f"{one_line(key, name):<{name}} ", "" if differs else QUIET)
    return row(("≠ " if differs else "  ", TONES["warn"]), shown, (f"{first:<{side}} ", style), (second, style))
