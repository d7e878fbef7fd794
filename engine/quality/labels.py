"""A person's labels of samples, and what they say: of the critics agreement, AUC, Cohen's kappa by margin bin.

Samples only: a person labels neither revisions nor preference pairs, so that pair critics have none of these parts.
The part "person" is of samples that somebody chose to label, the part "drawn" of those that the queue drew at random:
they alone are a fair sample of what the rules let through. What the queue asked about since a critic was unsure of it
teaches, and is in neither. Candidates that were drawn to be read blind say how good the run's data are: the latest gate
tells it (engine/quality/readings.py), no critic is audited on them or taught by them.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

from engine.core.errors import SpecError
from engine.quality.gates import gate_row, reading_checks
from engine.quality.readings import asked_of, to_read
from engine.quality.teaching import HeldOut
from engine.stats.intervals import auc, auc_interval, cohen_kappa, threshold_for_precision
from store.db import Store
from store.names import CHOSEN, DRAWN, LABELS, PERSON, PERSON_PARTS, RANDOM, READING
from store.outcomes import LABELS_SQL
from store.read import Reader
from store.salvage.clock import utc_now

EDGES = (0.0, 0.25, 0.5, 1.0, math.inf)  # of the absolute score: how far from its zero point the critic was
_PART_OF = {RANDOM: DRAWN, CHOSEN: PERSON}

_STORED = """
    SELECT * FROM person_labels WHERE run_id = ? AND subject_kind = 'sample' AND subject_id = ? AND reader IN (?, '')
    ORDER BY reader DESC LIMIT 1
"""
_VERDICTS = """
    SELECT subject_id, verdict FROM verdicts
    WHERE run_id = ? AND subject_kind = 'sample' AND subject_id IN (SELECT unnest(?::VARCHAR[]))
"""
_LABELLED = f"""
    SELECT j.critic, j.subject_id, j.score, j.margin_nats, p.label = 'good' AS good,
           coalesce(p.drawn, 'chosen') AS drawn, i.text AS instruction
    FROM {LABELS_SQL} p
    JOIN judgements j USING (run_id, subject_kind, subject_id)
    LEFT JOIN samples s ON s.run_id = p.run_id AND s.sample_id = p.subject_id
    LEFT JOIN instructions i ON i.run_id = s.run_id AND i.instruction_id = s.instruction_id
    WHERE p.run_id = ? AND p.subject_kind = 'sample' AND p.label IN ('good', 'bad')
    ORDER BY j.critic, j.subject_id
