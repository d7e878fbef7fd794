"""A person's labels of samples, and what they say of the critics: agreement, AUC, Cohen's kappa by margin bin.

Samples only: a person labels neither revisions nor preference pairs, so that pair critics have no part "person".
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from engine.core.errors import SpecError
from engine.stats.intervals import auc, auc_interval, cohen_kappa, threshold_for_precision
from store.db import Store
from store.names import LABELS
from store.read import Reader

PART = "person"
EDGES = (0.0, 0.25, 0.5, 1.0, math.inf)  # of the absolute score: how far from its zero point the critic was

_NOTE = "SELECT note FROM person_labels WHERE run_id = ? AND subject_kind = 'sample' AND subject_id = ?"
_LABELLED = """
    SELECT j.critic, j.subject_id, j.score, p.label = 'good' AS good
    FROM person_labels p
    JOIN judgements j USING (run_id, subject_kind, subject_id)
    WHERE p.run_id = ? AND p.subject_kind = 'sample' AND p.label IN ('good', 'bad')
    ORDER BY j.critic, j.subject_id
"""


def mark(store: Store, run_id: str, sample_id: str, label: str, note: str | None = "") -> list[dict[str, Any]]:
    """Keep a person's label of a sample in place of an older one, and audit the critics against all labels.

    Where `note` is None the one that is stored stays. Returns the audits, one a critic, as rows of the table `audits`
    with part "person". Raises SpecError for a label that is none of LABELS.
    """
    if label not in LABELS:
        raise SpecError(f"no label {label!r}", f"one of: {', '.join(LABELS)}. Nothing was stored.")
    if note is None:
        with store.reader() as reader:
            found = reader.query(_NOTE, [run_id, sample_id])
        note = found[0]["note"] if found else ""
    row = {"run_id": run_id, "subject_kind": "sample", "subject_id": sample_id, "label": label, "note": note}
    store.put({"person_labels": [row | {"at": datetime.now(UTC)}]})
    with store.reader() as reader:
        audits = audit(reader, run_id)
    store.put({"audits": audits})
    return audits


def audit(reader: Reader, run_id: str) -> list[dict[str, Any]]:
    """Every critic against the person's labels good and bad; scores are those stored, no model is asked.

    `detail` has `kappa`, and `bins`: {low, high, n, agreement, kappa} by absolute score.
    """
    settings = reader.run(run_id)["settings"]
    wanted = (settings.get("critics") or {}).get("wanted_precision", 0.9)
    may_filter = audited(reader, run_id)
    by_critic: dict[str, list[tuple[str, float, bool]]] = {}
    for row in reader.query(_LABELLED, [run_id]):
        by_critic.setdefault(row["critic"], []).append((row["subject_id"], row["score"], row["good"]))
    same = {"run_id": run_id, "subject_kind": "sample", "part": PART}
    return [
        {**same, "critic": critic, "may_filter": may_filter.get(critic, False), **_compared(labelled, wanted)}
        for critic, labelled in by_critic.items()
    ]


def audited(reader: Reader, run_id: str) -> dict[str, bool]:
    """Each critic of samples, and whether all shipped parts of its audit let it filter."""
    rows = reader.query(
        "SELECT critic, bool_and(may_filter) AS may_filter FROM audits "
        f"WHERE run_id = ? AND subject_kind = 'sample' AND part != '{PART}' GROUP BY 1",
        [run_id],
    )
    return {row["critic"]: row["may_filter"] for row in rows}


def ranking_critic(reader: Reader, run_id: str, named: Sequence[str]) -> str | None:
    """The critic that the best of k samples is chosen by: the first audited of those named, else the first."""
    passed = audited(reader, run_id)
    asked = [name for name in named if name in passed] or named
    return next(iter([*(name for name in named if passed.get(name)), *asked]), None)


def _compared(labelled: Sequence[tuple[str, float, bool]], wanted: float) -> dict[str, Any]:
    scores = [score for _, score, _ in labelled]
    good = [is_good for _, _, is_good in labelled]
    called = [score > 0 for score in scores]
    ups = [score for _, score, is_good in labelled if is_good]
    downs = [score for _, score, is_good in labelled if not is_good]
    lo, hi = auc_interval(ups, downs) or (None, None)
    return {
        "n_good": len(ups),
        "n_bad": len(downs),
        "auc": auc(ups, downs),
        "auc_lo": lo,
        "auc_hi": hi,
        "accuracy": _agreement(called, good),
        "label_bias": (sum(called) - sum(good)) / len(good),
        "threshold": threshold_for_precision(scores, good, wanted),
        "detail": {
            "wanted_precision": wanted,
            "kappa": cohen_kappa(called, good),
            "bins": [_bin(low, high, labelled) for low, high in itertools.pairwise(EDGES)],
            "scores": {key: round(score, 4) for key, score, _ in labelled},
            "labels": {key: is_good for key, _, is_good in labelled},
        },
    }


def _bin(low: float, high: float, labelled: Sequence[tuple[str, float, bool]]) -> dict[str, Any]:
    inside = [(score > 0, is_good) for _, score, is_good in labelled if low <= abs(score) < high]
    ours, theirs = [ours for ours, _ in inside], [theirs for _, theirs in inside]
    agreement = _agreement(ours, theirs) if inside else None
    top = high if math.isfinite(high) else None
    return {"low": low, "high": top, "n": len(ours), "agreement": agreement, "kappa": cohen_kappa(ours, theirs)}


def _agreement(a: Sequence[bool], b: Sequence[bool]) -> float:
    return sum(x == y for x, y in zip(a, b, strict=True)) / len(a)
