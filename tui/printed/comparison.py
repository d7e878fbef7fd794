"""What `cai compare` prints: several runs with their figures, and the paired comparisons against the first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from engine.core.figures import count, format_seconds, p_value, percent, points, points_interval
from tui.printed.tables import fact, plain_table, state_text
from tui.words.text import one_line

Row = Mapping[str, Any]


def comparison_report(found: Row) -> Group:
    """The runs with their figures, and below them the paired comparisons against the first."""
    told = (
        f"each run less {found['baseline']} on the test items that both answered, templates as clusters; "
        f"{found['correction']} over "
        f"{found['family']} comparisons; a figure of a run by itself carries no test"
    )
    notes = [Text(one_line(text, 400), style="yellow") for text in found["notes"]]
    left = sum(row["only_before"] + row["only_after"] for row in found["comparisons"])
    if left:
        told_of_left = f"{left} answers are to items that only one of the two runs has; they are left out"
        notes.append(Text(told_of_left, "yellow"))
    baseline = fact("against", Text(one_line(str(found["baseline"])), style="bold"))
    parts: list[Any] = [baseline, Text(), _figures(found["runs"]), Text()]
    for capability in dict.fromkeys(row["capability"] for row in found["comparisons"]):
        own = [row for row in found["comparisons"] if row["capability"] == capability]
        parts += [Text(str(capability).replace("_", " "), style="bold"), _comparisons(own), Text()]
    parts.append(Text(told, style="dim"))
    return Group(*parts, *notes)


def _figures(runs: Sequence[Row]) -> Table:
    table = plain_table(
        "run=", "state", "seed>", "changed", "samples>", "accepted>", "pairs kept>", "QC failed>", "time>"
    )
    for row in runs:
        changed = ", ".join(
            f"{key}={value[1] if isinstance(value, list) and len(value) == 2 else value}"
            for key, value in row["overrides"].items()
        )
        table.add_row(
            Text(one_line(str(row["run"])), style="bold"),
            state_text(str(row["state"])),
            Text(str(row["seed"])),
            Text(one_line(changed, 60) if changed else "–"),
            Text(count(row["samples"])),
            Text(count(row["accepted"])),
            Text(f"{row['pairs_kept']:,}/{row['pairs']:,}" if row["pairs"] else "–"),
            Text(_failed(row)),
            Text(format_seconds(row["elapsed_s"])),
        )
    return table


def _comparisons(rows: Sequence[Row]) -> Table:
    table = plain_table(
        "run", "condition", "test n>", "before>", "after>", "+>", "->", "points>", "95 % interval", "p>",
        "corrected>", "h>", wrapped=False,
    )  # fmt: skip
    for row in rows:
        condition = row["after"] if row["before"] == row["after"] else f"{row['before']} → {row['after']}"
        cells = (
            one_line(str(row["run"])),
            one_line(str(condition)).replace("_", " "),
            count(row["n"]),
            percent(row["before_right"] / row["n"]),
            percent(row["after_right"] / row["n"]),
            count(row["gained"]),
            count(row["lost"]),
            points(row["difference"]),
            points_interval(row["lo"], row["hi"]),
            p_value(row["p"]),
            "–" if row["p_corrected"] is None else p_value(row["p_corrected"]),
            f"{row['effect']:+.2f}",
        )
        table.add_row(*(Text(cell) for cell in cells), style="bold" if row["shown"] else "")
    return table


def _failed(row: Row) -> str:
    """How many checks of the gates failed or are empty, and how many nothing tested."""
    if not row["checks"]:
        return "–"
    untested = row["checks_untested"]
    return f"{row['checks_failed']:,}/{row['checks'] - untested:,}" + (f", {untested:,} not tested" if untested else "")
