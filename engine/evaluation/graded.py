"""What is no yes or no about the same test items: rules met, length, log-probabilities, margins of a local judge.

The paired t test with d_z and Wilcoxon's beside it take items for independent; what is shown first allows for items of
one template being alike. None of it carries a claim: it says whether a gain hangs on one rule, came with longer
answers, or shows in what a model finds likely as well as in what it writes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np

from engine.evaluation import CAPABILITIES
from engine.evaluation.inference import ENOUGH_CLUSTERS
from engine.evaluation.judging import COMPARED
from engine.evaluation.registration import comparisons
from engine.stats.clusters import CR2, clusters_of, mean_of
from engine.stats.effects import T_TEST, paired_means
from engine.stats.paired import benjamini_hochberg
from store.read import Reader

RULES = ("strict", "correct", "loose")
NATS = "reference nats"  # a token, of the reference answer
Row = dict[str, Any]
Answered = Mapping[str, Mapping[str, Any]]  # rows by item


def _grade(row: Mapping[str, Any]) -> float:
    return sum(bool(row[name]) for name in RULES) / len(RULES)


MEASURES: dict[str, Callable[[Mapping[str, Any]], float]] = {
    "grade": _grade,
    "tokens": lambda row: float(row["n_tokens"]),
}


def score_rows(reader: Reader, run_id: str, answers: Sequence[Mapping[str, Any]], now: datetime) -> list[Row]:
    """Rows of `evaluation_scores` of a run, with the log-probabilities and margins that are stored of these answers."""
    of = {(row["condition"], row["item_id"]): row for row in answers}
    nats = {}
    for row in reader.query(
        "SELECT condition, item_id, fingerprint, logprob / n_tokens AS nats FROM evaluation_logprobs "
        "WHERE run_id = ? AND items_sha256 = ?",
        [run_id, answers[0]["items_sha256"] if answers else None],
    ):
        key = row["condition"], row["item_id"]
        if key in of and of[key]["fingerprint"] == row["fingerprint"]:
            nats[key] = float(row["nats"])
    margins: dict[str, dict[tuple[str, str, str], float]] = {}
    for row in reader.query(
        "SELECT judge, question, before, after, item_id, before_request, after_request, avg(margin_nats) AS nats "
        "FROM judge_verdicts WHERE run_id = ? AND margin_nats IS NOT NULL GROUP BY ALL ORDER BY ALL",
        [run_id],
    ):
        sides = [of.get((row[side], row["item_id"])) for side in ("before", "after")]
        if [side and side["request_id"] for side in sides] == [row["before_request"], row["after_request"]]:
            measure = f"{row['question']} margin, nats, by {row['judge']}"
            margins.setdefault(measure, {})[row["before"], row["after"], row["item_id"]] = float(row["nats"])
    return [{**row, "run_id": run_id} for row in graded(answers, now, nats, margins)]


def graded(
    answers: Sequence[Mapping[str, Any]],
    now: datetime,
    nats: Mapping[tuple[str, str], float] | None = None,
    margins: Mapping[str, Mapping[tuple[str, str, str], float]] | None = None,
) -> list[Row]:
    """Rows of `evaluation_scores` without their run_id, of every planned comparison of test answers.

    `nats` are log-probabilities a token by condition and item. `margins` are, by measure, what a judge prefers the
    later answer by, by before, after and item: the paired test of these is against no preference.
    """
    by: dict[str, dict[str, dict[str, Mapping[str, Any]]]] = {}
    for row in answers:
        if row["split"] == "test":
            by.setdefault(row["capability"], {}).setdefault(row["condition"], {})[row["item_id"]] = row
    rows: list[Row] = []
    for capability in CAPABILITIES:
        of = by.get(capability, {})
        for before, after in comparisons(of)[2]:
            both: Answered = {item: of[after][item] for item in sorted(of[before].keys() & of[after].keys())}
            key: Row = {"capability": capability, "before": before, "after": after, "at": now}
            decided = [item for item in both if None not in (of[before][item]["correct"], of[after][item]["correct"])]
            for measure, value in MEASURES.items():
                values = [(value(of[after][item]), value(of[before][item])) for item in decided]
                rows += _row(key, measure, decided, values, both)
            known = nats or {}
            likely = [item for item in both if (after, item) in known and (before, item) in known]
            values = [(known[after, item], known[before, item]) for item in likely]
            rows += _row(key, NATS, likely, values, both)
            for measure, of_pairs in (margins or {}).items() if (before, after) in COMPARED else ():
                judged = [item for item in both if (before, after, item) in of_pairs]
                rows += _row(key, measure, judged, [(of_pairs[before, after, item], 0.0) for item in judged], both)
    tested = [row for row in rows if row["p"] is not None]
    for row, q in zip(tested, benjamini_hochberg([row["p"] for row in tested]).adjusted, strict=True):
        row["q"] = q
    return rows


def _row(
    key: Row, measure: str, items: Sequence[str], values: Sequence[tuple[float, float]], of: Answered
) -> list[Row]:
    """One measure of one comparison, after and before for each item; nothing where no item has both."""
    if not items:
        return []
    places = [(of[item]["item_type"], of[item]["template"]) for item in items]
    after, before = zip(*values, strict=True)
    return [key | {"measure": measure} | compared_scores(after, before, places)]


def compared_scores(a: Sequence[float], b: Sequence[float], places: Sequence[tuple[str, str]]) -> Row:
    """What two conditions' scores of the same items differ by; `places` are each item's type and its template in it.

    The figures of `evaluation_scores`; p and interval are None of fewer than ten templates, and without a spread
    between those of a type.
    """
    found = paired_means(a, b)
    types, templates = zip(*places, strict=True)
    clusters = clusters_of(np.subtract(a, b), templates, types)
    row: Row = {
        "n": found.n, "clusters": len(clusters.sizes), "before_mean": found.against_mean, "after_mean": found.with_mean,
        "difference": found.difference, "lo": None, "hi": None, "test": CR2, "p": None, "q": None,
        "bca_lo": found.lo, "bca_hi": found.hi, "dz": None, "dz_lo": None, "dz_hi": None, "t_p": None,
    }  # fmt: skip
    if found.test == T_TEST:
        row |= {"dz": found.effect, "dz_lo": found.effect_lo, "dz_hi": found.effect_hi, "t_p": found.p}
        row |= {"wilcoxon_p": found.beside_p, "rank_biserial": found.beside_effect}
    else:
        row |= {"wilcoxon_p": found.p, "rank_biserial": found.effect}
    if len(clusters.sizes) < ENOUGH_CLUSTERS:  # described only
        return row
    try:
        tested = mean_of(clusters)
    except ValueError:  # no spread between the templates of a type
        return row
    return row | ({"lo": tested.lo, "hi": tested.hi, "p": tested.p} if tested.se else {})
