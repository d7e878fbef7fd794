"""What an evaluation found, in one line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from engine.core.figures import percent_of, percents, points_signed, points_signed_interval
from engine.evaluation import ALL, CONDITIONS, TUNED_CONDITIONS
from engine.stats.shares import wilson

Row = Mapping[str, Any]


def summary(answers: Sequence[Row], results: Sequence[Row], capability: str) -> str:
    """One line: the primary comparison where there is one, else what share the base has right."""
    whole = [row for row in results if row["item_type"] == ALL and row["capability"] == capability]
    for row in sorted(whole, key=lambda row: row["role"] != "primary"):
        if row["role"] != "primary" and (row["before"], row["after"]) not in _usual(whole):
            continue
        kind = "registered" if row["role"] == "primary" else "exploratory"
        if row["role"] == "secondary":
            kind = "registered as secondary to a comparison that has no answers yet"
        return (
            f"{row['before']} {percent_of(row['before_right'], row['n'])} → {row['after']} "
            f"{percent_of(row['after_right'], row['n'])} on {row['n']} test items: "
            f"{points_signed(row['difference'])} points "
            f"{points_signed_interval(row['lo'], row['hi'])}, {row['test']} p {row['p']:.2g} over "
            f"{row['clusters']} templates, {kind}"
        )
    return "; ".join(_shares(answers, capability))


def _usual(whole: Sequence[Row]) -> list[tuple[str, str]]:
    """The comparison that one asks about first: the training format before, the last that was trained after."""
    after = [row["after"] for row in whole if row["after"] in TUNED_CONDITIONS]
    return [("base_formatted", max(after, key=TUNED_CONDITIONS.index))] if after else []


def _shares(answers: Sequence[Row], capability: str) -> Iterator[str]:
    for name in CONDITIONS:
        of = [row["correct"] for row in answers if row["condition"] == name and row["capability"] == capability]
        right = [correct for correct in of if correct is not None]
        if right:
            lo, hi = wilson(sum(right), len(right))
            share = percent_of(sum(right), len(right))
            left = f", {len(of) - len(right)} undecided" if len(of) > len(right) else ""
            yield f"{name} {share} of {len(right)} right {percents(lo, hi)}{left}"
