"""What two conditions differ by over the same items and seeds: paired intervals, pooled and by seed, in a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from bench.improving.blind import Outcomes
from engine.core.figures import ABSENT, percent_of, points_signed, points_signed_interval
from engine.stats.clusters import clustered
from engine.stats.paired import mcnemar, newcombe, pairs, shares_bca
from engine.stats.power import mcnemar_effect

COMPARISONS = (
    ("rules", "critic"),
    ("rules", "critic_dpo"),
    ("critic", "critic_dpo"),
    ("base", "rules"),
    ("base", "critic"),
    ("base", "critic_dpo"),
)


def compared(
    outcomes: Outcomes, seeds: Sequence[int], clusters: Mapping[str, str] | None = None
) -> list[dict[str, Any]]:
    """All comparisons that have pairs. `clusters` names each item's group; without it each item is its own.

    An item that was answered for three seeds is three pairs that are alike, so the pooled interval takes its group as
    one cluster. `over_seeds` takes each seed as one: what another seed would give, as far as so few can say.
    """
    found = []
    for before, after in COMPARISONS:
        rows = [
            (seed, name, outcomes[seed, after][name], outcomes[seed, before][name])
            for seed in seeds
            for name in sorted(outcomes.get((seed, after), {}).keys() & outcomes.get((seed, before), {}).keys())
        ]
        if not rows:
            continue
        by_seed = {}
        for seed in dict.fromkeys(row[0] for row in rows):
            some = [row for row in rows if row[0] == seed]
            by_seed[str(seed)] = _figures(some, [clusters[row[1]] for row in some] if clusters else None)
        pooled = _figures(rows, [clusters[row[1]] if clusters else row[1] for row in rows])
        pooled["over_seeds"] = _clustered(rows, [str(row[0]) for row in rows])
        found.append({"before": before, "after": after, "pooled": pooled, "by_seed": by_seed})
    return found


def _figures(rows: Sequence[tuple[int, str, bool, bool]], clusters: Sequence[str] | None) -> dict[str, Any]:
    table = pairs(*_sides(rows))
    interval, drawn = newcombe(table), shares_bca(table)
    discordant = (table.gained + table.lost) / table.n
    return {
        "n": table.n, "before_right": table.b_right, "after_right": table.a_right,
        "gained": table.gained, "lost": table.lost, "difference": table.difference,
        "lo": interval.lo, "hi": interval.hi, "bca_lo": drawn.lo, "bca_hi": drawn.hi, "p": mcnemar(table).p,
        "clustered": _clustered(rows, clusters) if clusters is not None else None,
        "detectable": mcnemar_effect(table.n, discordant).effect if discordant else None,  # with a power of 80 %
    }  # fmt: skip


def _clustered(rows: Sequence[tuple[int, str, bool, bool]], clusters: Sequence[str]) -> dict[str, Any] | None:
    """The interval that allows for pairs of one cluster being alike; None where there is no spread to judge it by."""
    try:
        found = clustered(*_sides(rows), clusters)
    except ValueError:  # one cluster, or all alike
        return None
    return {"clusters": found.clusters, "lo": found.lo, "hi": found.hi, "p": found.p} if found.se else None


def _sides(rows: Sequence[tuple[int, str, bool, bool]]) -> tuple[ArrayLike, ArrayLike]:
    return np.array([float(row[2]) for row in rows]), np.array([float(row[3]) for row in rows])


def table_of(differences: Mapping[str, Sequence[Mapping[str, Any]]], seeds: Sequence[int]) -> str:
    """A Markdown table of the comparisons by measure; differences in percentage points, intervals of 95 %."""
    heads = [
        "measure",
        "from → to",
        "pairs",
        "right before",
        "after",
        "difference",
        "clustered",
        "over seeds",
        "could show",
    ]
    heads += [f"seed {seed}" for seed in seeds]
    lines = [f"| {' | '.join(heads)} |", f"|{' --- |' * len(heads)}"]
    for measure, comparisons in differences.items():
        for row in comparisons:
            whole = row["pooled"]
            cells = [
                measure,
                f"{row['before']} → {row['after']}",
                str(whole["n"]),
                percent_of(whole["before_right"], whole["n"]),
                percent_of(whole["after_right"], whole["n"]),
                _difference(whole),
                _interval(whole["clustered"]),
                _interval(whole["over_seeds"]),
                ABSENT if whole["detectable"] is None else points_signed(whole["detectable"]),
                *(_difference(row["by_seed"].get(str(seed))) for seed in seeds),
            ]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _difference(figures: Mapping[str, Any] | None) -> str:
    if figures is None:
        return ABSENT
    return f"{points_signed(figures['difference'])} {points_signed_interval(figures['lo'], figures['hi'])}"


def _interval(found: Mapping[str, Any] | None) -> str:
    return ABSENT if found is None else points_signed_interval(found["lo"], found["hi"])
