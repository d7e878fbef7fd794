"""The audit of the verifiers, before any p value counts: planted answers, length, padding, format, and a person.

Rows are those of `scorer_audits` without run_id and scorer_sha256. A row with an operator decides: a scorer that fails
it makes no claim. The others are recorded for the reader.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from engine.evaluation import ALL, CAPABILITIES, CONDITIONS, PLANTS, Item, Plant, Verdict
from engine.evaluation.verifiers import WHOLE_CHECKS
from engine.quality.gates import Check
from engine.spec.sections import EvaluationSpec
from engine.stats.shares import wilson
from store.names import READERS

DRAWS = 1000
CHUNK = 2_000_000
LENGTH_NEEDS = 10  # right answers, and wrong ones, before their correlation with length decides
UNDECIDED_AT_MOST = 0.10  # of a condition's test answers, for a claim
UNDECIDED_OF = 20  # answers; of fewer one or two are the whole allowance
LISTED = 40  # ids at most in a row's detail
FORMATS = {
    "markdown": re.compile(r"\*\*|__|`|^#{1,6} ", re.MULTILINE),
    "list": re.compile(r"^\s*(?:[-*•]|\d+[.)]) ", re.MULTILINE),
    "newline": re.compile(r"\n"),
}

Row = dict[str, Any]
Floats = NDArray[np.float64]


def planted(verify: Callable[[Item, str], Verdict], plants: Iterable[Plant], spec: EvaluationSpec) -> list[Row]:
    """Whether answers of known worth are judged so: a deciding row for each item type, a recorded one for each kind.

    Measured is the share that is judged rightly, with its Wilson interval. `detail` has `misjudged`, each with the
    item, kind, answer and what the verifier saw (40 at most), and their number `of_kind`.
    """
    judged: dict[tuple[str, str], list[tuple[Plant, Verdict]]] = {}
    for plant in plants:
        verdict = verify(plant.item, plant.answer)
        for subject in (plant.item.item_type, f"kind:{plant.kind}"):
            judged.setdefault((plant.item.capability, subject), []).append((plant, verdict))
    rows = []
    for (capability, subject), found in sorted(judged.items(), key=_planted_order):
        wrong = [(plant, verdict) for plant, verdict in found if verdict.correct != plant.right]
        detail = {
            "of_kind": dict(Counter(plant.kind for plant, _ in wrong)),
            "misjudged": [
                {
                    "item_id": plant.item.item_id, "kind": plant.kind, "answer": plant.answer, "right": plant.right,
                    "detail": plant.detail, "why": verdict.why,
                }
                for plant, verdict in wrong[:LISTED]
            ],
        }  # fmt: skip
        decides = None if subject.startswith("kind:") else spec.scorer_accuracy_at_least
        rows.append(_share(capability, "planted", subject, len(found) - len(wrong), len(found), ">=", decides, detail))
    return rows


def error_rates(verify: Callable[[Item, str], Verdict], tricky: Iterable[Plant]) -> list[Row]:
    """How often verifiers err on tricky answers, for all types of a capability and for each; recorded, not deciding.

    Three rows each, with Wilson's interval: `false accepts` of the wrong answers, `false rejects` of the right ones,
    and `abstains` of all. An answer left to a reader is neither accepted nor rejected. No single answer is told, so
    that the half that is kept for the audit teaches nobody.
    """
    counts: dict[tuple[str, str], Counter[tuple[bool, bool | None]]] = {}
    for plant in tricky:
        verdict = verify(plant.item, plant.answer).correct
        for subject in (ALL, plant.item.item_type):
            counts.setdefault((plant.item.capability, subject), Counter())[plant.right, verdict] += 1
    rows = []
    for (capability, subject), found in sorted(
        counts.items(), key=lambda one: (one[0][0], one[0][1] != ALL, one[0][1])
    ):
        n_wrong, n_right = (sum(k for (right, _), k in found.items() if right is of) for of in (False, True))
        for part, k, n in (
            ("false accepts", found[False, True], n_wrong),
            ("false rejects", found[True, False], n_right),
            ("abstains", found[True, None] + found[False, None], n_wrong + n_right),
        ):
            rows.append(_share(capability, part, subject, k, n, "", None, {}))
    return rows


def undecided(answers: Iterable[Mapping[str, Any]]) -> list[Row]:
    """The share of a condition's test answers that rules could not decide and nobody has read; a row for each decides.

    Such an answer counts in no rate of its condition and in no comparison with it, so with u of n undecided a share or
    a difference could move by at most u/n once they are read. A claim needs at most UNDECIDED_AT_MOST of them; of fewer
    than UNDECIDED_OF answers the share decides nothing.
    `detail` has how many the rules abstained from and how many of these were read.
    """
    test = [one for one in answers if one["split"] == "test"]
    rows = []
    for capability, condition in _groups(test):
        found = [one for one in test if (one["capability"], one["condition"]) == (capability, condition)]
        left = [one for one in found if one["correct"] is None]
        n = sum(bool(one.get("abstained")) for one in found)
        detail = _turned(left, found) | {"abstained": n, "read": n - len(left)}
        least = UNDECIDED_AT_MOST if len(found) >= UNDECIDED_OF else None
        rows.append(_share(capability, "undecided", condition, len(left), len(found), "<=", least, detail))
    return rows


def confounds(
    answers: Sequence[Mapping[str, Any]], spec: EvaluationSpec, length_types: Collection[str] = frozenset()
) -> list[Row]:
    """Whether verdicts hang on length or form, for each capability and condition.

    `answers` are rows of evaluation_answers joined with their items (capability, item_type, and facts where known),
    of any split; undecided ones are left out. Two rows decide: `length`, the correlation of success with length
    (see within_types), and `padding`, the share of right answers that turn wrong with a sentence added that says
    nothing. Both leave out items that ask for a length: those of `length_types`, and those whose facts name a check
    of length or a style of the whole answer. Recorded are `trimming` and `strictness`, the shares of verdicts that
    turn when the last sentence is cut off and between the strict and the loose rule, and `format`, the largest
    difference of success with and without a form (markdown, a list, a newline) among answers to items of one type.
    What can't be measured decides nothing, nor does the correlation with length where fewer than ten answers are
    right, or wrong.
    """
    answers = [one for one in answers if one["correct"] is not None]
    rows = []
    for capability, condition in _groups(answers):
        found = [one for one in answers if (one["capability"], one["condition"]) == (capability, condition)]
        free = [one for one in found if not _asks_for_length(one, length_types)]
        rows.append(_length(capability, condition, free, spec.length_correlation_at_most, len(found) - len(free)))
        right = [one for one in free if one["correct"]]
        flipped = [one for one in right if not one["padded"]]
        detail = _turned(flipped, right) | {"wrong_to_right": sum(one["padded"] and not one["correct"] for one in free)}
        rows.append(
            _share(capability, "padding", condition, len(flipped), len(right), "<=", spec.flips_at_most, detail)
        )
        for part, one_way, other_way in (("trimming", "correct", "trimmed"), ("strictness", "loose", "strict")):
            turned = [one for one in found if one[one_way] != one[other_way]]
            detail = _turned(turned, found) | {
                "right_to_wrong": sum(bool(one[one_way]) for one in turned),
                "wrong_to_right": sum(bool(one[other_way]) for one in turned),
            }
            rows.append(_share(capability, part, condition, len(turned), len(found), "", None, detail))
        rows.append(_format(capability, condition, found))
    return rows


def within_types(
    success: Sequence[bool], length: Sequence[float], item_types: Sequence[str], *, seed: int = 0
) -> tuple[float, float, float] | None:
    """The correlation of success with the rank of length among answers to items of one type, and its 95 % interval.

    Lengths become ranks from 0 to 1 within each type, because a few runaway answers of thousands of characters would
    decide a correlation of the lengths themselves, and a limit on length works through the order alone. Both are taken
    less their type's mean, so that a type that is hard and asks for much is no confound: the point-biserial correlation
    of ranks, pooled within strata. The interval is a percentile bootstrap over answers within types. It reaches 0.87
    where the longer half fails, and less where few fail. None where success or length does not vary in any type.
    """
    order = np.unique(np.asarray(item_types), return_inverse=True)[1]
    y, x = np.asarray(success, dtype=np.float64), np.zeros(len(order))
    groups = [np.flatnonzero(order == group) for group in range(order.max() + 1)] if len(order) else []
    for members in groups:
        x[members] = (stats.rankdata(np.asarray(length, dtype=np.float64)[members]) - 0.5) / len(members)
    parts = np.zeros((1 + DRAWS, 3))  # sums of products around the types' means: both, lengths, successes
    rng = np.random.default_rng(seed)
    for members in groups:
        parts[0] += _sums(y[members][None], x[members][None])[0]
        step = max(1, CHUNK // len(members))
        for start in range(1, 1 + DRAWS, step):
            drawn = members[rng.integers(len(members), size=(min(step, 1 + DRAWS - start), len(members)))]
            parts[start : start + len(drawn)] += _sums(y[drawn], x[drawn])
    spread = np.sqrt(parts[:, 1] * parts[:, 2])
    if not len(groups) or spread[0] <= 1e-12:
        return None
    drawn_values = parts[1:, 0][spread[1:] > 1e-12] / spread[1:][spread[1:] > 1e-12]
    lo, hi = np.quantile(drawn_values, [0.025, 0.975])
    return float(parts[0, 0] / spread[0]), float(lo), float(hi)


def blocked(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """The deciding rows that failed, as "part subject (capability)"; while there are any, no result counts."""
    return [f"{one['part']} {one['subject']} ({one['capability']})" for one in rows if one["passed"] is False]


def broken(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """Those of the failed rows that speak against the verdicts themselves: with them not even explorations count."""
    return blocked(one for one in rows if one["part"] not in ("undecided", READERS))


@dataclass(frozen=True, slots=True)
class Blind:
    """An item with both conditions' answers, for a person who is not told which is whose.

    `subjects` are the ids that labels of the two `texts` are stored under. They name the conditions: don't show them.
    """

    item_id: str
    item_type: str
    texts: tuple[str, str]
    subjects: tuple[str, str]


def blinded(
    answers_before: Iterable[Mapping[str, Any]], answers_after: Iterable[Mapping[str, Any]], seed: int, k: int
) -> list[Blind]:
    """Up to k items on which exactly one of two conditions is right, types taking turns, in random order.

    Items with an undecided answer are chosen before them, because a claim waits for those.

    Which answer stands first is drawn for each item, so that neither place nor order tells condition or verdict. The
    same seed gives the same list, whatever the order of the answers.
    """
    before = {one["item_id"]: one for one in answers_before}
    by_type: dict[tuple[bool, str], list[tuple[Mapping[str, Any], Mapping[str, Any]]]] = {}
    for other in sorted(answers_after, key=lambda one: one["item_id"]):
        one = before.get(other["item_id"])
        if one is not None and (one["correct"] is None or one["correct"] is not other["correct"]):
            decided = None not in (one["correct"], other["correct"])
            by_type.setdefault((decided, one["item_type"]), []).append((one, other))
    rng = np.random.default_rng(seed)
    turns = [
        (decided, turn, name, by_type[decided, name][index])
        for decided, name in sorted(by_type)
        for turn, index in enumerate(rng.permutation(len(by_type[decided, name])))
    ]
    chosen = [pair for *_, pair in sorted(turns, key=lambda one: one[:3])[:k]]
    shown = []
    for index in rng.permutation(len(chosen)):
        first, second = chosen[index] if rng.random() < 0.5 else chosen[index][::-1]
        texts = str(first["answer"]), str(second["answer"])
        subjects = f"{first['condition']}/{first['item_id']}", f"{second['condition']}/{second['item_id']}"
        shown.append(Blind(first["item_id"], first["item_type"], texts, subjects))
    return shown


def audit_row(capability: str, part: str, subject: str, check: Check, detail: Mapping[str, Any]) -> Row:
    """A row that decides where the check has an operator and something was measured."""
    decides = bool(check.op) and check.measured is not None
    return {
        "capability": capability, "part": part, "subject": subject,
        "measured": check.measured, "lo": check.lo, "hi": check.hi, "n": check.n,
        "op": check.op, "threshold": check.threshold if check.op else None,
        "passed": check.holds if decides else None, "detail": dict(detail),
    }  # fmt: skip


def _share(
    capability: str, part: str, subject: str, k: int, n: int, op: str, threshold: float | None, detail: Row
) -> Row:
    lo, hi = wilson(k, n) if n else (None, None)
    check = Check(part, k / n if n else None, lo, hi, n, "" if threshold is None else op, threshold or 0.0)
    return audit_row(capability, part, subject, check, detail)


def _planted_order(one: tuple[tuple[str, str], Any]) -> tuple[str, bool, int, str]:
    capability, subject = one[0]
    kind = subject.removeprefix("kind:")
    return capability, subject != kind, PLANTS.index(kind) if kind in PLANTS else -1, kind


def _groups(answers: Iterable[Mapping[str, Any]]) -> list[tuple[str, str]]:
    there = {(one["capability"], one["condition"]) for one in answers}
    return [(one, other) for one in CAPABILITIES for other in CONDITIONS if (one, other) in there]


def _asks_for_length(answer: Mapping[str, Any], length_types: Collection[str]) -> bool:
    facts = answer.get("facts") or {}
    facts = json.loads(facts) if isinstance(facts, str) else facts
    return answer["item_type"] in length_types or facts.get("check") in WHOLE_CHECKS or bool(facts.get("style"))


def _turned(turned: Sequence[Mapping[str, Any]], of: Sequence[Mapping[str, Any]]) -> Row:
    """Ids of the answers that turned, and by item type how many of how many did."""
    n, k = (Counter(one["item_type"] for one in some) for some in (of, turned))
    return {
        "item_ids": [one["item_id"] for one in turned][:LISTED],
        "by_type": {name: [k[name], n[name]] for name in n},
    }


def _length(capability: str, condition: str, free: Sequence[Mapping[str, Any]], threshold: float, left_out: int) -> Row:
    lengths = [len(one["answer"]) for one in free]
    found = within_types([bool(one["correct"]) for one in free], lengths, [one["item_type"] for one in free])
    detail: Row = {"left_out": left_out, "unit": "characters", "correlation": found[0] if found else None}
    for name, right in (("median_right", True), ("median_wrong", False)):
        of = [length for length, one in zip(lengths, free, strict=True) if bool(one["correct"]) == right]
        detail[name] = float(np.median(of)) if of else None
    # The threshold is one on the absolute value; measured and interval are turned with the sign.
    if found is not None and found[0] < 0:
        found = (-found[0], -found[2], -found[1])
    value, lo, hi = found or (None, None, None)
    # With few right or few wrong answers a large correlation is likely by chance, and an interval too narrow.
    n_right = sum(bool(one["correct"]) for one in free)
    detail["too_few"] = min(n_right, len(free) - n_right) < LENGTH_NEEDS
    op = "" if detail["too_few"] else "<="
    return audit_row(capability, "length", condition, Check("length", value, lo, hi, len(free), op, threshold), detail)


def _format(capability: str, condition: str, found: Sequence[Mapping[str, Any]]) -> Row:
    """Success with and without each form, weighted over types as Mantel and Haenszel do (Greenland and Robins 1985)."""
    right = np.array([bool(one["correct"]) for one in found], dtype=np.float64)
    types = np.array([one["item_type"] for one in found])
    detail: Row = {}
    for name, pattern in FORMATS.items():
        has = np.array([pattern.search(one["answer"]) is not None for one in found])
        total = weights = 0.0
        for item_type in dict.fromkeys(types.tolist()):
            with_it, without = right[has & (types == item_type)], right[~has & (types == item_type)]
            if len(with_it) and len(without):
                weight = len(with_it) * len(without) / (len(with_it) + len(without))
                total, weights = total + weight * float(with_it.mean() - without.mean()), weights + weight
        detail[name] = {
            "with": [int(right[has].sum()), int(has.sum())], "without": [int(right[~has].sum()), int((~has).sum())],
            "difference": total / weights if weights else None,
        }  # fmt: skip
    known = [abs(one["difference"]) for one in detail.values() if one["difference"] is not None]
    check = Check("format", max(known, default=None), None, None, len(found), "", 0)
    return audit_row(capability, "format", condition, check, detail)


def _sums(y: Floats, x: Floats) -> Floats:
    """Sums of products around the mean, a row for each row of y and x: both, x alone, y alone."""
    y, x = y - y.mean(axis=1, keepdims=True), x - x.mean(axis=1, keepdims=True)
    return np.stack([(y * x).sum(axis=1), (x * x).sum(axis=1), (y * y).sum(axis=1)], axis=1)