"""


def mark(
    store: Store, run_id: str, sample_id: str, label: str, note: str | None = "", drawn: str = CHOSEN, *, by: str
) -> list[dict[str, Any]]:
    """Keep a label that a person, `by` name, gives a sample, and audit the critics against all labels.

    It takes the place of an older one of the same person, or of one without a name; others stay. Where `note` is None
    the one that is stored stays. How an older label was `drawn` stays, too, with two exceptions: a reading is a reading
    whatever was there before, and one that is changed other than by reading is none any more.
    Returns the audits, one a critic and part, as rows of the table `audits`. Raises SpecError for a label that is none
    of LABELS.
    """
    if label not in LABELS:
        raise SpecError(f"no label {label!r}", f"one of: {', '.join(LABELS)}. Nothing was stored.")
    with store.reader() as reader:
        before = stored_label(reader, run_id, sample_id, by)
    if before is not None:
        note = before["note"] if note is None else note
        if drawn != READING and (before["drawn"] != READING or before["label"] == label):
            drawn = before["drawn"] or CHOSEN
    row = {"run_id": run_id, "subject_kind": "sample", "subject_id": sample_id, "reader": by, "label": label}
    _replace(store, before, row | {"note": note or "", "drawn": drawn, "at": utc_now()})
    return audit_anew(store, run_id)


def stored_label(reader: Reader, run_id: str, sample_id: str, by: str) -> dict[str, Any] | None:
    """The label that a person gave a sample, else one without a name, as its row; None where there is none."""
    return next(iter(reader.query(_STORED, [run_id, sample_id, by])), None)


def put_back(store: Store, run_id: str, sample_id: str, before: dict[str, Any] | None, by: str) -> list[dict[str, Any]]:
    """Give a sample the label that a person had given before, or none; returns the audits as `mark` does."""
    with store.reader() as reader:
        now = stored_label(reader, run_id, sample_id, by)
    if now is not None:
        _replace(store, now, before)
    return audit_anew(store, run_id)


def _replace(store: Store, old: dict[str, Any] | None, new: dict[str, Any] | None) -> None:
    """Write a label, or none, in place of another, in one transaction."""
    rows = [] if new is None else [new]
    if old is None:
        store.put({"person_labels": rows})
    else:
        only = {name: old[name] for name in ("subject_kind", "subject_id", "reader")}
        store.renew(old["run_id"], {"person_labels": rows}, only={"person_labels": only})


def audit_anew(store: Store, run_id: str) -> list[dict[str, Any]]:
    """Audit the critics against the labels that there are, in place of what was said before; returns the audits."""
    with store.reader() as reader:
        audits = audit(reader, run_id)
    for part in PERSON_PARTS:
        rows = [row for row in audits if row["part"] == part]
        store.renew(run_id, {"audits": rows}, only={"audits": {"part": part}})
    read_anew(store, run_id)
    return audits


def read_anew(store: Store, run_id: str) -> None:
    """Have the latest gate of samples tell what is read by now; what it was decided on stays."""
    with store.reader() as reader:
        read = _read_anew(reader, run_id)
    if read:
        store.put({"gates": read})


def _read_anew(reader: Reader, run_id: str) -> list[dict[str, Any]]:
    """What the latest gate of samples says of what was read, as its rows; none where it says so already.

    The evidence that the gate was decided on, and when, stay what they were.
    """
    stored = {name: [row for row in reader.gates(run_id) if row["gate"] == name] for name in ("final", "pilot")}
    name = next((name for name, rows in stored.items() if rows), None)
    if name is None:
        return []
    lots = to_read(reader, run_id)
    asked = asked_of(reader.run(run_id))
    verdicts = reader.query(_VERDICTS, [run_id, [lot.sample_id for lot in lots]])
    checks = reading_checks(lots, {row["subject_id"]: row["verdict"] for row in verdicts}, asked)
    told = {row["check_name"]: (row["measured"], row["n"], list(row["subject_ids"])) for row in stored[name]}
    if all(told.get(one.name) == (one.measured, one.n, list(one.subject_ids)) for one in checks):
        return []
    evidence, at = stored[name][0]["evidence_sha256"], stored[name][0]["decided_at"]
    return [gate_row(run_id, name, one, evidence, at) for one in checks]


def audit(reader: Reader, run_id: str) -> list[dict[str, Any]]:
    """Every critic against the person's labels good and bad; scores are those stored, no model is asked.

    Of a sample that the run's probe was fitted on, the score is that of a probe which was fitted without it; one that
    only its near-duplicate is in the fit of is left out, and so are both where a mean of critics has the probe in it.
    `detail` has `kappa`, and `bins`: {low, high, n, agreement, kappa} by absolute score.
    """
    run = reader.run(run_id)
    wanted = (run["settings"].get("critics") or {}).get("wanted_precision", 0.9)
    may_filter = audited(reader, run_id)
    held_out = HeldOut(reader, run["manifest"])
    found: dict[tuple[str, str], list[tuple[str, float, bool]]] = {}
    for row in reader.query(_LABELLED, [run_id]):
        part, score = _PART_OF.get(row["drawn"]), _fair(row, held_out)
        if part is not None and score is not None:
            found.setdefault((row["critic"], part), []).append((row["subject_id"], score, row["good"]))
    same = {"run_id": run_id, "subject_kind": "sample"}
    return [
        {**same, "critic": critic, "part": part, "may_filter": may_filter.get(critic, False)}
        | _compared(labelled, wanted)
        for (critic, part), labelled in sorted(found.items(), key=lambda one: (one[0][1] != PERSON, one[0][0]))
    ]


def _fair(row: dict[str, Any], held_out: HeldOut) -> float | None:
    """A critic's score of a sample as it is without the sample's own label; None where that is not known."""
    if row["critic"] not in ("probe", "mean") or not held_out.knows(row["subject_id"], row["instruction"] or ""):
        return float(row["score"])
    log_odds = held_out.log_odds(row["subject_id"])
    if row["critic"] == "mean" or log_odds is None:
        return None
    return log_odds - float(row["margin_nats"] - row["score"])  # the score of a probe is its log-odds less a midpoint


def audited(reader: Reader, run_id: str) -> dict[str, bool]:
    """Each critic of samples, and whether all shipped parts of its audit let it filter."""
    rows = reader.query(
        "SELECT critic, bool_and(may_filter) AS may_filter FROM audits "
        f"WHERE run_id = ? AND subject_kind = 'sample' AND part NOT IN {PERSON_PARTS} GROUP BY 1",
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
