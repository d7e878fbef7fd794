"""Persons who judge answers blind: how far the scorer agrees with them, and they with each other.

Each reader's labels are kept. What readers of one answer all say stands for a person's word; where they differ it is
"unsure". A label that is older than its answer is of one that stood there before, and counts for nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from engine.evaluation import ALL
from engine.evaluation.scorer_audit import LISTED, audit_row
from engine.quality.gates import Check
from engine.spec.sections import EvaluationSpec
from engine.stats.agreement import agreement, kappa_interval
from engine.stats.intervals import cohen_kappa
from store.names import ANSWER, READERS
from store.outcomes import READ_BY_TWO

Row = dict[str, Any]
Labels = Mapping[str, Mapping[str, str]]  # by subject, "condition/item_id", the label of each reader


def judged(label: Mapping[str, Any], answer: Mapping[str, Any]) -> bool:
    """Whether a label is of this answer, and not of one that stood in its place before."""
    return label.get("at") is None or answer.get("at") is None or bool(label["at"] >= answer["at"])


def labels_of(labels: Iterable[Mapping[str, Any]], answers: Iterable[Mapping[str, Any]]) -> Labels:
    """Labels of the answers that there are. `labels` are rows of person_labels; those of other things are passed over.

    Of an answer that somebody labelled by name a label without a name counts no more.
    """
    there = {f"{one['condition']}/{one['item_id']}": one for one in answers}
    found: dict[str, dict[str, str]] = {}
    for one in labels:
        answer = there.get(one["subject_id"]) if one["subject_kind"] == ANSWER else None
        if answer is not None and judged(one, answer):
            found.setdefault(one["subject_id"], {})[one.get("reader", "")] = one["label"]
    named = {subject: {name: label for name, label in of.items() if name} for subject, of in found.items()}
    return {subject: named[subject] or of for subject, of in found.items()}


def word(labels: Mapping[str, str]) -> str:
    """What the readers of one answer say together."""
    said = set(labels.values())
    return said.pop() if len(said) == 1 else "unsure"


def person(
    labels: Iterable[Mapping[str, Any]], answers: Iterable[Mapping[str, Any]], spec: EvaluationSpec
) -> list[Row]:
    """Cohen's kappa between persons and the scorer, over the answers that persons called good or bad.

    Answers that the rules left to a person are passed over. A row for each capability that has labels, with a
    percentile bootstrap interval over answers. Where both always say the same word kappa is not defined, and nothing is
    decided.
    """
    answers = list(answers)
    called = {subject: word(of) for subject, of in labels_of(labels, answers).items()}
    both: dict[str, list[tuple[str, bool, bool]]] = {}
    for one in answers:
        subject = f"{one['condition']}/{one['item_id']}"
        if called.get(subject) in ("good", "bad") and not one.get("abstained"):
            both.setdefault(one["capability"], []).append((subject, called[subject] == "good", bool(one["correct"])))
    rows = []
    for capability, found in sorted(both.items()):
        by_person, by_scorer = [good for _, good, _ in found], [right for _, _, right in found]
        kappa = cohen_kappa(by_person, by_scorer)
        lo, hi = kappa_interval(by_person, by_scorer) if kappa is not None else (None, None)
        differ = [subject for subject, good, right in found if good != right]
        detail = {"agreement": 1 - len(differ) / len(found), "differ": sorted(differ)[:LISTED]}
        check = Check("person", kappa, lo, hi, len(found), ">=", spec.person_kappa_at_least)
        rows.append(audit_row(capability, "person", ALL, check, detail))
    return rows


def readers(
    labels: Iterable[Mapping[str, Any]], answers: Iterable[Mapping[str, Any]], spec: EvaluationSpec
) -> list[Row]:
    """Who read answers, and how far they agree on those that two or more called good or bad: a row a capability.

    Cohen's kappa of two readers, Krippendorff's alpha of more, as high as between a person and the scorer to decide,
    once READ_BY_TWO answers were read by two. A reader without a name is none. `detail` has how many answers each of
    the `readers` called good or bad, the `statistic`, and the answers that readers `differ` on.
    """
    answers = list(answers)
    of_capability = {f"{one['condition']}/{one['item_id']}": one["capability"] for one in answers}
    found: dict[str, list[tuple[str, dict[str, bool]]]] = {name: [] for name in of_capability.values()}
    for subject, of in sorted(labels_of(labels, answers).items()):
        called = {name: label == "good" for name, label in of.items() if name and label in ("good", "bad")}
        found[of_capability[subject]].append((subject, called))
    rows = []
    for capability, read in sorted(found.items()):
        agreed = agreement([called for _, called in read])
        differ = [subject for subject, called in read if len(set(called.values())) > 1]
        detail = {
            "readers": dict(sorted(Counter(name for _, called in read for name in called).items())),
            "statistic": agreed.statistic, "differ": differ[:LISTED],
        }  # fmt: skip
        op = ">=" if agreed.n >= READ_BY_TWO else ""
        check = Check(READERS, agreed.value, agreed.lo, agreed.hi, agreed.n, op, spec.person_kappa_at_least)
        rows.append(audit_row(capability, READERS, ALL, check, detail))
    return rows
