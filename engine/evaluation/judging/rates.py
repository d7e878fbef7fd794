"""Win rates of judged pairs: raw and at equal length, with templates as clusters, beside what a person preferred."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np

from engine.evaluation.inference import ENOUGH_CLUSTERS
from engine.evaluation.judging import AFTER, BEFORE, ORDERS, TIE, JudgedPair
from engine.evaluation.needs.readers import labels_of, word
from engine.stats.clusters import clusters_of, mean_of
from engine.stats.length_control import length_controlled
from engine.stats.paired import benjamini_hochberg
from store.names import ANSWER
from store.read import Reader

WON = {AFTER: 1.0, TIE: 0.5, BEFORE: 0.0}
Row = dict[str, Any]
PairKey = tuple[str, str, str, str]  # as JudgedPair.key


def settled(preferred: Mapping[str, str | None]) -> str | None:
    """What both orders come to: the answer that both prefer, else a tie; None where an order has no verdict."""
    both = [preferred.get(order) for order in ORDERS]
    if None in both:
        return None
    return both[0] if both[0] == both[1] else TIE


def results_of(reader: Reader, run_id: str, answers: Iterable[Mapping[str, Any]], now: datetime) -> list[Row]:
    """Rows of `judge_results` of every judge that a run has verdicts of, as far as they are of these very answers.

    `answers` are what `answers_of` gives. Nobody is asked: what a person has read since counts, and verdicts on answers
    that were replaced do not.
    """
    of = {(row["condition"], row["item_id"]): row for row in answers}
    labels = reader.query("SELECT * FROM person_labels WHERE run_id = ? AND subject_kind = ?", [run_id, ANSWER])
    found: dict[str, list[Row]] = {}
    for row in reader.query(
        "SELECT * FROM judge_verdicts WHERE run_id = ? ORDER BY judge, question DESC, before, after, item_id", [run_id]
    ):
        sides = [of.get((row[side], row["item_id"])) for side in (BEFORE, AFTER)]
        if [side and side["request_id"] for side in sides] == [row["before_request"], row["after_request"]]:
            found.setdefault(row["judge"], []).append(row)
    rows = []
    for judge, verdicts in found.items():
        made = (
            JudgedPair(row["question"], of[row["before"], row["item_id"]], of[row["after"], row["item_id"]])
            for row in verdicts
        )
        pairs = {pair.key: pair for pair in made}
        local = any(row["margin_nats"] is not None for row in verdicts)
        of_judge = judge_results(list(pairs.values()), verdicts, labels, local=local, now=now)
        rows += [{**row, "run_id": run_id, "judge": judge} for row in of_judge]
    return rows


def judge_results(
    pairs: Sequence[JudgedPair],
    verdicts: Iterable[Mapping[str, Any]],
    labels: Iterable[Mapping[str, Any]],
    *,
    local: bool,
    now: datetime,
) -> list[Row]:
    """Rows of `judge_results` without run_id and judge, one for each question and comparison that has pairs.

    `verdicts` are rows of `judge_verdicts` of one judge about these pairs, `labels` rows of `person_labels`.
    """
    by: dict[PairKey, dict[str, str | None]] = {}
    for row in verdicts:
        key = row["question"], row["before"], row["after"], row["item_id"]
        by.setdefault(key, {})[row["in_front"]] = row["preferred"]
    sides = [side for pair in pairs for side in (pair.before, pair.after)]
    read = {subject: word(of) for subject, of in labels_of(labels, sides).items()}
    of: dict[tuple[str, str, str], list[JudgedPair]] = {}
    for pair in pairs:
        of.setdefault(pair.key[:3], []).append(pair)
    rows: list[Row] = [
        {"question": key[0], "before": key[1], "after": key[2], "local": local, "at": now} | _compared(some, by, read)
        for key, some in of.items()
    ]
    for name, q in (("p", "q"), ("lc_p", "lc_q")):
        tested = [row for row in rows if row[name] is not None]
        for row, value in zip(tested, benjamini_hochberg([row[name] for row in tested]).adjusted, strict=True):
            row[q] = value
    return rows


def _compared(
    pairs: Sequence[JudgedPair], by: Mapping[PairKey, Mapping[str, str | None]], read: Mapping[str, str]
) -> Row:
    found = [(pair, settled(by.get(pair.key, {}))) for pair in pairs]
    decided = [(pair, outcome) for pair, outcome in found if outcome is not None]
    outcomes = [outcome for _, outcome in decided]
    turned = sum({by[pair.key][order] for order in ORDERS} == {BEFORE, AFTER} for pair, _ in decided)
    row: Row = {
        "n": len(decided), "clusters": 0, "wins": outcomes.count(AFTER), "ties": outcomes.count(TIE),
        "losses": outcomes.count(BEFORE), "turned": turned, "unreadable": len(found) - len(decided),
        "p": None, "q": None, "lc_p": None, "lc_q": None, **_beside_a_person(decided, read),
    }  # fmt: skip
    if not decided:
        return row
    won = np.array([WON[outcome] for outcome in outcomes])
    longer = np.array([len(pair.after["answer"]) - len(pair.before["answer"]) for pair, _ in decided], dtype=np.float64)
    types = [pair.after["item_type"] for pair, _ in decided]
    templates = [pair.after["template"] for pair, _ in decided]
    clusters = clusters_of(won - 0.5, templates, types)
    row |= {"clusters": len(clusters.sizes), "win_rate": float(won.mean()), "length_mean": float(longer.mean())}
    if len(clusters.sizes) < ENOUGH_CLUSTERS:  # described only
        return row
    controlled = length_controlled(won, longer, list(zip(types, templates, strict=True)))
    if controlled is not None:
        row |= {
            "lc_win_rate": controlled.win_rate, "lc_lo": controlled.lo, "lc_hi": controlled.hi,
            "lc_log_odds": controlled.log_odds, "lc_p": controlled.p, "length_slope": controlled.slope,
        }  # fmt: skip
    try:
        tested = mean_of(clusters)
    except ValueError:  # no spread between the templates of a type
        return row
    if tested.se:
        row |= {"lo": max(tested.lo + 0.5, 0.0), "hi": min(tested.hi + 0.5, 1.0), "p": tested.p}
    return row


def _beside_a_person(decided: Sequence[tuple[JudgedPair, str]], read: Mapping[str, str]) -> dict[str, int]:
    """How often the judge prefers what a person called good where the other answer was called bad; its ties don't."""
    n = agrees = alike = 0
    for pair, outcome in decided:
        words = [_word(read, pair.before), _word(read, pair.after)]
        if None in words:
            continue
        if words[0] == words[1]:
            alike += 1
            continue
        n += 1
        agrees += outcome == (AFTER if words[1] == "good" else BEFORE)
    return {"person_n": n, "person_agrees": agrees, "person_alike": alike}


def _word(read: Mapping[str, str], answer: Mapping[str, Any]) -> str | None:
    """What persons called an answer, good or bad; None where nobody read it or they could not say."""
    called = read.get(f"{answer['condition']}/{answer['item_id']}")
    return called if called in ("good", "bad") else None
