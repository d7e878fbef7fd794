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
    told, compared_by = [], _by_metric(results)
    for key, of in _by_metric(means).items():
        of.sort(key=lambda row: place(row["condition"]))
        line = f"{metric_words(of[0], means)} of {count(of[0]['n'])}: {' · '.join(map(mean_words, of))}"
        if compared := compared_by.get(key):
            row = max(compared, key=lambda one: (place(one["after"]), -abs(place(one["before"]) - 1)))
            line += f"; {row['before']} → {row['after']} {difference_words(row)}, p {p_short(row['p'])}, exploratory"
        told.append(line)
    return told


def metric_words(row: Row, rows: Sequence[Row]) -> str:
    """A row's task and metric, with its suite where another one of `rows` has that task as a whole, too."""
    suites = {one["suite"] for one in rows if one["task"] == row["task"] and one["whole"]}
    return one_line(f"{row['task']} {row['metric']}" + (f" in {row['suite']}" if len(suites) > 1 else ""))


def result_cells(row: Row, rows: Sequence[Row]) -> list[str]:
    """A comparison, one of `rows`, as the cells of a table."""
    better = "" if row["higher_is_better"] else ", lower is better"
    return [
        metric_words(row, rows) + better,
        f"{row['before']} → {row['after']}",
        count(row["n"]),
        f"{count(row['clusters'])} {row['unit']}s",
        decimals(row["before_mean"]),
        decimals(row["after_mean"]),
        difference_words(row),
        p_short(row["p"]),
        p_short(row["q"]),
    ]


def _by_metric(rows: Sequence[Row]) -> dict[tuple[str, str, str], list[Row]]:
    """What is told as a whole, by suite, task and metric: two suites may have one task with other items."""
    found: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        if row["whole"]:
            found.setdefault((row["suite"], row["task"], row["metric"]), []).append(row)
    return found
