"""Benchmarks in words, the same on the screen and on the command line. Means are written as the harness writes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from engine.core.figures import count, decimals, interval, p_short, signed
from tui.words.evaluation import place
from tui.words.text import one_line

Row = Mapping[str, Any]


def mean_words(row: Row) -> str:
    """A condition's mean with its interval."""
    limits = "" if row["lo"] is None else f" {interval(row['lo'], row['hi'])}"
    return f"{row['condition']} {decimals(row['mean'])}{limits}"


def difference_words(row: Row) -> str:
    """What two conditions differ by, with the cluster-robust interval where there is one."""
    limits = "" if row["lo"] is None else f" [{signed(row['lo'])}, {signed(row['hi'])}]"
    return f"{signed(row['difference'])}{limits}"


def suite_words(means: Sequence[Row], results: Sequence[Row]) -> list[str]:
    """One line for each metric of what is told as a whole: each condition's mean, and the last comparison."""
    told = []
    for task, metric in dict.fromkeys((row["task"], row["metric"]) for row in means if row["whole"]):
        of = [row for row in means if (row["task"], row["metric"]) == (task, metric)]
        of.sort(key=lambda row: place(row["condition"]))
        line = f"{one_line(f'{task} {metric}')} of {count(of[0]['n'])}: {' · '.join(map(mean_words, of))}"
        compared = [row for row in results if (row["task"], row["metric"]) == (task, metric)]
        if compared:
            row = max(compared, key=lambda one: (place(one["after"]), -abs(place(one["before"]) - 1)))
            line += f"; {row['before']} → {row['after']} {difference_words(row)}, p {p_short(row['p'])}, exploratory"
        told.append(line)
    return told


def result_cells(row: Row) -> list[str]:
    """A comparison as the cells of a table."""
    better = "" if row["higher_is_better"] else ", lower is better"
    return [
        one_line(f"{row['task']} {row['metric']}") + better,
        f"{row['before']} → {row['after']}",
        count(row["n"]),
        f"{count(row['clusters'])} {row['unit']}s",
        decimals(row["before_mean"]),
        decimals(row["after_mean"]),
        difference_words(row),
        p_short(row["p"]),
        p_short(row["q"]),
    ]
