"""What conditions have of a suite, and what they differ by: the statistics of the held-out items, on others' items.

The unit of inference is the document, with what is known to share its text as one cluster, and tasks as strata. Where a
group of ten tasks and more is told as one figure, it is the task: another draw of such tasks would give another figure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from engine.evaluation.graded import compared_scores
from engine.evaluation.inference import ENOUGH_CLUSTERS
from engine.evaluation.inference.differences import by_items
from engine.evaluation.registration import comparisons
from engine.evaluation.suites import DOCUMENT, SUBTASK
from engine.evaluation.suites.harness import Suite
from engine.stats.clusters import CR2, clusters_of, mean_of, sign_flip
from engine.stats.paired import benjamini_hochberg, newcombe, pairs
from engine.stats.shares import wilson

WILSON, NONE = "Wilson", "none: no spread to judge by"

Row = dict[str, Any]
Item = tuple[str, int]  # task, and a document's place


@dataclass(frozen=True)
class SuiteMetric:
    """One metric of a task, or of a group: by condition and item the values, by item its cluster within its stratum."""

    task: str
    metric: str
    unit: str
    whole: bool  # and not told within a group of its suite
    rises: bool
    values: Mapping[str, Mapping[Item, float]]
    places: Mapping[Item, tuple[str, str]]  # stratum, cluster

    @property
    def binary(self) -> bool:
        return all(value in (0, 1) for of in self.values.values() for value in of.values())

    @property
    def key(self) -> Row:
        about = {"task": self.task, "metric": self.metric, "unit": self.unit}
        return {**about, "whole": self.whole, "higher_is_better": self.rises}


def analysed(suite: Suite, rows: Sequence[Mapping[str, Any]], now: datetime) -> tuple[list[Row], list[Row]]:
    """Rows of `suite_means` and of `suite_results`, without their run_id, of a suite's rows of `suite_answers`."""
    means: list[Row] = []
    results: list[Row] = []
    for one in _measured(suite, rows):
        about = {"suite": suite.name, **one.key, "at": now}
        means += [{**about, "condition": name, **_mean(one, of)} for name, of in one.values.items()]
        for before, after in comparisons(one.values)[2]:
            if compared := _compared(one, one.values[before], one.values[after]):
                results.append({**about, "before": before, "after": after, **compared})
    tested = [row for row in results if row["p"] is not None]
    for row, q in zip(tested, benjamini_hochberg([row["p"] for row in tested]).adjusted, strict=True):
        row["q"] = q
    return means, results


def _measured(suite: Suite, rows: Sequence[Mapping[str, Any]]) -> Iterator[SuiteMetric]:
    """Groups that are told as one figure first, then each task."""
    for group, (tasks, pooled) in suite.pooled.items():
        unit = SUBTASK if len(tasks) >= ENOUGH_CLUSTERS else DOCUMENT
        chosen = [row for row in rows if row["task"] in tasks]
        yield from _of(suite, group, chosen, unit, pooled)
    within = {task for tasks, pooled in suite.pooled.values() if pooled for task in tasks}
    for task in suite.tasks:
        yield from _of(suite, task, [row for row in rows if row["task"] == task], DOCUMENT, whole=task not in within)


def _of(
    suite: Suite,
    name: str,
    rows: Sequence[Mapping[str, Any]],
    unit: str,
    pooled: Sequence[str] | None = None,
    *,
    whole: bool = True,
) -> Iterator[SuiteMetric]:
    places = {}
    for row in rows:
        by_task = ("", row["task"]) if unit == SUBTASK else (row["task"], row["cluster"])
        places[row["task"], row["doc_id"]] = by_task
    for metric in dict.fromkeys(metric for row in rows for metric in row["metrics"]):
        if pooled is not None and metric.partition(",")[0] not in pooled:
            continue
        values: dict[str, dict[Item, float]] = {}
        for row in rows:
            if metric in row["metrics"]:
                values.setdefault(row["condition"], {})[row["task"], row["doc_id"]] = row["metrics"][metric]
        yield SuiteMetric(name, metric, unit, whole, suite.rises(rows[0]["task"], metric), values, places)


def _mean(one: SuiteMetric, of: Mapping[Item, float]) -> Row:
    """A condition's mean: Wilson's interval where each item is its own cluster and right or wrong, else by CR2."""
    values = list(of.values())
    strata, names = zip(*(one.places[item] for item in of), strict=True)
    clusters = clusters_of(values, names, strata)
    n, groups, mean = len(values), len(clusters.sizes), sum(values) / len(values)
    about: Row = {"n": n, "clusters": groups, "mean": mean, "lo": None, "hi": None, "interval_method": NONE}
    if one.binary and groups == n:
        lo, hi = wilson(round(sum(values)), n)
        return about | {"lo": lo, "hi": hi, "interval_method": WILSON}
    try:
        found = mean_of(clusters)
    except ValueError:  # one cluster, or no spread between them
        return about
    lo, hi = (max(found.lo, 0.0), min(found.hi, 1.0)) if one.binary else (found.lo, found.hi)
    return about | ({"lo": lo, "hi": hi, "interval_method": CR2} if found.se else {})


def _compared(one: SuiteMetric, before: Mapping[Item, float], after: Mapping[Item, float]) -> Row | None:
    """A paired difference over the items that both conditions answered, None without one."""
    items = sorted(before.keys() & after.keys())
    if not items:
        return None
    a, b = [after[item] for item in items], [before[item] for item in items]
    places = [one.places[item] for item in items]
    row = compared_scores(a, b, places)
    described: Row = dict.fromkeys(("gained", "lost", "flip_p", "mcnemar_p", "newcombe_lo", "newcombe_hi"))
    if one.binary:
        table = pairs(a, b)
        strata, names = zip(*places, strict=True)
        flipped = sign_flip(clusters_of([x - y for x, y in zip(a, b, strict=True)], names, strata))
        interval = newcombe(table)
        described = {
            "gained": table.gained, "lost": table.lost, "flip_p": flipped.p,
            "mcnemar_p": by_items(table.gained, table.lost)["mcnemar_p"],
            "newcombe_lo": interval.lo, "newcombe_hi": interval.hi,
        }  # fmt: skip
    return row | described
